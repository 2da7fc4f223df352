"""Judge what the library explains in a network if no layer is given."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

import captum_cams as cc
from tests.zoo import place
from tests.zoo.entries import Entry
from tests.zoo.grad_cam import grad_cam
from tests.zoo.grid import UnreadableError
from tests.zoo.pictures import oblong_sides, own_side, pictures, square_side
from tests.zoo.runs import scores

CLASSES = [1, 2]
FEWEST = 25
"""With fewer positions than 5×5 a quarter of the map is no place: then the network gets images of its own size."""


@dataclass(frozen=True)
class Verdict:
    """What came of one network.

    Args:
        kind: "right"; "teaches" if the library refuses the network with a :class:`CAMError`; otherwise "wrong".
        layer: the dotted name of the layer that was found.
        shape: the output of the layer as it is read, such as "7×7×768, channels last".
        positions: h·w of the layer.
        images: the sides of the images.
        remark: the error, or what is wrong.
    """

    entry: Entry
    kind: Literal["right", "teaches", "wrong"]
    layer: str = ""
    shape: str = ""
    positions: int = 0
    images: str = ""
    remark: str = ""


def judge(entry: Entry) -> Verdict:
    """Explain a network with ``layer=None`` and prove the map and its place by plain torch."""
    model = entry.network()
    side, own = square_side(model), own_side(model)
    # A new network each time: some keep the size of the last image, and windows that do not fit it.
    verdict = _judge(entry, entry.network(), side)
    return verdict if verdict.positions >= FEWEST or side == own else _judge(entry, entry.network(), own)


def _judge(entry: Entry, model: nn.Module, side: int) -> Verdict:
    images, shown = pictures(2, (side, side)), f"{side}"
    explainer = cc.create("gradcam", model)
    try:
        layer = found_layer(explainer, images)
    except cc.CAMError as error:
        return Verdict(entry, "teaches", images=shown, remark=" ".join(str(error).split()))
    name = next(name for name, module in model.named_modules() if module is layer)
    try:
        found = grad_cam(model, layer, images, CLASSES)
        problem = problems(model, layer, images) or unequal(explainer, model, layer, images)
    except (UnreadableError, AssertionError) as error:
        return Verdict(entry, "wrong", name, images=shown, remark=str(error))
    h, w = found.grid.size
    prefix = f"{found.grid.prefix} + " if found.grid.prefix else ""
    shape = f"{found.activation.shape[1]} × ({prefix}{h}·{w}), {found.grid.kind}"
    oblong = oblong_sides(model, side)
    if oblong:
        shown += f", {oblong[0]}×{oblong[1]}"
        problem = problem or wrong_if_oblong(entry.network(), name, pictures(2, oblong, seed=1))
    return Verdict(entry, "wrong" if problem else "right", name, shape, h * w, shown, problem or "")


def found_layer(explainer: cc.CAMAttribution, images: Tensor) -> nn.Module:
    """The layer that the library finds.

    Raises:
        CAMError: it refuses the network.
    """
    explainer.attribute(images, CLASSES)
    assert explainer.found_layer is not None
    return explainer.found_layer


def problems(model: nn.Module, layer: nn.Module, images: Tensor) -> str | None:
    """The first thing that is wrong with a place; None if it is right."""
    found = grad_cam(model, layer, images, CLASSES)
    prefix = getattr(model, "num_prefix_tokens", None)
    if found.grid.prefix and isinstance(prefix, int) and prefix != found.grid.prefix:
        return f"{found.grid.prefix} prefix tokens, but the network has {prefix}"
    return (
        place.without_gradient(found)
        or place.bypassed(model, layer, images)
        or place.too_early(model, layer, images, found)
        or place.not_local(model, layer, images)
    )


def unequal(explainer: cc.CAMAttribution, model: nn.Module, layer: nn.Module, images: Tensor) -> str | None:
    """Compare the map of the library with the one by hand, to 1e-5 of the largest value of each map."""
    ours = explainer.attribute(images, CLASSES, relu_attributions=False)
    by_hand = grad_cam(model, layer, images, CLASSES).map
    if ours.shape != by_hand.shape:
        return f"the map is {tuple(ours.shape[2:])}, but {tuple(by_hand.shape[2:])} by hand"
    scale = by_hand.abs().amax((1, 2, 3), keepdim=True)
    if not scale.all():
        return "the map is zero everywhere"
    error = float(((ours - by_hand).abs() / scale).max())
    return None if error <= 1e-5 else f"the map differs by {error:.1e} from the one by hand"


def wrong_if_oblong(model: nn.Module, name: str, images: Tensor) -> str | None:
    """Images that are not square: the same layer, and a map with their proportions that equals the one by hand."""
    explainer = cc.create("gradcam", model)
    try:
        layer = found_layer(explainer, images)
    except cc.CAMError:
        return None  # refused, which is no wrong map
    found = next(known for known, module in model.named_modules() if module is layer)
    if found != name:
        return f"{found} is found for images that are not square"
    try:
        return unequal(explainer, model, layer, images) or place.not_local(model, layer, images)
    except UnreadableError as error:
        return f"images that are not square: {error}"


def count_of_scores(model: nn.Module, images: Tensor) -> int:
    """How many scores the network gives."""
    with torch.no_grad():
        return scores(model, images[:1]).shape[1]
