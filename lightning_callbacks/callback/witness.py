"""Whether the network is given the images of the batch."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from captum_cams.errors import shape_of


class Witness:
    """Notes the tensors that a network is called with, from :meth:`begin` to :meth:`end`.

    Preprocessing inside a step shows in no batch: this is how it is found.
    """

    def __init__(self) -> None:
        self.called = False  # one batch tells
        self._handle: RemovableHandle | None = None
        self._batch: Any = None
        self._seen: list[Tensor] = []

    def begin(self, network: nn.Module | None, batch: Any) -> None:
        """Note what this network is called with; the batch itself, which Lightning may hand over, does not count."""
        self.called, self._batch = True, batch
        if network is not None:
            self._handle = network.register_forward_pre_hook(self._note, with_kwargs=True)

    def end(self) -> list[Tensor] | None:
        """Leave the network as it was; what it was called with, or None where :meth:`begin` did not come before."""
        if self._batch is None:
            return None
        if self._handle is not None:
            self._handle.remove()
        seen, self._seen, self._batch, self._handle = self._seen, [], None, None
        return seen

    def _note(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        for value in (*args, *kwargs.values()):
            if isinstance(value, Tensor) and value.ndim == 4 and value is not self._batch:
                self._seen.append(value.detach())


def other_images(seen: list[Tensor], images: Tensor) -> str | None:
    """That none of the tensors are these images, in words; None where one is, or nothing was seen."""
    if not seen or any(_same(one, images) for one in seen):
        return None
    return (
        f"the validation step gives the network other images ({_range(seen[0])}) than those of the batch "
        f"({_range(images)}), which are explained; pass batch_fn=lambda batch: (what the network takes, labels)"
    )


def _same(one: Tensor, images: Tensor) -> bool:
    if one.shape != images.shape:
        return False
    near = 1e-2 * float(images.abs().max())  # half precision is no other image
    return torch.allclose(one.float(), images.float(), rtol=0, atol=near)


def _range(images: Tensor) -> str:
    return f"{shape_of(images)}, {float(images.min()):.3g} to {float(images.max()):.3g}"
