"""Check that the positions of a layer cover the image from edge to edge.

A map is stretched over the whole image. That shows wrong places if the network crops the image first, or pads it.
"""

from typing import Any

import torch
from torch import Tensor, nn

from captum_cams.engine.answers import last_answers
from captum_cams.engine.call import Call
from captum_cams.engine.generators import generator_of
from captum_cams.engine.layers import describe
from captum_cams.engine.response import other_pixels
from captum_cams.engine.trace import replaced
from captum_cams.errors import CAMError

_EDGES = (("upper", "lower"), ("left", "right"))
_EARLY = 4
"""A network that leaves out more than this part of a position at the beginning of the image crops it."""


def check_coverage(
    call: Call, layer: nn.Module, at_input: bool, size: tuple[int, ...], gradient: Tensor | None = None
) -> None:
    """Check that a layer reads the image from edge to edge, and that no position of its map is outside of the image.

    The depth of volumes is not checked: networks for videos may leave out frames.

    Args:
        call: the user's call.
        layer: the layer, whose positions are proven.
        at_input: whether its input is meant.
        size: the size of its map.
        gradient: the gradient of all its values together at the first image, if it is known. It saves runs.

    Raises:
        CAMError: if the network crops or pads the image.
    """
    image = call.inputs[0][:1]
    strips = _strips(tuple(image.shape[2:]), size)
    if gradient is not None:
        strips = {edge: strip for edge, strip in strips.items() if not gradient[strip].any()}
    unread = _without_answer(call, layer, at_input, image, strips)
    if unread:
        raise CAMError(
            f"layer {describe(call.network, layer)} must read the whole image, since its map is shown over the whole "
            f"image, got the same values with other pixels at the {' and '.join(unread)} edge, as in a model that "
            "crops its images; crop them before you pass them, and explain the part of the model behind"
        )
    _check_padding(call, size)


def _strips(sides: tuple[int, ...], size: tuple[int, ...]) -> dict[str, tuple[Any, ...]]:
    """For each edge, the pixels there of which a network reads some.

    Strides leave out less than one position at the end of the image, and nothing at its beginning.
    """
    found: dict[str, tuple[Any, ...]] = {}
    for axis, (side, positions) in enumerate([*zip(sides, size, strict=True)][-2:]):
        begins, ends = _EDGES[axis] if len(sides) > 1 else _EDGES[1]
        rest = (slice(None),) * (1 - axis if len(sides) > 1 else 0)
        found[begins] = (..., slice(0, -(-side // (_EARLY * positions))), *rest)
        found[ends] = (..., slice(side - -(-side // positions), side), *rest)
    return found


def _without_answer(
    call: Call, layer: nn.Module, at_input: bool, image: Tensor, strips: dict[str, tuple[Any, ...]]
) -> list[str]:
    """The edges at which other pixels change nothing in the layer."""
    if not strips:
        return []
    noise, rows = other_pixels(image), [image]
    for strip in strips.values():
        row = image.clone()
        row[strip] = noise[strip]
        rows.append(row)
    first, *others = last_answers(call, layer, at_input, torch.cat(rows))
    if first is None:
        return []
    pairs = zip(strips, others, strict=True)
    return [edge for edge, other in pairs if other is not None and torch.equal(first, other)]


def _check_padding(call: Call, size: tuple[int, ...]) -> None:
    """Check where patches lie that together are larger than the image, if the map has a position for each of them."""
    sides = tuple(call.inputs[0].shape[2:])
    for module in call.modules or () if len(sides) == 2 else ():
        if not isinstance(module, nn.Conv2d) or module.kernel_size != module.stride or max(module.stride) == 1:
            continue
        whole = tuple(stride * positions for stride, positions in zip(module.stride, size, strict=True))
        if any(w > side for w, side in zip(whole, sides, strict=True)) and _is_shifted(call, module, size):
            raise CAMError(
                f"a map {_times(size)} of patches {_times(module.stride)} must lie inside of the images, got images "
                f"{_times(sides)}, which the model pads to {_times(whole)}; resize or pad them to multiples of "
                f"{_times(module.stride)} before you pass them"
            )


def _is_shifted(call: Call, patches: nn.Conv2d, size: tuple[int, ...]) -> bool:
    """Whether the first or last patches lie more than half a patch from where the map shows them."""
    image, kept = call.inputs[0][:1].clone(), list[Tensor]()
    if call.form.is_integer:
        return False

    def keep(output: Tensor) -> None:
        kept.append(output.clone())

    with torch.enable_grad(), replaced(patches, False, keep):
        call.rows(image.requires_grad_(), [0]).output()
    if not kept or tuple(kept[-1].shape[2:]) != size or not kept[-1].requires_grad:
        return False
    for axis, (positions, side) in enumerate(zip(size, image.shape[2:], strict=True)):
        step = side / positions
        first, last = (_read(kept[-1], image, 2 + axis, position) for position in (0, positions - 1))
        if first.stop < step / 2 or last.start > side - step / 2:
            return True
    return False


def _read(output: Tensor, image: Tensor, axis: int, position: int) -> range:
    """From which to which row or column of the image the patches of one row or column read."""
    weights, noise = torch.zeros_like(output), torch.randn(output.shape, generator=generator_of(0)).to(output)
    weights.select(axis, position).copy_(noise.select(axis, position))
    (gradient,) = torch.autograd.grad(output, image, weights, retain_graph=True, allow_unused=True)
    live = [] if gradient is None else gradient.abs().movedim(axis, 0).flatten(1).sum(1).nonzero().flatten().tolist()
    return range(live[0], live[-1] + 1) if live else range(image.shape[axis], 0)


def _times(sides: tuple[int, ...]) -> str:
    return "×".join(map(str, sides))
