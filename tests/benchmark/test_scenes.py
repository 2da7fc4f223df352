"""What is known about a drawn scene by construction."""

import pytest
import torch

from captum_cams import CAMError, benchmark
from captum_cams.benchmark.scenes import RING

FACTORS = benchmark.FACTORS


def of_asked(labels, scenes):
    return labels.gather(1, scenes.classes[:, None])[:, 0]


@pytest.mark.parametrize("factor", FACTORS)
def test_counterfactual_differs_in_the_deciding_pixels_only_and_takes_the_class_away(factor):
    scenes = benchmark.draw_scenes(factor, 40, seed=7)
    changed = (scenes.images != scenes.counterfactuals).any(1)
    assert not changed[~scenes.deciding].any()
    # A pixel may have the same colour by chance, where both colours are cut to 0 or 1.
    assert changed[scenes.deciding].float().mean() > 0.99
    assert scenes.deciding.flatten(1).any(1).all()
    assert scenes.masks.flatten(1).any(1).all()
    assert of_asked(scenes.labels, scenes).all()
    assert not of_asked(scenes.counterfactual_labels, scenes).any()
    assert scenes.images.min() >= 0
    assert scenes.images.max() <= 1


@pytest.mark.parametrize("factor", FACTORS)
def test_the_same_seed_draws_the_same_scenes_and_leaves_the_random_state(factor):
    before = torch.get_rng_state()
    first, second, other = (benchmark.draw_scenes(factor, 3, seed=seed) for seed in (5, 5, 6))
    assert torch.get_rng_state().equal(before)
    for name in ("images", "labels", "classes", "masks", "deciding", "counterfactuals", "counterfactual_labels"):
        assert getattr(first, name).equal(getattr(second, name))
    assert not first.images.equal(other.images)


@pytest.mark.parametrize("factor", sorted(set(FACTORS) - {"shortcut", "shape_only"}))
def test_objects_decide_where_they_are_seen(factor):
    scenes = benchmark.draw_scenes(factor, 20)
    assert scenes.deciding.equal(scenes.masks)


def test_the_mark_decides_and_not_the_ring():
    scenes = benchmark.draw_scenes("shortcut", 40)
    assert not (scenes.deciding & scenes.masks).any()
    assert set(scenes.deciding.flatten(1).sum(1).tolist()) == {16}
    assert (scenes.classes == RING).all()
    others = [index for index in range(len(benchmark.CLASSES)) if index != RING]
    assert scenes.labels[:, others].equal(scenes.counterfactual_labels[:, others])


def test_what_both_shapes_share_does_not_decide():
    scenes = benchmark.draw_scenes("shape_only", 40)
    inside = (scenes.deciding & scenes.masks).flatten(1).sum(1)
    assert (inside > 0).all()
    assert (inside < scenes.masks.flatten(1).sum(1)).all()


def test_only_the_colour_changes_in_colour_only():
    scenes = benchmark.draw_scenes("colour_only", 40)
    shapes = slice(0, 4)
    assert scenes.labels[:, shapes].equal(scenes.counterfactual_labels[:, shapes])
    assert (scenes.labels[:, shapes].sum(1) == 1).all()


def test_numbers_and_sizes_of_the_objects():
    def share(factor):
        return benchmark.draw_scenes(factor, 40).masks.float().mean()

    assert share("small") < 0.5 * share("one_object")
    assert share("large") > 2 * share("one_object")
    assert share("partly_hidden") < 0.9 * share("one_object")
    assert (benchmark.draw_scenes("several_classes", 20).labels[:, :4].sum(1) == 3).all()
    assert (benchmark.draw_scenes("several_of_one_class", 20).labels[:, :4].sum(1) == 1).all()


def test_objects_lie_within_the_image():
    for factor in sorted(set(FACTORS) - {"shortcut"}):
        masks = benchmark.draw_scenes(factor, 100).masks
        border = torch.ones_like(masks[0])
        border[1:-1, 1:-1] = False
        assert not (masks & border).any(), factor


def test_mistakes_are_explained():
    with pytest.raises(CAMError, match="factor must be one of"):
        benchmark.draw_scenes("smal", 3)
    with pytest.raises(CAMError, match="count must be an integer of at least 1"):
        benchmark.draw_scenes("small", 0)
