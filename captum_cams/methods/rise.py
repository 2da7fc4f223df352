"""RISE."""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from captum_cams.bases.perturbed import PerturbedCAM
from captum_cams.bases.spatial import SpatialCAM
from captum_cams.cost import Cost, named
from captum_cams.engine.call import Call
from captum_cams.engine.capture import Seen
from captum_cams.engine.layers import Place
from captum_cams.engine.targets import wide
from captum_cams.errors import CAMError, check_at_least
from captum_cams.paper import Paper
from captum_cams.registry import register


@register
class RISE(PerturbedCAM, SpatialCAM):
    """Average random masks of the input, each weighted by the class probability it leaves; at the input's size.

    Petsiuk et al. 2018, eq. 6: map = Σ_i p_c(x ∘ m_i) m_i / (N q); m_i is a random grid, upsampled and shifted. Every
    image sees the same masks.

    Args:
        masks: N; 4000 for VGG and 8000 for ResNet-50 in the paper. Each is a run of the whole network.
        grid: cells along a side.
        keep: q, the probability of a cell to stay.
        seed: of the masks.
        **options: see :class:`PerturbedCAM`.
    """

    paper = Paper(
        "Petsiuk et al.",
        "RISE: Randomized Input Sampling for Explanation of Black-box Models",
        "BMVC",
        2018,
        "https://arxiv.org/abs/1806.07421",
    )
    cost = Cost(1 + named("masks"))
    per_channel = False
    at_input_size = True
    rectifies = False  # probabilities are not negative, other scores may be

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
            raise CAMError(f"keep must lie between 0 and 1, got {keep}")
        self.masks, self.grid, self.keep, self.seed = masks, grid, keep, seed

    def place(self, call: Call) -> Place:
        alone = len(call.inputs) == 1 and not call.extra and call.inputs[0].ndim == 4
        if self.layer is None and self.layout is None and alone and isinstance(call.network, nn.Module):
            return Place(call.network, at_input=True)  # no layer takes part, and one need not be found
        return super().place(call)

    def maps(self, seen: Seen) -> Tensor:
        images = seen.inputs[0]
        size = images.shape[-2:]
        generator = torch.Generator().manual_seed(self.seed)
        grids = torch.rand(self.masks, 1, self.grid, self.grid, generator=generator) < self.keep
        shifts = torch.rand(self.masks, 2, generator=generator)
        total = wide(torch.zeros_like(images[:, :1]))
        for part in self.chunks(torch.arange(self.masks)):
            masks = _masks(grids[part].float(), shifts[part], size).to(images.device)
            for sample, image in enumerate(images):
                scores = seen.rerun.scores(image * masks.to(image.dtype), sample, "probability")
                total[sample, 0] += torch.einsum("r,rhw->hw", scores.to(total.dtype), masks[:, 0].to(total.dtype))
        return total / (self.masks * self.keep)


def _masks(grids: Tensor, shifts: Tensor, size: torch.Size) -> Tensor:
    """Grids R×1×s×s, upsampled by one cell more than the image needs and cut out at the shift: R×1×H×W."""
    cells = [math.ceil(side / grids.shape[-1]) for side in size]
    large = F.interpolate(grids, [(grids.shape[-1] + 1) * cell for cell in cells], mode="bilinear")
    starts = (shifts * torch.tensor(cells)).long().tolist()
    return torch.stack([m[:, y : y + size[0], x : x + size[1]] for m, (y, x) in zip(large, starts, strict=True)])
