"""Export a model, find the output of a layer in its graph, and cut the graph behind it."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.fx import Graph, GraphModule, Node

from captum_cams.engine.outputs import read_scores
from captum_cams.errors import CAMError

_SIZES = int | bool | torch.SymInt | torch.SymBool


@dataclass(frozen=True)
class CutGraph:
    """The graph of a model, cut behind one layer."""

    whole: GraphModule
    """Images → (scores, activation of the layer, further tensors that the tail reads …)."""
    tail: GraphModule
    """(activation, further tensors …) → scores."""
    further: int
    """How many further tensors there are, such as the other side of a skip connection around the layer."""
    free_batch: bool
    """Whether both take any number of samples; otherwise only as many as in the export."""
    separable: bool
    """Whether the first axis of the activation and of all further tensors counts the samples."""


class _Scores(nn.Module):
    """The model, with its scores as the only output."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        return read_scores(self.model(images))


def cut(model: nn.Module, images: Tensor, layer: str) -> CutGraph:
    """Export a copy of the model and cut its graph behind a layer.

    Args:
        model: the network, in eval mode.
        images: N×C×H×W.
        layer: the dotted name of the layer.

    Raises:
        CAMError: ``torch.export`` refuses the model, or the layer does not give exactly one tensor in the graph.
    """
    copied = _Scores(deepcopy(model)).requires_grad_(False)
    # A size of 1 would be taken for a constant.
    graph, free = _exported(copied, images if len(images) > 1 else torch.cat((images, images)))
    if not free:
        graph, _ = _exported(copied, images)
    _drop_unused(graph.graph)
    image = next(node for node in graph.graph.nodes if node.op == "placeholder")
    output = next(node for node in graph.graph.nodes if node.op == "output")
    (scores,) = output.all_input_nodes
    return _cut_behind(graph, image, _output_of(graph.graph, f"model.{layer}"), scores, free)


def _exported(model: nn.Module, images: Tensor) -> tuple[GraphModule, bool]:
    """The graph without in-place operations, and whether its number of samples is free."""
    try:
        with _written_attention():
            program = torch.export.export(
                model, (images,), dynamic_shapes=({0: torch.export.Dim.AUTO},), strict=False
            ).run_decompositions({})
    except CAMError:
        raise
    except Exception as error:  # the reasons of torch.export have no common class
        said = " ".join(str(error).split())[:300]
        raise CAMError(
            f"the model must be one that torch.export takes, but it raised {type(error).__name__}: {said}; rewrite "
            "the part of the forward pass that it names, such as an if that reads the values of a tensor"
        ) from error
    graph = program.module()
    (scores,) = next(node for node in graph.graph.nodes if node.op == "output").all_input_nodes
    return graph, isinstance(scores.meta["val"].shape[0], torch.SymInt)


@contextmanager
def _written_attention() -> Iterator[None]:
    # The fused kernel of nn.MultiheadAttention exists for eager runs only; other runtimes do not know it.
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)


def _drop_unused(graph: Graph) -> None:
    """Remove what nothing reads, such as checks of shapes, which would forbid another number of samples."""
    for node in reversed(graph.nodes):
        if not node.users and node.op not in ("placeholder", "output"):
            graph.erase_node(node)


def _output_of(graph: Graph, layer: str) -> Node:
    """The node with the output of a layer: the one inside the layer that is read outside of it."""
    name = layer.removeprefix("model.")
    inside = [node for node in graph.nodes if layer in _modules(node)]
    read = [node for node in inside if any(layer not in _modules(user) for user in node.users)]
    if len(read) != 1 or not isinstance(read[0].meta.get("val"), Tensor):
        found = "no operation in the exported graph" if not inside else f"{len(read)} of its values are read outside"
        raise CAMError(
            f"layer {name} must give one tensor in the exported graph, got {found}; choose the layer before it or "
            "one inside it, and no layer that the model calls twice"
        )
    return read[0]


def _modules(node: Node) -> list[str]:
    return [path for path, _ in node.meta.get("nn_module_stack", {}).values()]


def _cut_behind(graph: GraphModule, image: Node, activation: Node, scores: Node, free: bool) -> CutGraph:
    behind, data = _reached_from(graph.graph, activation), _reached_from(graph.graph, image)
    if scores not in behind:
        raise CAMError("the scores must depend on the layer, but they do not read it; choose a layer before them")
    needed, further, ahead = set[Node](), dict[Node, None](), [scores]
    while ahead:
        node = ahead.pop()
        if node in needed or node is activation:
            continue
        if node in data and node not in behind:
            further[node] = None
            continue
        needed.add(node)
        if not _counts_samples(node, image):
            ahead += node.all_input_nodes
    tail = Graph()
    placed = {node: tail.placeholder(node.name) for node in (activation, *further)}
    for node in graph.graph.nodes:
        if node not in needed:
            continue
        if _counts_samples(node, image):  # the tail also runs on several changed activations of one image
            placed[node] = tail.call_function(torch.ops.aten.sym_size.int, (placed[activation], 0))
        else:
            placed[node] = tail.node_copy(node, lambda source: placed[source])
    tail.output(placed[scores])
    whole = Graph()
    copies: dict[Node, Node] = {}
    whole.graph_copy(graph.graph, copies)
    whole.output((copies[scores], copies[activation], *(copies[node] for node in further)))
    whole.eliminate_dead_code()
    samples = str(image.meta["val"].shape[0])
    separable = all(str(node.meta["val"].shape[0]) == samples for node in (activation, *further))
    return CutGraph(GraphModule(graph, whole), GraphModule(graph, tail), len(further), free, separable)


def _reached_from(graph: Graph, start: Node) -> set[Node]:
    """The nodes whose values depend on those of a node; sizes do not count."""
    found = {start}
    for node in graph.nodes:
        if not found.isdisjoint(node.all_input_nodes) and not isinstance(node.meta.get("val"), _SIZES):
            found.add(node)
    return found


def _counts_samples(node: Node, image: Node) -> bool:
    return node.target is torch.ops.aten.sym_size.int and node.args == (image, 0)
