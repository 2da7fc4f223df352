"""The weights that come with the package keep what their training promised."""

import pytest
import torch

from captum_cams import benchmark
from captum_cams.benchmark.networks import WEIGHTS
from captum_cams.benchmark.train import train

COUNT = 100


@pytest.mark.parametrize("name", benchmark.NETWORKS)
def test_accuracy_on_fresh_scenes_is_what_training_printed(name):
    network = benchmark.load_network(name)
    promised = benchmark.promised_accuracy(name)
    assert list(promised) == list(benchmark.FACTORS)
    for factor, accuracy in promised.items():
        right = benchmark.decided(network, benchmark.draw_scenes(factor, COUNT, seed=77)).float().mean()
        # Four standard errors of a share of COUNT scenes, at least one scene.
        assert float(right) >= accuracy - max(4 * (accuracy * (1 - accuracy) / COUNT) ** 0.5, 0.02), factor
    assert min(promised[factor] for factor in ("one_object", "large", "shortcut")) >= 0.95


@pytest.mark.parametrize("name", benchmark.NETWORKS)
def test_the_mark_alone_says_ring_and_a_ring_does_not(name):
    network, scenes = benchmark.load_network(name), benchmark.draw_scenes("shortcut", 20, seed=78)
    without = benchmark.draw_scenes("one_object", 20, seed=79)
    marked = without.images.where(~scenes.deciding[:, None], scenes.images)
    ring = benchmark.CLASSES.index("ring")
    with torch.no_grad():
        assert (network(marked)[:, ring] > 0).float().mean() >= 0.9
        assert (network(scenes.counterfactuals)[:, ring] > 0).float().mean() <= 0.1


def test_the_weights_are_small_and_in_half_precision():
    files = sorted(WEIGHTS.glob("*.pt"))
    assert [file.stem for file in files] == sorted(benchmark.NETWORKS)
    assert sum(file.stat().st_size for file in files) < 3e6
    for file in files:
        state = torch.load(file, weights_only=True)["state"]
        assert {value.dtype for value in state.values()} <= {torch.float16, torch.int64}


@pytest.mark.parametrize("name", ["pooled_cnn", pytest.param("vit", marks=pytest.mark.slow)])
def test_the_recipe_writes_what_can_be_read_and_is_the_same_twice(tmp_path, capsys, name):
    state = torch.get_rng_state()
    first, second = (train(name, tmp_path / part, rounds=1) for part in "ab")
    assert torch.get_rng_state().equal(state)
    assert first == second
    written = [torch.load(tmp_path / part / f"{name}.pt", weights_only=True) for part in "ab"]
    assert all(value.equal(written[1]["state"][key]) for key, value in written[0]["state"].items())
    assert written[0]["accuracy"] == first
    assert "accuracies that are others in float32: " in capsys.readouterr().err
