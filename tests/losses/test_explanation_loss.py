"""The loss against a loop, its gradient, and what it refuses."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import captum_cams as cc
from captum_cams.metrics import energy_inside


def drawn(seed, shape, low=0.0):
    return low + (1 - low) * torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def loop(maps, mask):
    total = 0.0
    for map_, region in zip(maps[:, 0], mask, strict=True):
        inside = whole = 0.0
        for row, row_mask in zip(map_.tolist(), region.tolist(), strict=True):
            for value, share in zip(row, row_mask, strict=True):
                inside += max(value, 0) * share
                whole += max(value, 0)
        total += 1 - (inside / whole if whole else 0)
    return total / len(maps)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.sampled_from(["signed", "positive", "one is zero"]), st.booleans())
def test_the_loss_is_the_energy_outside(seed, kind, binary):
    maps, mask = drawn(seed, (3, 1, 5, 4), -1.0 if kind == "signed" else 0.0), drawn(seed + 1, (3, 5, 4))
    mask = mask > 0.6 if binary else mask
    mask[:, 0, 0] = 1
    if kind == "one is zero":
        maps[1] = 0
    maps.requires_grad_()
    loss = cc.ExplanationLoss(mask)(maps)
    assert float(loss.detach()) == pytest.approx(loop(maps.detach(), mask))
    if kind != "one is zero":  # where the loss jumps
        assert torch.autograd.gradcheck(cc.ExplanationLoss(mask), [maps])
    (grad,) = torch.autograd.grad(loss, maps)
    assert grad.isfinite().all()
    assert (grad[1] == 0).all() == (kind == "one is zero")


def test_a_map_is_resized_to_the_mask():
    maps, mask = drawn(0, (2, 1, 4, 4)), drawn(1, (2, 12, 12)) > 0.5
    large = torch.nn.functional.interpolate(maps, (12, 12), mode="bilinear")
    assert float(cc.ExplanationLoss(mask)(maps.requires_grad_()).detach()) == pytest.approx(loop(large, mask))


def test_it_is_what_the_metric_calls_energy_outside():
    maps, mask = drawn(0, (2, 1, 8, 8)), drawn(1, (2, 8, 8)) > 0.5
    maps[:, :, 0, 0], maps[:, :, 1, 1] = 0, 1  # the metric scales to [0, 1]
    with torch.no_grad():
        loss = cc.ExplanationLoss(mask)(maps)
    expected = 1 - energy_inside(maps, [one[None] for one in mask], (8, 8)).mean()
    assert float(loss) == pytest.approx(float(expected))


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_only_the_shares_count(scale):
    maps, mask = drawn(0, (2, 1, 4, 4)).float(), drawn(1, (4, 4)) > 0.5
    loss = cc.ExplanationLoss(mask)
    with torch.no_grad():
        torch.testing.assert_close(loss(scale * maps), loss(maps))


@pytest.mark.parametrize("shape", [(2, 1, 4, 4), (2, 4, 4), (1, 1, 4, 4), (4, 4)])
def test_forms_of_the_mask(shape):
    maps, mask = drawn(0, (2, 1, 4, 4)), drawn(1, (4, 4)) > 0.5
    loss = cc.ExplanationLoss(mask.expand(shape))
    assert not loss.state_dict()
    with torch.no_grad():
        torch.testing.assert_close(loss(maps), cc.ExplanationLoss(mask)(maps))


@pytest.mark.parametrize("size", [(6,), (3, 4, 5)])
def test_signals_and_volumes(size):
    maps, mask = drawn(0, (2, 1, *size)), drawn(1, (2, *size)) > 0.5
    with torch.no_grad():
        found = cc.ExplanationLoss(mask)(maps)
    expected = 1 - (maps[:, 0] * mask).flatten(1).sum(1) / maps.flatten(1).sum(1)
    torch.testing.assert_close(found, expected.mean())


HALF = torch.ones(2, 4, 4)
HALF[:, :2] = 0
MAPS = torch.ones(2, 1, 4, 4, requires_grad=True)


@pytest.mark.parametrize(
    ("mask", "maps", "words"),
    [
        (255 * HALF, MAPS, "pass mask > 127"),
        (HALF - 1, MAPS, "from 0 to 1"),
        ([[1, 0]], MAPS, "torch.tensor"),
        (HALF[:1].expand(3, 4, 4), MAPS, "2×1×H×W, 2×H×W or H×W"),
        (HALF[:, :3], MAPS, "must not be smaller"),
        (HALF * torch.tensor([1, 0])[:, None, None], MAPS, "none of image 1"),
        (HALF, MAPS.detach(), "differentiable=True"),
        (HALF, MAPS[:, 0], "N×1×h×w"),
        (HALF, MAPS.expand(2, 3, 4, 4), "N×1×h×w"),
        (HALF, MAPS * float("nan"), "NaN"),
    ],
)
def test_what_does_not_fit_is_refused(mask, maps, words):
    with pytest.raises(cc.CAMError, match=words):
        cc.ExplanationLoss(mask)(maps)


def test_training_with_the_loss_moves_the_map_into_the_mask():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1))
    model = model.append(torch.nn.Flatten()).append(torch.nn.Linear(8, 2))
    images, labels, loss = torch.rand(4, 3, 8, 8), [0, 1, 0, 1], cc.ExplanationLoss(torch.eye(8).roll(1))
    images[:, :, torch.eye(8).roll(1) > 0] += 1
    optimizer, cam, values = torch.optim.Adam(model.parameters(), 0.01), cc.GradCAM(model, "1"), []
    for _ in range(30):
        value = loss(cam.attribute(images, labels, differentiable=True))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        values.append(float(value.detach()))
    assert values[-1] < values[0] - 0.05
