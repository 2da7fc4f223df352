"""Blurred and sharpened copies of maps, against plain sums."""

import math

import pytest
import torch

import captum_cams as cc
from captum_cams.images import smooth
from tests.support.networks import NETWORKS, images


def plain(map_, sigma):
    """A Gaussian of ``sigma`` positions over a map h×w, by its sum, with reflected borders, cut at 3 σ."""
    (height, width), values = map_.shape, map_.tolist()
    down, right = ([*range(-reach, reach + 1)] for reach in (min(math.ceil(3 * sigma), n - 1) for n in map_.shape))
    weights = {step: math.exp(-(step**2) / (2 * sigma**2)) for step in {*down, *right}}

    def reflected(place, side):
        return -place if place < 0 else 2 * (side - 1) - place if place >= side else place

    def mean(i, j):
        near = [
            (weights[y] * weights[x], reflected(i + y, height), reflected(j + x, width)) for y in down for x in right
        ]
        return sum(w * values[y][x] for w, y, x in near) / sum(w for w, _, _ in near)

    return torch.tensor([[mean(i, j) for j in range(width)] for i in range(height)], dtype=map_.dtype)


@pytest.mark.parametrize("base", ["gradcam", "layercam", "guidedcam(gradcam)"])
def test_copies_are_the_formulas(base):
    model, x = NETWORKS["plain"]().double(), images(2).double()[..., :16, :24]
    for sigma in (0.05, 0.2):
        source = cc.create(base, model).attribute(x, [1, 2])
        blurred = cc.create(f"blurred({base})", model, sigma=sigma).attribute(x, [1, 2])
        sharpened = cc.create(f"sharpened({base})", model, sigma=sigma, strength=1.5).attribute(x, [1, 2])
        for n in range(2):
            smoothed = plain(source[n, 0], sigma * max(source.shape[2:]))
            torch.testing.assert_close(blurred[n, 0], smoothed)
            sharp = (source[n, 0] + 1.5 * (source[n, 0] - smoothed)).clamp(min=float(source[n].min()))
            torch.testing.assert_close(sharpened[n, 0], sharp)


@pytest.mark.parametrize("size", [(7,), (1, 1), (2, 2), (9, 5), (3, 4, 5)])
def test_constant_maps_stay_constant_and_small_maps_are_no_error(size):
    constant = torch.full((2, 1, *size), 0.3)
    assert torch.equal(smooth(constant, 0.3), constant)
    assert smooth(torch.rand(2, 1, *size), 2.0).isfinite().all()


def test_copies_are_controls_of_their_source():
    model, x = NETWORKS["residual"](), images(2)
    source = cc.GradCAM(model).attribute(x)
    peak, spread = source.amax(), source.std()
    blurred, sharpened = cc.Blurred(model).attribute(x), cc.Sharpened(model).attribute(x)
    assert blurred.amax() < peak < sharpened.amax()
    assert blurred.std() < spread < sharpened.std()
    assert sharpened.min() >= 0


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda m: cc.Blurred(m, sigma=0), "sigma must be a finite number above 0, got 0"),
        (lambda m: cc.Blurred(m, sigma="wide"), "sigma must be a finite number above 0, got 'wide'"),
        (lambda m: cc.Sharpened(m, strength=math.inf), "strength must be a finite number above 0, got inf"),
    ],
)
def test_what_does_not_fit_is_refused(make, said):
    with pytest.raises(cc.CAMError, match=said):
        make(NETWORKS["plain"]())
