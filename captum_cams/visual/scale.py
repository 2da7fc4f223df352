"""Scale maps for colours: each on its own scale or several on one, smoothed and cut where they are too fine to see."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Literal

import torch
from torch import Tensor

from captum_cams.errors import CAMError, check_choice, check_finite
from captum_cams.images import minmax, smooth, upsample

Shared = Literal["each", "row", "column", "all"]
"""Which maps of a panel have one scale: each its own, those of one image, those of one method, or all."""

FINE_SMOOTHING, FINE_PERCENTILE = 0.01, 99.0
_KEPT_PEAK = 0.75  # the share of its peak that a map keeps when it is smoothed; a pixel-fine map keeps less


@dataclass(frozen=True)
class Scaled:
    """The maps of one method as colours show them.

    Args:
        values: N×1×H×W (N×1×D×H×W of volumes) at the size of the pictures, in [0, 1], or in [−1, 1] if signed.
        signed: whether zero is in the middle of the colours.
        low: the value of each map that is shown as 0 (if signed, the opposite of ``top``), N.
        top: the value of each map that is shown as 1, N.
        note: how the maps were changed so that they can be seen, such as "smoothed, cut at percentile 99", or "".

    Example::

        from captum_cams import visual

        scaled = visual.scale({"gradcam": cc.GradCAM(model, "layer4").attribute(images)}, images.shape[2:])["gradcam"]
        assert isinstance(scaled, visual.Scaled) and not scaled.signed
    """

    values: Tensor
    signed: bool
    low: Tensor
    top: Tensor
    note: str


def scale(
    maps: Mapping[str, Tensor],
    size: Sequence[int],
    *,
    shared: Shared = "each",
    signed: bool | None = None,
    percentile: float | None = None,
    smoothing: float | None = None,
) -> dict[str, Scaled]:
    """Scale the maps of several methods to the values that colours show.

    A map is pixel-fine if a blur with a standard deviation of 1 % of its longest side takes more than a quarter of its
    peak, as the maps of LRP and FG-CAM are at the size of the image. Such a map would hardly be seen. Unless told
    otherwise, it is smoothed by this blur, and its highest 1 % of values have the colour of the highest. A constant map
    becomes zero.

    Args:
        maps: the name of each method with its maps N×1×h×w (N×1×d×h×w of volumes).
        size: the size of the pictures.
        shared: see :data:`Shared`. Maps with one scale keep their proportions.
        signed: whether zero is in the middle of the scale; None means that a map of the method (of all methods that
            share a scale) has negative values. With False, negative values are shown as zero.
        percentile: the share of the values (if signed, of their magnitudes) in per cent, above 0 and up to 100, that
            the scale spans; None is 99 for pixel-fine maps and 100 for others.
        smoothing: the standard deviation of a blur as a share of the longest side, 0 for none; None is 0.01 for
            pixel-fine maps and 0 for others.

    Returns:
        The scaled maps of each method.

    Raises:
        CAMError: a map contains NaN or Inf, or an argument is out of its range.

    Example::

        from captum_cams import visual

        maps = cc.SGLRP(model).attribute(images)
        scaled = visual.scale({"sglrp": maps}, images.shape[2:])["sglrp"]
        print(scaled.signed, scaled.note, scaled.values.amax((1, 2, 3)))
    """
    check_choice("shared", shared, Shared)
    if percentile is not None and not 0 < percentile <= 100:
        raise CAMError(f"percentile must be above 0 and up to 100, got {percentile}")
    if smoothing is not None and not 0 <= smoothing < 0.5:
        raise CAMError(f"smoothing must be a share of the longest side from 0 to below 0.5, got {smoothing}")
    ready = {name: _prepared(name, each, percentile, smoothing) for name, each in maps.items()}
    signs = {name: bool((one.maps < 0).any()) if signed is None else signed for name, one in ready.items()}
    if shared in ("row", "all"):
        signs = dict.fromkeys(signs, any(signs.values()))
    if signed is False:
        ready = {name: one.without_negative() for name, one in ready.items()}
    limits = [_limits(one.maps, signs[name], one.percentiles) for name, one in ready.items()]
    lows, tops = _pooled(torch.stack([low for low, _ in limits]), torch.stack([top for _, top in limits]), shared)
    found = {}
    for (name, one), low, top in zip(ready.items(), lows, tops, strict=True):
        values = _spread(one.maps, low, top, signs[name], size, whole=shared == "each")
        found[name] = Scaled(values, signs[name], -top if signs[name] else low, top, ", ".join(one.notes))
    return found


@dataclass(frozen=True)
class _Ready:
    """The maps of a method, smoothed as far as they need it, with the percentile of each, and what was done."""

    maps: Tensor
    percentiles: list[float]
    notes: list[str]

    def without_negative(self) -> "_Ready":
        some = ["negative values as zero"] if bool((self.maps < 0).any()) else []
        return _Ready(self.maps.relu(), self.percentiles, [*self.notes, *some])


def _prepared(name: str, maps: Tensor, percentile: float | None, smoothing: float | None) -> _Ready:
    check_finite(f"maps of {name}", maps)
    maps = maps.detach().float().cpu()
    dims = tuple(range(1, maps.ndim))
    maps = maps.where(minmax(maps, dims).amax(dims, True) > 0, 0)  # a constant map shows nothing
    smoothed = smooth(maps, FINE_SMOOTHING)
    fine = (smoothed.abs().amax(dims) < _KEPT_PEAK * maps.abs().amax(dims)).tolist()
    percentiles = [percentile or (FINE_PERCENTILE if one else 100.0) for one in fine]
    if smoothing is None:
        maps = torch.stack([new if one else old for new, old, one in zip(smoothed, maps, fine, strict=True)])
    elif smoothing > 0:
        maps = smooth(maps, smoothing)
    notes = ["smoothed"] if (any(fine) if smoothing is None else smoothing > 0) else []
    notes += [f"cut at percentile {min(percentiles):g}"] if min(percentiles) < 100 else []
    return _Ready(maps, percentiles, notes)


def _limits(maps: Tensor, signed: bool, percentiles: Sequence[float]) -> tuple[Tensor, Tensor]:
    """The values of each map that are shown as 0 and as 1, N and N."""
    flat = maps.abs().flatten(1) if signed else maps.flatten(1)
    count = flat.shape[1]
    cut = [one.kthvalue(ceil(share / 100 * count)).values for one, share in zip(flat, percentiles, strict=True)]
    low, top = flat.amin(1) * (not signed), torch.stack(cut)
    return low, top.where(top > low, flat.amax(1))  # most values may be zero


def _pooled(low: Tensor, top: Tensor, shared: Shared) -> tuple[Tensor, Tensor]:
    """The limits M×N of the maps of M methods for N images, with those that share a scale made equal."""
    axes = {"row": (0,), "column": (1,), "all": (0, 1)}
    if shared == "each":
        return low, top
    return low.amin(axes[shared], True).expand_as(low), top.amax(axes[shared], True).expand_as(top)


def _spread(maps: Tensor, low: Tensor, top: Tensor, signed: bool, size: Sequence[int], whole: bool) -> Tensor:
    """The maps between their limits, at the size of the pictures; ``whole`` lets the highest value there be 1."""
    shape = (-1, *[1] * (maps.ndim - 1))
    low, spread = low.view(shape), (top - low).view(shape)
    values = torch.where(spread > 0, (maps - low) / spread.where(spread > 0, 1), 0).clamp(-1.0 if signed else 0.0, 1)
    values = upsample(values, size)
    if not whole:
        return values
    dims = tuple(range(1, values.ndim))
    highest = values.abs().amax(dims, True)
    return values / highest.where(highest > 0, 1) if signed else minmax(values, dims)
