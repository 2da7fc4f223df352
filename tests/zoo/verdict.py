"""Judge what the library explains in a network if no layer is given."""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

import captum_cams as cc
from tests.zoo import place
from tests.zoo.entry import Entry
from tests.zoo.grad_cam import CountError, Explained, grad_cam
from tests.zoo.grid import UnreadableError
from tests.zoo.pictures import oblong_sides, own_side, pictures, square_side

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
    images, shown = pictures(2, (side, side)), f"{side}×{side}"
    try:
        layer, ours = explained(model, images)
    except cc.CAMError as error:
        return Verdict(entry, "teaches", images=shown, remark=" ".join(str(error).split()))
    except Exception as error:  # an error of another class teaches nothing
        return Verdict(entry, "wrong", images=shown, remark=f"{type(error).__name__}: {error}")
    name = name_of(model, layer)
    try:
        found = grad_cam(model, layer, images, CLASSES)
        problem = problems(model, layer, images, found) or unequal(ours, found)
    except (UnreadableError, CountError) as error:
        return Verdict(entry, "wrong", name, images=shown, remark=str(error))
    h, w = found.grid.size
    prefix = f"({found.grid.prefix} + {h}·{w})" if found.grid.prefix else f"{h}·{w}"
    shape = f"{found.activation.shape[1]} × {prefix}, {found.grid.kind}"
    oblong = oblong_sides(model, side) if entry.oblong and not problem else None
    if oblong:
        shown += f", {oblong[0]}×{oblong[1]}"
        problem = wrong_if_oblong(entry.network(), name, pictures(2, oblong, seed=1))
    return Verdict(entry, "wrong" if problem else "right", name, shape, h * w, shown, problem or "")


def explained(model: nn.Module, images: Tensor) -> tuple[nn.Module, Tensor]:
    """The layer that the library finds, and its maps with both signs.

    Raises:
        CAMError: it refuses the network.
    """
    explainer = cc.create("gradcam", model)
    maps = explainer.attribute(images, CLASSES, relu_attributions=False)
    assert explainer.found_layer is not None
    return explainer.found_layer, maps


def name_of(model: nn.Module, layer: nn.Module) -> str:
    """The dotted name of a layer."""
    return next(name for name, module in model.named_modules() if module is layer)


def problems(model: nn.Module, layer: nn.Module, images: Tensor, found: Explained) -> str | None:
    """The first thing that is wrong with a place; None if it is right."""
    prefix = getattr(model, "num_prefix_tokens", None)
    if found.grid.prefix and isinstance(prefix, int) and prefix != found.grid.prefix:
        return f"{found.grid.prefix} prefix tokens, but the network has {prefix}"
    return (
        place.inside_attention(model, layer)
        or place.without_gradient(model, layer, images)
        or place.bypassed(model, layer, images)
        or place.too_early(model, layer, images, found)
        or place.not_local(model, layer, images)
    )


def unequal(ours: Tensor, found: Explained) -> str | None:
    """Compare the maps of the library with those by hand, to 1e-5 of the largest value of each map.

    A map that is zero by hand must be zero: the scores of SqueezeNet pass a ReLU.
    """
    if ours.shape != found.map.shape:
        return f"the map is {'×'.join(map(str, ours.shape[2:]))}, but {'×'.join(map(str, found.grid.size))} by hand"
    scale = found.map.abs().amax((1, 2, 3), keepdim=True)
    error = float(((ours - found.map).abs() / scale.where(scale > 0, 1)).max())
    return None if error <= 1e-5 else f"the map differs by {error:.1e} from the one by hand"


def wrong_if_oblong(model: nn.Module, name: str, images: Tensor) -> str | None:
    """Images that are not square: the same layer, and a map with their proportions that equals the one by hand."""
    try:
        layer, ours = explained(model, images)
    except cc.CAMError:
        return None  # refused, which is no wrong map
    if name_of(model, layer) != name:
        return f"{name_of(model, layer)} is found for images that are not square"
    try:
        return unequal(ours, grad_cam(model, layer, images, CLASSES))
    except UnreadableError as error:
        return f"images that are not square: {error}"
