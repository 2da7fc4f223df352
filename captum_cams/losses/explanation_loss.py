"""The loss of a map that lies outside of the object."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from captum_cams.errors import CAMError, check_finite, check_tensor, shape_of

_MODES = {3: "linear", 4: "bilinear", 5: "trilinear"}


class ExplanationLoss(nn.Module):
    """Computes how much of the maps lies outside of the masks, so that a network learns to look inside them.

    The loss of an image is 1 − Σ m M⁺ / Σ M⁺, where M⁺ is the positive part of the map, resized to the mask m. It is 1
    minus the energy-based pointing game, and lies between 0 and 1; the result is the mean over the images. A map
    without positive values has the loss 1, as nothing of it is inside, and the gradient 0. The loss does not change if
    a map is multiplied by a number, so it is added to the loss of the task and does not replace it.

    Rao et al., "Using Explanations to Guide Models", ICCV 2023, compare this loss with others. The idea to punish
    explanations outside of a mask is that of Ross et al., "Right for the Right Reasons", IJCAI 2017, for the gradients
    of the pixels.

    Args:
        mask: where the object is, as booleans or shares from 0 to 1. N×1×H×W or N×H×W has a mask for each image, and
            H×W one for all; volumes and signals have their own number of axes. It must not be smaller than the maps.

    Raises:
        CAMError: the mask has other values; in a call, if it does not fit the maps or is empty for an image, or if the
            maps have no graph although torch records gradients.

    Example::

        mask = torch.zeros(2, 64, 64)
        mask[:, 16:48, 16:48] = 1
        maps = cc.GradCAM(model, "layer4").attribute(images, labels, differentiable=True)
        loss = torch.nn.functional.cross_entropy(model(images), labels) + cc.ExplanationLoss(mask)(maps)
        loss.backward()
    """

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        check_tensor("mask", mask, "N×H×W")
        mask = mask.detach().to(torch.promote_types(mask.dtype, torch.float32))
        check_finite("mask", mask)
        if not ((mask >= 0) & (mask <= 1)).all():
            raise CAMError(
                f"mask must hold booleans or shares from 0 to 1, got values from {float(mask.min()):.3g} to "
                f"{float(mask.max()):.3g}; for a mask with values up to 255 pass mask > 127"
            )
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, maps: Tensor) -> Tensor:
        """Compute the mean loss of maps N×1×h×w, as ``attribute(..., differentiable=True)`` gives them."""
        mask = self._fitting(maps)
        if torch.is_grad_enabled() and not maps.requires_grad:
            raise CAMError(
                "a loss needs maps with a graph, got maps without one; pass differentiable=True to attribute, or "
                "compute the loss in torch.no_grad() if it is only reported"
            )
        size = mask.shape[2:]
        positive = functional.interpolate(maps.relu(), size, mode=_MODES[maps.ndim], align_corners=False)
        inside, whole = (positive * mask).flatten(1).sum(1), positive.flatten(1).sum(1)
        some = whole > torch.finfo(whole.dtype).tiny
        return 1 - (inside / whole.where(some, 1)).where(some, 0).mean()

    def _fitting(self, maps: Tensor) -> Tensor:
        """The mask of each map, N×1×H×W."""
        check_tensor("maps", maps, "N×1×h×w")
        if maps.ndim not in _MODES or maps.shape[1] != 1:
            raise CAMError(f"maps must be N×1×h×w, got {shape_of(maps)}; pass what attribute returns")
        check_finite("maps", maps.detach())
        mask = self.mask.to(maps)
        mask = mask[None, None] if mask.ndim == maps.ndim - 2 else mask[:, None] if mask.ndim == maps.ndim - 1 else mask
        form = "×".join({3: "T", 4: "HW", 5: "DHW"}[maps.ndim])
        if mask.ndim != maps.ndim or mask.shape[1] != 1 or len(mask) not in (1, len(maps)):
            raise CAMError(
                f"mask must be {len(maps)}×1×{form}, {len(maps)}×{form} or {form} for maps {shape_of(maps)}, got "
                f"{shape_of(self.mask)}"
            )
        if any(large > small for large, small in zip(maps.shape[2:], mask.shape[2:], strict=True)):
            raise CAMError(
                f"mask must not be smaller than the maps, got {shape_of(self.mask)} for maps {shape_of(maps)}; pass it "
                "at the size of the images"
            )
        empty = ~mask.flatten(1).any(1)
        if empty.any():
            raise CAMError(
                f"mask must hold a part of each image, got none of image {int(empty.int().argmax())}; give the loss "
                "the images with an object alone: ExplanationLoss(mask[some])(maps[some])"
            )
        return mask
