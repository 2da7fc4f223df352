"""Noisy linear imputation against the written-out equations, and what it leaves alone."""

import itertools

import numpy as np
import pytest
import torch

from captum_cams import CAMError
from captum_cams.metrics import noisy_linear_imputation
from tests.support.networks import images

WEIGHTS = {1: {1: 1 / 2}, 2: {1: 1 / 6, 2: 1 / 12}, 3: {1: 4 / 56, 2: 2 / 56, 3: 1 / 56}}  # axes → steps → weight


def solved(image, removed):
    """Each removed pixel is the weighted mean of its neighbours: one dense equation for each."""
    places = [tuple(place) for place in removed.nonzero().tolist()]
    matrix, side = np.eye(len(places)), np.zeros((len(places), len(image)))
    for row, place in enumerate(places):
        near = {}
        for offset in itertools.product((-1, 0, 1), repeat=removed.ndim):
            other = tuple(a + b for a, b in zip(place, offset, strict=True))
            if any(offset) and all(0 <= a < size for a, size in zip(other, removed.shape, strict=True)):
                near[other] = WEIGHTS[removed.ndim][sum(map(abs, offset))]
        for other, weight in near.items():
            share = weight / sum(near.values())
            if removed[other]:
                matrix[row, places.index(other)] -= share
            else:
                side[row] += share * image[(slice(None), *other)].numpy()
    result = image.clone()
    for place, values in zip(places, np.linalg.solve(matrix, side), strict=True):
        result[(slice(None), *place)] = torch.from_numpy(values)
    return result


@pytest.mark.parametrize("size", [(30,), (7, 9), (4, 3, 5)])
@pytest.mark.parametrize("share", [0.2, 0.9])
def test_it_solves_the_equations(size, share):
    generator = torch.Generator().manual_seed(len(size))
    x = torch.randn(2, 3, *size, generator=generator, dtype=torch.float64)
    removed = torch.rand(2, 1, *size, generator=generator) < share
    found = noisy_linear_imputation(x, removed, noise=0)
    torch.testing.assert_close(found, torch.stack([solved(a, b) for a, b in zip(x, removed[:, 0], strict=True)]))


def test_a_ramp_is_restored():
    ramp = 3 + torch.arange(20.0)[:, None] - 2 * torch.arange(30.0)
    removed = torch.zeros(1, 1, 20, 30, dtype=torch.bool)
    removed[..., 2:18, 5:28] = True
    torch.testing.assert_close(noisy_linear_imputation(ramp[None, None], removed, noise=0), ramp[None, None])


def test_only_removed_pixels_change_and_a_batch_is_its_images():
    x = images(3)
    removed = torch.rand(3, 1, 40, 40, generator=torch.Generator().manual_seed(0)) < 0.5
    removed[1] = False
    before = torch.get_rng_state()
    found = noisy_linear_imputation(x, removed)
    assert torch.equal(before, torch.get_rng_state())
    kept = ~removed.expand_as(x)
    assert torch.equal(found[kept], x[kept])
    each = [noisy_linear_imputation(x[i : i + 1], removed[i : i + 1]) for i in range(3)]
    assert torch.equal(found, torch.cat(each))
    assert torch.equal(noisy_linear_imputation(x.half(), removed).dtype == torch.half and found[1], x[1])


def test_the_noise_has_its_size_and_its_seed():
    x, removed = images(1), torch.ones(1, 1, 40, 40, dtype=torch.bool)
    removed[..., 0, 0] = False
    plain = noisy_linear_imputation(x, removed, noise=0)
    added = [noisy_linear_imputation(x, removed, 0.5, torch.Generator().manual_seed(i)) - plain for i in (0, 0, 1)]
    assert torch.equal(added[0], added[1])
    assert not torch.equal(added[0], added[2])
    spread = added[0].expand_as(x)[removed.expand_as(x)].std()
    assert float(spread) == pytest.approx(0.5, rel=0.05)  # 4,797 draws: one standard deviation is 1 %


def test_an_image_without_pixels_becomes_its_mean():
    x, removed = images(2), torch.zeros(2, 1, 40, 40, dtype=torch.bool)
    removed[0] = True
    found = noisy_linear_imputation(x, removed, noise=0)
    torch.testing.assert_close(found[0], x[0].mean((1, 2), keepdim=True).expand_as(x[0]))
    assert torch.equal(found[1], x[1])


MASK = torch.ones(2, 1, 4, 4, dtype=torch.bool)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ((torch.rand(2, 3, 4, 4), MASK[:1]), "got 2×3×4×4 and 1×1×4×4"),
        ((torch.rand(3, 4), MASK), "must be N×1×H×W"),
        ((torch.rand(2, 3, 4, 4), MASK.float()), "pass removed_mask > 0"),
        ((torch.rand(2, 3, 4, 4), MASK, -1), "at least 0, got -1"),
        ((torch.rand(2, 3, 4, 4), MASK, float("nan")), "pass 0 for no noise"),
        ((torch.full((2, 3, 4, 4), torch.nan), MASK), "images must be finite, got NaN in samples 0, 1"),
        ((None, MASK), "images must be a tensor"),
    ],
)
def test_what_does_not_fit_is_refused(given, words):
    with pytest.raises(CAMError) as caught:
        noisy_linear_imputation(*given)
    assert words in str(caught.value)
