"""Maps that an earlier evaluation has stored."""

from functools import lru_cache
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor

from captum_cams.adapters.fingerprint import fingerprint
from captum_cams.adapters.map_folder import read_manifest, read_maps
from captum_cams.errors import CAMError, lookup, shape_of


class StoredMaps:
    """Gives the maps that ``evaluate(…, save_maps=folder)`` has stored, so that they are not computed again.

    Pass it to ``evaluate`` or to the callback as a method. A map is found by the values of its image and by its class,
    so the order of the images and the batches may differ. Stored maps have no maps of changed images: metrics that
    explain changed images or a changed model raise an error.

    Args:
        folder: the folder with the maps.
        method: the name of the method in the folder; None if there is only one.

    Raises:
        CAMError: the folder has no maps, is not finished, or has no such method; when it is called: an image or its
            class is not stored.

    Example::

        data = torch.utils.data.TensorDataset(images, labels)
        lightning_callbacks.evaluate(model, data, "gradcam", metrics="average_drop", save_maps="maps")
        stored = {"stored": cc.StoredMaps("maps")}
        table = lightning_callbacks.evaluate(model, data, stored, metrics="average_drop")
    """

    def __init__(self, folder: str | Path, method: str | None = None) -> None:
        self.folder = Path(folder)
        manifest = read_manifest(self.folder)
        if manifest is None:
            raise CAMError(
                f"{self.folder} must be a folder that evaluate(…, save_maps=…) has written, but it has no manifest.json"
            )
        if manifest["batches"] is None:
            raise CAMError(
                f"{self.folder} must hold all maps of an evaluation, but the evaluation has not ended; call evaluate "
                "again with the same out= and save_maps="
            )
        names = manifest["methods"]
        if method is None and len(names) > 1:
            raise CAMError(
                f"{self.folder} has the maps of {', '.join(names)}; pass one of these names: "
                f'StoredMaps(folder, "{next(iter(names))}")'
            )
        self.method = next(iter(names)) if method is None else method
        self.about: dict[str, Any] = lookup("stored method", self.method, names)
        self.places: dict[str, dict[int, tuple[str, int]]] = {}
        """Fingerprint of an image → class → file and row of the map."""
        for batch in manifest["batches"]:
            rows = zip(batch["fingerprints"], batch["classes"], strict=True)
            for row, (mark, index) in enumerate(rows):
                self.places.setdefault(mark, {})[index] = (batch["file"], row)
        self._read = lru_cache(maxsize=2)(self._maps)

    def __call__(self, model: Any, images: Tensor, target: Tensor) -> Tensor:
        """Look up the maps of some images; the model is not used.

        Args:
            model: not used.
            images: N×C×H×W.
            target: the class of each image, N integers.

        Returns:
            The maps N×1×h×w.

        Raises:
            CAMError: an image or its class is not stored, or the maps of these images differ in size.
        """
        pairs = zip(images, target.tolist(), strict=True)
        found = [self._read(file)[row] for file, row in (self._place(image, index) for image, index in pairs)]
        if len({one.shape for one in found}) > 1:
            sizes = ", ".join(sorted({shape_of(one) for one in found}))
            raise CAMError(f"the stored maps of a batch must have one size, got {sizes}; use batches of one image")
        return torch.stack(found).to(images.device)

    def _place(self, image: Tensor, index: int) -> tuple[str, int]:
        classes = self.places.get(fingerprint(image))
        if classes is None:
            raise CAMError(
                f"{self.folder} has no map of an image {shape_of(image)} ({image.dtype}), because a map is stored for "
                "the exact values of its image; use the data, the transforms and the device of the evaluation that "
                "stored the maps, and leave out metrics that explain changed images (such as adcc and coherency)"
            )
        if index not in classes:
            known = ", ".join(map(str, sorted(classes)))
            raise CAMError(
                f"{self.folder} has maps of this image for the class {known}, not for {index}; measure the classes of "
                'the evaluation that stored the maps, with the same model and the same "classes" of the protocol'
            )
        return classes[index]

    def _maps(self, file: str) -> Tensor:
        return read_maps(self.folder / file, self.method)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.folder, self.method), {"about": self.about, "places": self.places}

    def __deepcopy__(self, memo: Any) -> NoReturn:
        """Refuse a copy, which would stand for the maps of a model with other weights.

        Raises:
            CAMError: always.
        """
        raise CAMError(
            "stored maps cannot be computed again for a changed model; leave out the metrics that change the model, or "
            "pass the method itself"
        )

    def __repr__(self) -> str:
        return f"StoredMaps({str(self.folder)!r}, {self.method!r})"
