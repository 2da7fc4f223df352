"""Find out whether a data loader still gives the images of a checkpoint."""

from collections.abc import Sequence

import torch
from torch import Tensor

_PIXELS = 64
"""How many pixels of each image are compared first, before the whole image."""


class Recognition:
    """Looks for the images of a checkpoint in the batches.

    Args:
        known: the images of the checkpoint, of all processes together.
        enough: how many of them must be found until the data set counts as the same.
    """

    def __init__(self, known: Sequence[Tensor], enough: int) -> None:
        self._missing, self._wanted = list(known), len(known) - enough

    @property
    def done(self) -> bool:
        """Whether enough of the images were found."""
        return len(self._missing) <= self._wanted

    def see(self, images: Tensor) -> None:
        """Look at one batch."""
        alike = [known for known in self._missing if known.shape == images.shape[1:]]
        if not alike:
            return
        pixels = torch.linspace(0, alike[0].numel() - 1, _PIXELS).long()
        few = images.detach().flatten(1)[:, pixels.to(images.device)].cpu()
        back = [
            any(
                torch.equal(images[i].detach().cpu(), known)
                for i in (few == known.flatten()[pixels]).all(1).nonzero()[:, 0].tolist()
            )
            for known in alike
        ]
        gone = {id(known) for known, found in zip(alike, back, strict=True) if found}
        self._missing = [known for known in self._missing if id(known) not in gone]
