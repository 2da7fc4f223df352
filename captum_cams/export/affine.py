"""Prove that the scores are an affine function of the layer, and read their gradient, which is then constant."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from captum_cams.engine.multipliers import is_affine_operation
from captum_cams.errors import CAMError
from captum_cams.export.graph import CutGraph

_CHUNK = 16  # classes whose gradients are computed in one run


def constant_gradient(
    graph: CutGraph, activation: Tensor, classes: int, to_map: Callable[[Tensor], Tensor], method: str
) -> Tensor:
    """The gradient of every score at the layer.

    Args:
        graph: the cut graph.
        activation: the activation of the example.
        classes: the number of scores.
        to_map: arranges values of the layer as a map.
        method: the name of the method for messages.

    Returns:
        The gradients, classes×K×h×w, or classes×K×1×1 if they are the same at all positions.

    Raises:
        CAMError: an operation behind the layer is not affine.
    """
    wrong = _curved(graph.tail)
    if graph.further:
        wrong = "a connection around the layer"
    if wrong is not None or not graph.separable:
        raise CAMError(
            f'the exported form of "{method}" needs a part behind the layer that is affine, such as pooling and one '
            f"linear layer, because no gradient leaves PyTorch, got {wrong or 'samples on another axis'}; choose the "
            'last feature layer, or "reciprocam", which suits any network'
        )
    rows = _CHUNK if graph.free_batch else len(activation)
    found = []
    for first in range(0, classes, rows):
        point = torch.zeros_like(activation[:1]).repeat_interleave(rows, 0).requires_grad_()
        columns = torch.arange(first, min(first + rows, classes), device=activation.device)
        with torch.enable_grad():
            score = graph.tail(point)[: len(columns)].gather(1, columns[:, None]).sum()
        found.append(to_map(torch.autograd.grad(score, point)[0][: len(columns)]))
    gradients = torch.cat(found)
    one = gradients.flatten(2)[..., :1]
    if torch.allclose(gradients.flatten(2), one, rtol=1e-6, atol=0):
        return one.reshape(*gradients.shape[:2], *[1] * (gradients.ndim - 2)).contiguous()
    return gradients.contiguous()


def _curved(tail: GraphModule) -> str | None:
    """The name of the first operation on the activation that is not affine; None if all are."""
    moving: set[Node] = {next(node for node in tail.graph.nodes if node.op == "placeholder")}
    for node in tail.graph.nodes:
        if node.op != "call_function" or moving.isdisjoint(node.all_input_nodes):
            continue
        if isinstance(node.meta.get("val"), int | torch.SymInt) or node.target is torch.ops.aten.sym_size.int:
            continue
        leaves: list[Node] = []
        torch.fx.map_arg((node.args, node.kwargs), leaves.append)
        name = getattr(node.target, "overloadpacket", node.target).__name__
        moves = sum(leaf in moving for leaf in leaves)
        if not is_affine_operation(name, moves, node.args[0] in moving):
            return name
        moving.add(node)
    return None
