"""The maps of the methods as plain modules: no hooks, no gradients, no control flow.

Each form takes activations as maps N×K×h×w, scores N×classes, the index of the explained class N, the layer's own
output, and the further tensors of :class:`captum_cams.export.graph.CutGraph`. It returns the map N×1×h×w before the
last step of the method.
"""

import torch
from torch import Tensor, nn

from captum_cams.engine.layout import Layout
from captum_cams.engine.sign import sign_of_mean
from captum_cams.export.graph import CutGraph
from captum_cams.images import minmax

SQUARINGS = 12
"""How often the matrix is squared: 2¹² steps of a power iteration, so the second component keeps (σ₂/σ₁)^8192."""


class ClassWeighted(nn.Module):
    """Σ_k W_ck A_k, with weights classes×K×h×w (or ×1×1) that do not depend on the image.

    It serves CAM, Grad-CAM, Layer-CAM and HiResCAM, whose weights are constant behind the last features.
    """

    weights: Tensor

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.register_buffer("weights", weights)

    def forward(self, maps: Tensor, scores: Tensor, index: Tensor, output: Tensor, *further: Tensor) -> Tensor:
        return (self.weights.index_select(0, index) * maps).sum(1, keepdim=True)


class Ablated(nn.Module):
    """Σ_k (y_c − y_c(k off)) / abs(y_c) A_k; behind the last features, y_c − y_c(k off) is Σ_ij G_k A_k."""

    gradients: Tensor

    def __init__(self, gradients: Tensor) -> None:
        super().__init__()
        self.register_buffer("gradients", gradients)

    def forward(self, maps: Tensor, scores: Tensor, index: Tensor, output: Tensor, *further: Tensor) -> Tensor:
        lost = (self.gradients.index_select(0, index) * maps).sum((2, 3), keepdim=True)
        score = scores.gather(1, index[:, None]).abs()[:, :, None, None]
        return (lost / torch.where(score > 0, score, 1.0) * maps).sum(1, keepdim=True)


class Rare(nn.Module):
    """FEM: Σ_k w_k A_k, with the share w_k of positions above the mean by more than so many standard deviations."""

    def __init__(self, deviations: float) -> None:
        super().__init__()
        self.deviations = deviations

    def forward(self, maps: Tensor, scores: Tensor, index: Tensor, output: Tensor, *further: Tensor) -> Tensor:
        values = maps.flatten(2)
        values = values - values[..., :1]  # a constant channel becomes exactly 0
        centred = values - values.mean(2, keepdim=True)
        spread = (centred * centred).mean(2, keepdim=True).sqrt()
        weights = (centred > self.deviations * spread).to(maps.dtype).mean(2)
        return (weights[:, :, None, None] * maps).sum(1, keepdim=True)


class Principal(nn.Module):
    """Eigen-CAM by a power iteration, since ONNX has no singular value decomposition.

    The smaller of the two matrices of products, over channels or over positions, is squared :data:`SQUARINGS` times.
    The iteration starts at the longest row of the result, so no random number is needed, and it cannot start at a
    right angle to the component.
    """

    def forward(self, maps: Tensor, scores: Tensor, index: Tensor, output: Tensor, *further: Tensor) -> Tensor:
        rows = maps.flatten(2).mT
        centred = rows - rows.mean(1, keepdim=True)
        level = centred / _largest(centred)
        over_positions = level.shape[1] < level.shape[2]
        vector = _leading(level @ level.mT if over_positions else level.mT @ level)
        first = level.mT @ vector if over_positions else vector
        length = (first * first).sum(1, keepdim=True).sqrt()
        along = level @ (first / torch.where(length > 0, length, 1.0))
        signed = along * sign_of_mean(along, level) * _largest(centred)
        return signed.mT.unflatten(2, maps.shape[2:])


def _leading(matrix: Tensor) -> Tensor:
    """The first eigenvector N×R×1 of symmetric matrices N×R×R; not of length 1."""
    for _ in range(SQUARINGS):  # unrolled in the export
        matrix = matrix / _largest(matrix)
        matrix = matrix @ matrix
    longest = (matrix * matrix).sum(2).argmax(1)
    return matrix.gather(2, longest[:, None, None].expand(-1, matrix.shape[1], 1)) / _largest(matrix)


def _largest(values: Tensor) -> Tensor:
    largest = values.abs().amax((1, 2), keepdim=True)
    return torch.where(largest > 0, largest, 1.0)


class OneWindow(nn.Module):
    """Recipro-CAM and ViT-Recipro-CAM: the score when the part behind the layer gets one window of the map alone.

    All N·h·w changed activations run at once. :class:`Scaled` is the last step of these methods.
    """

    masks: Tensor

    def __init__(self, graph: CutGraph, layout: Layout | None, masks: Tensor, score: nn.Module) -> None:
        super().__init__()
        self.tail, self.layout, self.score = graph.tail, layout or Layout(_same, _same), score
        self.register_buffer("masks", masks)

    def forward(self, maps: Tensor, scores: Tensor, index: Tensor, output: Tensor, *further: Tensor) -> Tensor:
        count = self.masks.shape[0]
        masked = (maps[:, None] * self.masks).flatten(0, 1)
        given = self.layout.replaced(masked, _repeated(output, count))
        rows = self.score(self.tail(given, *(_repeated(tensor, count) for tensor in further)))
        chosen = rows.unflatten(0, (-1, count)).gather(2, index[:, None, None].expand(-1, count, 1))
        return chosen[..., 0].unflatten(1, (1, *maps.shape[2:]))


class Scaled(nn.Module):
    """Scales each map to [0, 1]."""

    def forward(self, maps: Tensor) -> Tensor:
        return minmax(maps)


def _same(maps: Tensor, original: Tensor | None = None) -> Tensor:
    return maps


def _repeated(values: Tensor, count: int) -> Tensor:
    return values[:, None].expand(-1, count, *values.shape[1:]).flatten(0, 1)
