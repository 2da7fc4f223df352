"""How much the explanation of an image has changed since it was last explained."""

import hashlib
from collections.abc import Sequence

from torch import Tensor
from torchmetrics.functional import spearman_corrcoef

from captum_cams.images import minmax
from lightning_callbacks.callback.explained import Explained


class Drift:
    """Remembers the last maps of the predicted classes in one data loader.

    Args:
        before: image → method → map, of an earlier run.
        forgets: drop the maps of an image that is not explained again.
    """

    def __init__(self, before: dict[str, dict[str, Tensor]] | None = None, forgets: bool = False) -> None:
        self.before, self.forgets = before or {}, forgets

    def __call__(self, rows: Sequence[Explained]) -> list[dict[str, float]]:
        """Of each image and method, the rank correlation with the last map; then remember these maps.

        An image or a method that was not there last time is left out.
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
        """Drop the maps of all other images."""
        keys = {_key(image) for image in images}
        self.before = {key: maps for key, maps in self.before.items() if key in keys}

    def forget(self, method: str) -> None:
        """Drop the maps of this method, whose drift starts anew."""
        for maps in self.before.values():
            maps.pop(method, None)


def rank_correlation(before: Tensor, after: Tensor) -> float:
    """Spearman's rank correlation of two maps, −1 to 1; NaN where a map is constant or has another size."""
    if before.shape != after.shape or not all(minmax(one.flatten(), 0).any() for one in (before, after)):
        return float("nan")
    return float(spearman_corrcoef(after.flatten(), before.flatten()))


def _key(image: Tensor) -> str:
    return hashlib.sha1(image.float().contiguous().numpy().tobytes()).hexdigest()
