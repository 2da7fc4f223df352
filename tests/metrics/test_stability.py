"""Sensitivity and infidelity: their properties, their shells, and all four metrics in tables and in the callback."""

import pickle

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

import captum_cams as cc
from captum_cams import CAMError, metrics
from lightning_callbacks import CAMCallback, evaluate
from tests.support.lightning_modules import Net, loaders
from tests.support.networks import NETWORKS, images
from tests.support.tasks import ALL, small, task_of
from tests.support.untouched import same, state

LABELS = [1, 3, 8]
NAMES = ["sensitivity", "infidelity", "randomisation", "random_logit"]


@pytest.fixture(scope="module")
def model():
    return NETWORKS["plain"]()


def both(model, cam, x, labels, **options):
    maps = cam.attribute(x, labels)
    found = metrics.infidelity(model, x, maps, labels, samples=5, **options)
    return metrics.sensitivity(x, maps, cam.attribute, labels, samples=3), found


def test_the_model_is_untouched_and_a_batch_is_its_images(model):
    x, cam = images(3), cc.HiResCAM(model)
    cam.attribute(x[:1])
    before = state(model)
    together = both(model, cam, x, LABELS)
    assert same(before, state(model))
    assert all(bool((values > 0).all()) for values in together)
    with torch.inference_mode():
        alone = [both(model, cam, x[i : i + 1].clone(), LABELS[i : i + 1]) for i in range(3)]
    for values, single in zip(together, zip(*alone, strict=True), strict=True):
        torch.testing.assert_close(values, torch.cat(single), rtol=1e-4, atol=1e-5)


def test_a_map_that_ignores_the_image_is_not_sensitive(model):
    x, cam = images(2), cc.Centre(model)
    assert both(model, cam, x, 1)[0].tolist() == [0, 0]


def test_a_map_that_tells_the_score_is_not_infidel():
    """The score is the mean of weighted pixels, so its map is known."""
    weight = torch.randn(1, 1, 12, 12, generator=torch.Generator().manual_seed(0))
    x = images(2)[..., :12, :12].contiguous()

    def linear(given):
        return torch.stack([(given * weight).sum((1, 2, 3)), (given * 0).sum((1, 2, 3))], 1)

    maps = (x * weight).sum(1, keepdim=True)
    for scale in (1, -3):  # the scale is fitted
        assert float(metrics.infidelity(linear, x, scale * maps, 0).max()) < 1e-6
    assert float(metrics.infidelity(linear, x, maps.flip(2), 0).min()) > 0.1
    assert metrics.infidelity(linear, x, maps, 1).tolist() == [0, 0]
    volumes = x[:, :, None].expand(-1, -1, 4, -1, -1)
    deep = metrics.infidelity(
        lambda given: linear(given.mean(2)), volumes, maps[:, :, None] / 4 + 0 * volumes[:, :1], 0
    )
    assert float(deep.max()) < 1e-6


@pytest.mark.parametrize("task", ALL)
def test_every_task_of_the_scores(task):
    net, x, kind = small(task), images(2), task_of(task)
    for values in both(net, cc.HiResCAM(net, "last", task=kind), x, [0, 0], task=kind):
        assert values.shape == (2,)
        assert bool((values.isfinite() & (values >= 0)).all())


def test_arguments_that_do_not_fit_are_refused(model):
    x, cam = images(2), cc.GradCAM(model)
    maps = cam.attribute(x, 1)
    for words, given, options in (
        ("target must be a class here", (x, maps, cam.attribute, None), {}),
        ("one entry for each image, expected 2", (x, maps, cam.attribute, [1, 2, 3]), {}),
        ("radius must be a positive share", (x, maps, cam.attribute, 1), {"radius": 0.0}),
        ("samples must be an integer of at least 1", (x, maps, cam.attribute, 1), {"samples": 0}),
        ("without resizing them", (x, cam.heatmap(x, 1), cam.attribute, 1), {}),
    ):
        with pytest.raises(CAMError, match=words):
            metrics.sensitivity(*given, **options)
    with pytest.raises(CAMError, match='unknown preset "rice"'):
        metrics.infidelity(model, x, maps, preset="rice")


def test_the_shells_are_means_of_the_functions(model):
    x, cam = images(3), cc.HiResCAM(model)
    maps = cam.attribute(x, LABELS)
    given = {"explain": cam.attribute}
    for shell, values in (
        (metrics.Sensitivity(cam.attribute, samples=2), metrics.sensitivity(x, maps, cam.attribute, LABELS, samples=2)),
        (metrics.Infidelity(samples=3, seed=1), metrics.infidelity(model, x, maps, LABELS, samples=3, seed=1)),
        (metrics.Randomisation(cam.attribute, seed=1), metrics.randomisation(model, x, maps, LABELS, seed=1, **given)),
        (metrics.RandomLogit(cam.attribute, seed=1), metrics.random_logit(model, x, maps, LABELS, seed=1, **given)),
    ):
        shell.update(model, x[:2], maps[:2], LABELS[:2])
        shell.update(model, x[2:], maps[2:], LABELS[2:])
        torch.testing.assert_close(shell.compute(), values.mean(), rtol=1e-4, atol=1e-5)
        pickle.loads(pickle.dumps(shell))
    loaded = pickle.loads(pickle.dumps(metrics.RandomLogit(cam.attribute)))
    with pytest.raises(CAMError, match="needs the explainer, got a metric that was loaded"):
        loaded.update(model, x, maps, LABELS)


SILENT = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}


@pytest.mark.filterwarnings("ignore:The .*dataloader.* does not have many workers")
def test_in_tables_each_row_is_that_of_the_functions(model):
    x, cam = images(3), cc.HiResCAM(model)
    before = state(model)
    data = DataLoader([*zip(x, LABELS, strict=True)], 2)
    trainer = pl.Trainer(accelerator="cpu", **SILENT)
    protocol = metrics.Protocol(NAMES, preset="quick", classes="annotated")
    table = evaluate(model, data, {"hirescam": cam, "random": "random"}, protocol=protocol, trainer=trainer)
    assert same(before, state(model))
    maps = cam.attribute(x, LABELS)
    expected = {
        "sensitivity": metrics.sensitivity(x, maps, cam.attribute, LABELS),
        "infidelity": metrics.infidelity(model, x, maps, LABELS, preset="quick"),
        "randomisation": metrics.randomisation(model, x, maps, LABELS, explain=cam.attribute),
        "random_logit": metrics.random_logit(model, x, maps, LABELS, explain=cam.attribute),
    }
    for name, values in expected.items():
        rows = table.columns[name][table.columns["method"] == 0]
        torch.testing.assert_close(rows, values, rtol=1e-4, atol=1e-5)
    assert table["random", "randomisation"].mean == pytest.approx(1)


@pytest.mark.filterwarnings("ignore:The .*dataloader.* does not have many workers", "ignore:The number of training")
def test_in_the_callback(tmp_path):
    callback = CAMCallback("gradcam", num_images=2, metrics=NAMES)
    trainer = pl.Trainer(max_epochs=1, accelerator="cpu", callbacks=[callback], **SILENT)
    trainer.fit(Net(), *loaders(4))
    values = [row.values["gradcam"] for row in callback.explained["validation"]]
    assert len(values) == 2
    for row in values:
        assert {*row} >= {*NAMES}
        assert all(bool(row[name].isfinite()) for name in NAMES)
