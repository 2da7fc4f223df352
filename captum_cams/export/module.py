"""The module that gives scores and map."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from captum_cams.engine.layout import Layout
from captum_cams.export.graph import CutGraph
from captum_cams.images import upsample


class ScoresAndMap(nn.Module):
    """Images → (scores N×classes, map N×1×h×w).

    Args:
        graph: the graph of the model, cut behind the layer.
        layout: the layout of the layer; None if it gives maps.
        form: makes the map, see :mod:`captum_cams.export.forms`.
        last_step: what the method does with this map, such as ReLU.
        target: the explained class; None is the one with the highest score.
        size: height and width of the map; None is the size of the layer.
    """

    def __init__(
        self,
        graph: CutGraph,
        layout: Layout | None,
        form: nn.Module,
        last_step: nn.Module,
        target: int | None,
        size: Sequence[int] | None,
    ) -> None:
        super().__init__()
        self.network, self.layout, self.form, self.last_step = graph.whole, layout, form, last_step
        self.choose = _Highest() if target is None else _Given(target)
        self.resize = nn.Identity() if size is None else _Resized(size)
        self.free_batch = graph.free_batch

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        scores, maps = self.before_last_step(images)
        return scores, self.resize(self.last_step(maps))

    def before_last_step(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Give the scores N×classes, and the map N×1×h×w before ReLU or the scaling to [0, 1]."""
        scores, output, *further = self.network(images)
        maps = output if self.layout is None else self.layout.to_map(output)
        return scores, self.form(maps, scores, self.choose(scores), output, *further)


class _Highest(nn.Module):
    def forward(self, scores: Tensor) -> Tensor:
        return scores.argmax(1)


class _Given(nn.Module):
    def __init__(self, target: int) -> None:
        super().__init__()
        self.target = target

    def forward(self, scores: Tensor) -> Tensor:
        return torch.full_like(scores[:, 0], self.target, dtype=torch.int64)


class _Resized(nn.Module):
    def __init__(self, size: Sequence[int]) -> None:
        super().__init__()
        self.size = tuple(size)

    def forward(self, maps: Tensor) -> Tensor:
        return upsample(maps, self.size)
