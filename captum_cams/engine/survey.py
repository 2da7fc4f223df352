"""One run of a network on one image and changed copies of it, which shows where the network holds positions."""

from dataclasses import dataclass, field, fields
from itertools import count
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, Node, get_gradient_edge

from captum_cams.engine.call import Call
from captum_cams.engine.generators import generator_of
from captum_cams.engine.graph import passages
from captum_cams.engine.positions import Reading, change_of, contrasts, is_proven, likely, may_hold_positions
from captum_cams.engine.response import Change, corners, is_random
from captum_cams.engine.torch_internals import tree_flatten, version_of
from captum_cams.engine.trace import running, the_tensor, with_tensor

# Modules that compute no features: they return their input, or resize it for the classifier.
_NOT_FEATURES = (
    nn.Identity,
    *(nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout),
    *(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d),
    *(nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d),
)


@dataclass(frozen=True, eq=False)
class Output:
    """The output of a module with an axis more than the scores, which may hold positions."""

    name: str
    module: nn.Module
    shape: tuple[int, ...]
    edge: GradientEdge
    """Where the output is in the autograd graph."""
    start: int
    end: int
    """When the module began and ended, in the order of the run."""
    contrasts: dict[Reading, float]
    """How well each reading fits."""
    random: bool
    """Whether another run of the same image gives other values, as in networks that shuffle their tokens."""

    def read(self, reading: Reading) -> "Candidate":
        """The same output as a place with positions."""
        return Candidate(**{entry.name: getattr(self, entry.name) for entry in fields(Output)}, reading=reading)


@dataclass(frozen=True, eq=False)
class Candidate(Output):
    """The output of a module that holds positions of the image."""

    reading: Reading


@dataclass(eq=False)
class Survey:
    """What the run showed."""

    candidates: list[Candidate] = field(default_factory=list)
    """In the order in which they ended."""
    unread: list[Output] = field(default_factory=list)
    """The outputs in which no positions are proven, in the same order."""
    image: tuple[int, ...] = ()
    """The size of the images."""
    pixels: Tensor | None = None
    """The image where it enters the graph; None if it holds integers, which have no gradient."""
    weighted: list[tuple[int, int, nn.Module]] = field(default_factory=list)
    """Start, end and module of each call of a module with parameters of its own."""
    sources: set[Node] = field(default_factory=set)
    """Where the images enter the graph."""
    parts: dict[str, list[Node]] = field(default_factory=dict)
    """For each module, the tensors that it returned."""
    spans: dict[str, tuple[int, int]] = field(default_factory=dict)
    """For each module, when it began and ended."""
    raw: Any = None
    """The output of the network itself, before the task or the target read it."""
    output: Tensor = field(default_factory=lambda: torch.zeros(0))
    """The scores."""

    def read(self, outputs: list[Output]) -> None:
        """Sort out the outputs in which positions are proven. Tokens of one number are read in one way."""
        for output in outputs:
            alike = [other.contrasts for other in outputs if other.shape[:2] == output.shape[:2]]
            reading = likely(alike if len(output.shape) == 3 else [output.contrasts])
            if reading in output.contrasts and is_proven(reading, output.contrasts[reading], output.shape, self.image):
                self.candidates.append(output.read(reading))
            else:
                self.unread.append(output)

    def passages(self) -> dict[Node, int]:
        """The nodes through which everything passes between the images and the scores, numbered from the scores."""
        return passages(self.roots, self.sources)

    @property
    def roots(self) -> list[Node]:
        """Where the scores are in the graph; empty if they do not depend on anything."""
        return [self.output.grad_fn] if self.output.grad_fn is not None else []

    def gradient(self, candidate: Output) -> Tensor | None:
        """The gradient of a random combination of all scores at a candidate, as a map; None if there is none."""
        weights = torch.randn(self.output.shape, generator=generator_of(0)).to(self.output)
        return self.pulled_back([self.output], [weights], candidate)

    def at_image(self, candidate: Output) -> Tensor | None:
        """The gradient of a random combination of all values of a candidate at the image; None if there is none."""
        if self.pixels is None:
            return None
        weights = torch.randn(candidate.shape, generator=generator_of(0)).to(self.output)
        found = torch.autograd.grad([candidate.edge], [self.pixels], [weights], retain_graph=True, allow_unused=True)
        return found[0]

    def pulled_back(self, outputs: list[Any], weights: list[Tensor], candidate: Output) -> Tensor | None:
        """The derivative of weighted outputs with respect to a candidate, as its values; None if there is none."""
        (found,) = torch.autograd.grad(outputs, [candidate.edge], weights, retain_graph=True, allow_unused=True)
        return found


def survey(call: Call, network: nn.Module) -> Survey:
    """Run a network on the first image of a call and on its changed copies, and once more on the image with gradients.

    The runs are one after another, so a network may take one image at a time.

    Args:
        call: the user's call; its first sample is used.
        network: the network, whose modules are watched.
    """
    image, size = call.inputs[0][:1], tuple(call.inputs[0].shape[2:])
    zeros = {module for module in network.modules() if _is_zero(module)}
    answers, before = _answers(call, network, zeros)
    found, clock = Survey(image=size), count()
    names = {module: name for name, module in network.named_modules()}
    last: dict[nn.Module, Output] = {}
    entered: list[int] = []

    def enter(module: nn.Module) -> None:
        torch.set_grad_enabled(True)  # also in parts that the network runs without gradients
        entered.append(next(clock))

    def leave(module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        torch.set_grad_enabled(True)
        start, end = entered.pop(), next(clock)
        if module is network:
            found.raw = output
        if any(True for _ in module.parameters(recurse=False)):
            found.weighted.append((start, end, module))
        last.pop(module, None)  # the last call counts, as in Captum
        returned, output = output, _as_after_training(module, args, output) if module in zeros else output
        tensor, values, random = the_tensor(output), dict[Reading, float](), False
        if tensor is not None and names.get(module) and may_hold_positions(tensor, 1, len(size)):
            # A module may run several times in one pass, for outputs of several shapes; the last one was measured.
            measured = module in answers and before[module].shape == tensor.shape
            change = answers[module] if measured else None
            if change is not None:
                values = contrasts(tuple(tensor.shape), size, change)
                random = is_random(change, _change(before[module], tensor.detach(), size))
            if change is not None and change.answers and not (tensor.requires_grad and found.sources):
                tensor = tensor.detach().requires_grad_()  # the graph of the image was cut before, or never began
                found.sources.add(get_gradient_edge(tensor).node)
            # A copy, because what comes later may write to the tensor, and the module may have returned its input.
            tensor = tensor.clone()
            output = with_tensor(output, tensor)
        elif names.get(module):  # tokens with another axis first, and recurrent networks: to be noticed, not explained
            tensor = next((leaf for leaf in tree_flatten(output)[0] if isinstance(leaf, Tensor)), None)
        watched = names.get(module) and not _returns_its_input(module, args, returned)
        if tensor is not None and tensor.ndim > 2 and tensor.requires_grad and watched:
            edge = get_gradient_edge(tensor)
            last[module] = Output(names[module], module, tuple(tensor.shape), edge, start, end, values, random)
        found.spans[names.get(module, "")] = start, end
        found.parts[names.get(module, "")] = [
            leaf.grad_fn for leaf in tree_flatten(output)[0] if isinstance(leaf, Tensor) and leaf.grad_fn is not None
        ]
        return None if output is returned else output

    leaf = image.clone()
    if leaf.is_floating_point() and not call.form.is_integer:
        found.sources.add(get_gradient_edge(leaf.requires_grad_()).node)
        found.pixels = leaf
    with torch.enable_grad(), running(call.modules, enter, leave):
        found.output = call.rows(leaf, [0]).output()
    found.read(sorted(last.values(), key=lambda output: output.end))
    return found


def _answers(
    call: Call, network: nn.Module, zeros: set[nn.Module]
) -> tuple[dict[nn.Module, Change], dict[nn.Module, Tensor]]:
    """How the last output of each module changes with each corner of the image, and the output for the image itself."""
    size, rows = tuple(call.inputs[0].shape[2:]), corners(call.inputs[0][:1]).split(1)
    before: dict[nn.Module, Tensor] = {}
    now: dict[nn.Module, Tensor] = {}
    changes: dict[nn.Module, list[Change]] = {}

    def leave(module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        returned, output = output, _as_after_training(module, args, output) if module in zeros else output
        tensor = the_tensor(output)
        now.pop(module, None)
        if tensor is not None and may_hold_positions(tensor, 1, len(size)):
            now[module] = tensor.detach().clone()  # later functions may write to it
        return None if output is returned else output

    with torch.no_grad(), running(network.modules(), leave=leave):
        for row in rows:
            now.clear()
            call.rows(row, [0]).output()
            if not before:
                before.update(now)
                continue
            for module, tensor in now.items():
                change = _change(before[module], tensor, size) if module in before else None
                if change is not None:
                    changes.setdefault(module, []).append(change)
    complete = {module: Change.joined(parts) for module, parts in changes.items() if len(parts) == len(rows) - 1}
    return complete, before


def _change(before: Tensor, tensor: Tensor, size: tuple[int, ...]) -> Change | None:
    """The change from one output to another; None if their shapes differ."""
    return change_of(torch.cat((before, tensor)), size) if before.shape == tensor.shape else None


def _is_zero(module: nn.Module) -> bool:
    """Whether a layer begins with a weight of zeros, as many heads and last norms of blocks do before training."""
    weight = getattr(module, "weight", None)
    return isinstance(weight, nn.Parameter) and weight.is_floating_point() and not bool(weight.any())


def _as_after_training(module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
    """Let what a layer reads show in its output, if its weight is zero."""
    tensor, given = the_tensor(output), args[0] if args else None
    if tensor is None or not isinstance(given, Tensor):
        return output
    if isinstance(module, nn.Linear):
        weight = torch.randn(module.weight.shape, generator=generator_of(1)).to(module.weight)
        return with_tensor(output, tensor + nn.functional.linear(given, weight / module.in_features**0.5))
    return with_tensor(output, tensor + given) if tensor.shape == given.shape else output


def _returns_its_input(module: nn.Module, args: tuple[Any, ...], output: Any) -> bool:
    same = any(output is given for given in args)
    # What a module gets is a fresh copy: if it has written to it, it returns something new in the same tensor.
    return (same and isinstance(output, Tensor) and version_of(output) == 0) or isinstance(module, _NOT_FEATURES)


def is_dense(raw: Any) -> bool:
    """Whether the network gives more than scores: a list of boxes for each image, or scores for each pixel or query."""
    raw = getattr(raw, "logits", raw)
    tensors = [leaf for leaf in tree_flatten(raw)[0] if isinstance(leaf, Tensor)]
    return isinstance(raw, list) or any(tensor.ndim > 2 for tensor in tensors)
