"""Find out whether the network gets the images of the batch."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from captum_cams.errors import shape_of


class Witness:
    """Records the images that a network gets, from :meth:`begin` to :meth:`end`.

    If a step changes the images, the batch does not show it; the input of the network does.
    """

    def __init__(self) -> None:
        self.called = False  # one batch is enough
        self._handle: RemovableHandle | None = None
        self._batch: Any = None
        self._images: list[Tensor] = []

    def begin(self, network: nn.Module | None, batch: Any) -> None:
        """Start to record the input of the network; the batch itself, which Lightning may pass, does not count."""
        self.called, self._batch = True, batch
        if network is not None:
            self._handle = network.register_forward_pre_hook(self._record, with_kwargs=True)

    def end(self) -> list[Tensor] | None:
        """Remove the hook and return the recorded images, or None if :meth:`begin` was not called."""
        if self._batch is None:
            return None
        if self._handle is not None:
            self._handle.remove()
        images, self._images, self._batch, self._handle = self._images, [], None, None
        return images

    def _record(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        for value in (*args, *kwargs.values()):
            if isinstance(value, Tensor) and value.ndim in (3, 4, 5) and value is not self._batch:
                self._images.append(value.detach())


def other_images(given: list[Tensor], images: Tensor) -> str | None:
    """A warning if the network got other images than these, or None."""
    if not given or any(_same(tensor, images) for tensor in given):
        return None
    return (
        f"the validation step gives the network other images ({_range(given[0])}) than those of the batch "
        f"({_range(images)}), but the images of the batch are explained; "
        "pass batch_fn=lambda batch: (images as the network gets them, labels)"
    )


def _same(tensor: Tensor, images: Tensor) -> bool:
    """Whether both are the same images, except for rounding."""
    if tensor.shape != images.shape:
        return False
    near = 1e-2 * float(images.abs().max())  # half precision rounds the values
    return torch.allclose(tensor.float(), images.float(), rtol=0, atol=near)


def _range(images: Tensor) -> str:
    """Shape and range of images, for messages."""
    return f"{shape_of(images)}, {float(images.min()):.3g} to {float(images.max()):.3g}"
