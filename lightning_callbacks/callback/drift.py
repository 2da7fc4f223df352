"""Measure how much the map of an image has changed since the last explained epoch."""

import hashlib
from collections.abc import Sequence

from torch import Tensor
from torchmetrics.functional import spearman_corrcoef

from captum_cams.images import minmax
from lightning_callbacks.callback.explained import Explained


class Drift:
    """The last maps of the predicted classes, for the images of one data loader.

    Args:
        before: key of an image → method → map, from a checkpoint.
        forgets: remove the maps of an image when it is not explained again.
    """

    def __init__(self, before: dict[str, dict[str, Tensor]] | None = None, forgets: bool = False) -> None:
        self.before, self.forgets = before or {}, forgets

    def __call__(self, rows: Sequence[Explained]) -> list[dict[str, float]]:
        """Compare the maps of each image with its last maps, and remember the new maps.

        The result is method → rank correlation for each image; a method without a last map is missing.
        """
        keys = [_key(row.image) for row in rows]
        now = [{name: of["predicted"] for name, of in row.maps.items()} for row in rows]
        found = [
            {name: rank_correlation(known[name], map_) for name, map_ in maps.items() if name in known}
            for key, maps in zip(keys, now, strict=True)
            for known in [self.before.get(key, {})]
        ]
        for key, maps in zip(keys, now, strict=True):
            self.before[key] = self.before.get(key, {}) | maps
        if self.forgets and rows:
            self.before = {key: self.before[key] for key in keys}
        return found

    def keep(self, images: Sequence[Tensor]) -> None:
        """Remove the maps of all other images."""
        keys = {_key(image) for image in images}
        self.before = {key: maps for key, maps in self.before.items() if key in keys}

    def forget(self, method: str) -> None:
        """Remove the maps of this method; its drift starts again."""
        for maps in self.before.values():
            maps.pop(method, None)


def rank_correlation(before: Tensor, after: Tensor) -> float:
    """Spearman's rank correlation of two maps, −1 to 1; NaN if a map is constant or the sizes differ."""
    if before.shape != after.shape or not all(minmax(map_.flatten(), 0).any() for map_ in (before, after)):
        return float("nan")
    return float(spearman_corrcoef(after.flatten(), before.flatten()))


def _key(image: Tensor) -> str:
    """A hash of the pixels, which identifies the image."""
    return hashlib.sha1(image.float().contiguous().numpy().tobytes()).hexdigest()
