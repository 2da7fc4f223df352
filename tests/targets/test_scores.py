"""The score of each target against loops by hand."""

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import captum_cams as cc
from captum_cams import targets

SEEDS = st.integers(0, 10**6)


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64, requires_grad=True)


@settings(max_examples=30, deadline=None)
@given(SEEDS, st.integers(1, 4), st.integers(2, 6), st.data())
def test_contrast_is_the_log_odds(seed, rows, classes, data):
    scores = random(rows, classes, seed=seed)
    label = data.draw(st.integers(0, classes - 1))
    p = scores.softmax(1)[:, label]
    torch.testing.assert_close(targets.Contrast(label)(scores), (p / (1 - p)).log())
    against = data.draw(st.sets(st.sampled_from([c for c in range(classes) if c != label]), min_size=1))
    others = [sum(row[c].exp() for c in against).log() for row in scores]
    expected = scores[:, label] - torch.stack(others)
    torch.testing.assert_close(targets.Contrast(label, sorted(against))({"logits": scores}), expected)


def test_the_gradient_of_a_contrast_is_the_weighted_contrast():
    scores = random(1, 5)
    (gradient,) = torch.autograd.grad(targets.Contrast(2)(scores).sum(), scores)
    p = scores[0].detach().softmax(0)
    expected = [1.0 if c == 2 else -float(p[c] / (1 - p[2])) for c in range(5)]
    torch.testing.assert_close(gradient[0], torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("form", [lambda s: s, lambda s: {"logits": s}, lambda s: SimpleNamespace(out=s)])
def test_classes_and_values_are_read_from_every_form(form):
    scores, pixels = random(3, 4), random(3, 4, 5, 6)
    torch.testing.assert_close(targets.Classification(2)(form(scores)), scores[:, 2])
    torch.testing.assert_close(targets.Classification((2, 1, 5))(form(pixels)), pixels[:, 2, 1, 5])
    torch.testing.assert_close(targets.Regression(3)(form(scores)), scores[:, 3])
    torch.testing.assert_close(targets.Regression()(form(scores[:, 0])), scores[:, 0])


def test_similarity_is_the_cosine():
    given, reference = random(3, 4), torch.arange(1.0, 5)
    expected = [sum(row * reference) / (sum(row**2) ** 0.5 * sum(reference**2) ** 0.5) for row in given]
    for output in (given, {"image_embeds": given}, SimpleNamespace(pooler_output=given)):
        torch.testing.assert_close(targets.Similarity(reference)(output), torch.stack(expected))


@settings(max_examples=20, deadline=None)
@given(SEEDS, st.integers(1, 3))
def test_segmentation_is_the_mean_over_the_mask(seed, rows):
    scores = random(rows, 3, 4, 5, seed=seed)
    mask = torch.rand(4, 5, generator=torch.Generator().manual_seed(seed)) < 0.5
    mask[0, 0] = True
    expected = [torch.stack([row[1, i, j] for i in range(4) for j in range(5) if mask[i, j]]).mean() for row in scores]
    torch.testing.assert_close(targets.Segmentation(1, mask)({"out": scores}), torch.stack(expected))


def test_the_pixels_are_those_of_the_unchanged_image():
    scores, image = torch.zeros(1, 3, 4, 6), torch.zeros(1, 3, 4, 6)
    scores[0, 1, 1:3, 2:5] = 1
    bound = targets.Segmentation(1).bound(lambda image: {"out": scores}, image)
    assert torch.equal(bound.mask, scores[0, 1] > 0)
    changed = scores.clone()
    changed[0, 1, 1] = -3  # no longer predicted in this row of three pixels, but still counted
    assert bound(changed) == pytest.approx((3 * 1 + 3 * -3) / 6)
    box = targets.Segmentation(1, (2, 1, 5, 3)).bound(lambda image: scores, image)
    assert torch.equal(box.mask, bound.mask)


def test_small_scores_are_resized_as_the_processor_of_segformer_does():
    logits = random(1, 3, 6, 6).float()
    image = torch.zeros(1, 3, 24, 24)
    large = torch.nn.functional.interpolate(logits, (24, 24), mode="bilinear", align_corners=False)
    label = int(large.argmax(1).mode().values.mode().values)
    bound = targets.Segmentation(label).bound(lambda image: SimpleNamespace(logits=logits), image)
    assert torch.equal(bound.mask, large[0].argmax(0) == label)
    torch.testing.assert_close(bound(logits)[0], large[0, label][bound.mask].mean())


def test_one_channel_is_predicted_where_it_is_positive():
    scores = random(1, 1, 4, 4).float()
    bound = targets.Segmentation(0).bound(lambda image: scores, torch.zeros(1, 3, 4, 4))
    assert torch.equal(bound.mask, scores[0, 0] > 0)


WRONG = {
    "must be in 0…3, got 4": (targets.Classification(4), torch.ones(2, 4)),
    "label must be in 0…3, got 4": (targets.Contrast(4), torch.ones(2, 4)),
    "label must be in 0…3, got 9": (targets.Contrast(1, [9]), torch.ones(2, 4)),
    "at least two classes, got an output N×1": (targets.Contrast(0), torch.ones(2, 1)),
    "output must be in 0…3, got 4": (targets.Regression(4), torch.ones(2, 4)),
    "as the entry logits or out of an output, got tuple": (targets.Classification(1), (torch.ones(2, 4),)),
    "got dict with the keys main, aux": (targets.Contrast(1), {"main": 1, "aux": 2}),
    "expected 5, got 2×4; use the model, with its projection": (targets.Similarity(torch.ones(5)), torch.ones(2, 4)),
    "takes the class token or the mean": (targets.Similarity(torch.ones(5)), torch.ones(2, 7, 5)),
    "a class at each pixel use Segmentation": (targets.Contrast(1), torch.ones(2, 4, 3, 3)),
    "reference image must be embedded before": (targets.Similarity(torch.ones(3, 8, 8)), torch.ones(2, 4)),
    "pixels must be fixed before outputs are scored": (targets.Segmentation(1), torch.ones(2, 4, 3, 3)),
    "label must be in 0…2, got 3": (targets.Segmentation(3, torch.ones(4, 4)), torch.ones(1, 3, 4, 4)),
    "Detection reads a list with": (targets.Detection((0, 0, 1, 1), 1), torch.ones(2, 4)),
}


@pytest.mark.parametrize("message", WRONG)
def test_outputs_that_do_not_fit_are_explained(message):
    target, output = WRONG[message]
    with pytest.raises(cc.CAMError, match=message):
        target(output)


UNBOUND = {
    "must have the size of the image, expected 8×8, got 4×4": targets.Segmentation(1, torch.ones(4, 4)),
    "centre of a pixel of the image 8×8": targets.Segmentation(1, (20, 20, 30, 30)),
    "predicted as class 1, got the classes 0; explain": targets.Segmentation(1),
}


@pytest.mark.parametrize("message", UNBOUND)
def test_pixels_that_are_not_there_are_explained(message):
    scores = torch.zeros(1, 3, 8, 8)
    with pytest.raises(cc.CAMError, match=message):
        UNBOUND[message].bound(lambda image: scores, torch.zeros(1, 3, 8, 8))
