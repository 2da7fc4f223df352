"""RISE."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from captum_cams.bases.perturbed import PerturbedCAM
from captum_cams.bases.spatial import SpatialCAM
from captum_cams.cost import Cost, named
from captum_cams.engine.call import Call
from captum_cams.engine.capture import Seen
from captum_cams.engine.layers import Place
from captum_cams.engine.targets import wide
from captum_cams.errors import CAMError, check_at_least
from captum_cams.images import upsample
from captum_cams.paper import Paper
from captum_cams.registry import register


@register
class RISE(PerturbedCAM, SpatialCAM):
    """Shows the pixels that keep the class probability high if they stay visible.

    Petsiuk et al. 2018, eq. 6: map = Σ_i p_c(x ∘ m_i) m_i / (N q), where each mask m_i is a random grid, upsampled and
    shifted; all images have the same masks. No layer takes part, and there is no ReLU. The map is as large as the
    image, N×1×H×W, and it is not negative if probabilities are read.
    The grid has the axes of the input, also those of a signal or a volume.

    Args:
        masks: N, at least 1; each mask costs one forward pass of the whole model. The paper takes 4000 for VGG and 8000
            for ResNet-50.
        grid: number of cells along a side of the grid, at least 1.
        keep: q, the probability that a cell stays visible, between 0 and 1.
        seed: seed of the masks.
        **options: see :class:`PerturbedCAM`.

    Raises:
        CAMError: ``masks`` or ``grid`` is not a positive integer, or ``keep`` is not between 0 and 1.

    Example::

        cam = cc.RISE(model, masks=100)
        maps = cam.attribute(images, labels)  # 2×1×64×64
    """

    title = "RISE"
    paper = Paper(
        "Petsiuk et al.",
        "RISE: Randomized Input Sampling for Explanation of Black-box Models",
        "BMVC",
        2018,
        "https://arxiv.org/abs/1806.07421",
    )
    cost = Cost(1 + named("masks"))
    per_channel = False
    any_dimension = True
    at_input_size = True
    rectifies = False  # probabilities are not negative, but other scores may be

    def __init__(
        self,
        forward_func: Callable[..., Any],
        layer: nn.Module | str | None = None,
        device_ids: list[int] | None = None,
        *,
        masks: int = 4000,
        grid: int = 8,
        keep: float = 0.5,
        seed: int = 0,
        **options: Any,
    ) -> None:
        super().__init__(forward_func, layer, device_ids, **options)
        check_at_least("masks", masks, 1)
        check_at_least("grid", grid, 1)
        if not 0 < keep < 1:
            raise CAMError(f"keep must be a probability between 0 and 1, got {keep}; the paper takes 0.5")
        self.masks, self.grid, self.keep, self.seed = masks, grid, keep, seed

    def find(self, call: Call) -> None:
        if self._network(call) is None:
            super().find(call)

    def place(self, call: Call) -> Place:
        network = self._network(call)
        return super().place(call) if network is None else Place(network, at_input=True)

    def _network(self, call: Call) -> nn.Module | None:
        """The network if it can stand for the layer: no layer takes part, so none has to be found."""
        floats = call.inputs[0].ndim in (3, 4, 5) and not call.form.is_integer
        alone = self.layer is None and self.layout is None and len(call.inputs) == 1 and not call.extra and floats
        return call.network if alone and isinstance(call.network, nn.Module) else None

    def maps(self, seen: Seen) -> Tensor:
        images = seen.inputs[0]
        size = images.shape[2:]
        generator = torch.Generator().manual_seed(self.seed)
        grids = torch.rand(self.masks, 1, *[self.grid] * len(size), generator=generator) < self.keep
        shifts = torch.rand(self.masks, len(size), generator=generator)
        total = wide(torch.zeros_like(images[:, :1]))
        for part in self.chunks(torch.arange(self.masks)):
            masks = _masks(grids[part].float(), shifts[part], size).to(images.device)
            for sample, image in enumerate(images):
                scores = seen.rerun.scores(image * masks.to(image.dtype), sample, "probability")
                total[sample, 0] += torch.tensordot(scores.to(total.dtype), masks[:, 0].to(total.dtype), 1)
        return total / (self.masks * self.keep)


def _masks(grids: Tensor, shifts: Tensor, size: torch.Size) -> Tensor:
    """Return masks R×1×H×W: grids R×1×s×s, upsampled to one cell more than the image and cropped at their shifts."""
    cells = [math.ceil(side / grids.shape[-1]) for side in size]
    large = upsample(grids, [(grids.shape[-1] + 1) * cell for cell in cells])
    starts = (shifts * torch.tensor(cells)).long().tolist()
    cuts = [tuple(slice(at, at + side) for at, side in zip(each, size, strict=True)) for each in starts]
    return torch.stack([mask[0][cut] for mask, cut in zip(large, cuts, strict=True)])[:, None]
