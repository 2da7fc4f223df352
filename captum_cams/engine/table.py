"""All places at which a model can be explained, as a table."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from captum_cams.engine.call import Call
from captum_cams.engine.choice import Search
from captum_cams.engine.inputs import recipes
from captum_cams.engine.search import network_of
from captum_cams.engine.survey import survey
from captum_cams.engine.torch_internals import tree_flatten
from captum_cams.engine.untouched import untouched


@dataclass(frozen=True)
class LayerRow:
    """A layer whose positions are proven to be those of the image, and through which all scores pass."""

    name: str
    shape: tuple[int, ...]
    """The shape of its output for one sample."""
    layout: str
    """What the axes are, such as N×K×h×w or N×(1+h·w)×K."""
    depth: float
    """The share of the layers with weights that ran before its end, 0 to 1."""
    chosen: bool
    """Whether ``layer=None`` explains it."""


class LayerTable(tuple[LayerRow, ...]):
    """The rows, the deepest layer first; prints as a table."""

    __slots__ = ()

    def __repr__(self) -> str:
        lines = [("layer", "shape", "layout", "depth", "")]
        for row in self:
            shape = "×".join(map(str, row.shape))
            lines.append((row.name, shape, row.layout, f"{row.depth:.0%}", "chosen" if row.chosen else ""))
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def layers(model: Callable[..., Any], inputs: Any, additional_forward_args: Any = None) -> LayerTable:
    """List the layers at which a model can be explained, and the one that ``layer=None`` takes.

    The model runs on the first image, and on copies of it with one changed corner each.

    Args:
        model: the model, a module.
        inputs: images N×C×H×W, as for an explainer.
        additional_forward_args: further arguments of the model.

    Returns:
        One row for each layer, the deepest first.

    Raises:
        CAMError: if the model is not a module.

    Example::

        table = cc.layers(model, images)
        print(table)
        cam = cc.GradCAM(model, table[0].name)
    """
    with recipes(model, inputs, additional_forward_args), untouched(model) as modules:
        call = Call.of(model, inputs, None, additional_forward_args, task=_all_numbers, modules=modules)
        found = Search(survey(call, network_of(call)), network_of(call))
        chosen = next(found.places(), None)
        total = len(found.seen.weighted)
        rows = [
            LayerRow(
                candidate.name,
                candidate.shape[1:],
                candidate.reading.word,
                sum(end <= candidate.end for _, end, _ in found.seen.weighted) / max(total, 1),
                candidate is chosen,
            )
            for candidate in reversed(found.seen.candidates)
            if candidate is chosen or found.on_the_trunk(candidate)
        ]
    return LayerTable(rows)


def _all_numbers(output: Any) -> Tensor:
    """Keep the scores N×classes; of any other output, read all numbers that have a gradient."""
    output = getattr(output, "logits", output)
    if isinstance(output, Tensor):
        return output.flatten(1)
    entries = output if isinstance(output, list) else [output]
    numbers = [[leaf for leaf in tree_flatten(entry)[0] if isinstance(leaf, Tensor)] for entry in entries]
    if isinstance(output, list):  # boxes: one entry for each sample
        return torch.stack([sum((t.sum() for t in row if t.requires_grad), torch.zeros(())) for row in numbers])
    return torch.cat([t.flatten(1) for t in numbers[0] if t.is_floating_point()], 1)
