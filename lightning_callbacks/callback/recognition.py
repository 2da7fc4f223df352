"""Whether a data loader still gives the images that a checkpoint holds."""

from collections.abc import Sequence

import torch
from torch import Tensor

_PIXELS = 64
"""How many pixels of each image are compared before the whole image is."""


class Recognition:
    """Looks for known images among those that pass by.

    Args:
        known: the images of the checkpoint, of all processes together.
        enough: how many of them must come back until the data set counts as the same one.
    """

    def __init__(self, known: Sequence[Tensor], enough: int) -> None:
        self._missing, self._wanted = list(known), len(known) - enough

    @property
    def done(self) -> bool:
        """Enough of the images have come back."""
        return len(self._missing) <= self._wanted

    def see(self, images: Tensor) -> None:
        """Look at one batch."""
        alike = [known for known in self._missing if known.shape == images.shape[1:]]
        if not alike:
            return
        pixels = torch.linspace(0, alike[0].numel() - 1, _PIXELS).long()
        sample = images.detach().flatten(1)[:, pixels.to(images.device)].cpu()
        back = [
            any(
                torch.equal(images[i].detach().cpu(), known)
                for i in (sample == known.flatten()[pixels]).all(1).nonzero()[:, 0].tolist()
            )
            for known in alike
        ]
        gone = {id(known) for known, found in zip(alike, back, strict=True) if found}
        self._missing = [known for known in self._missing if id(known) not in gone]
