"""Explain one image and draw it."""

from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps
from torch import Tensor, nn
from torchvision.transforms.functional import pil_to_tensor

from captum_cams.bases.attribution import CAMAttribution
from captum_cams.engine.call import Call
from captum_cams.engine.inputs import recipes
from captum_cams.engine.scores import Task, probabilities
from captum_cams.engine.untouched import untouched
from captum_cams.errors import CAMError, brief, lookup, shape_of
from captum_cams.registry import create
from captum_cams.visual.captions import Caption
from captum_cams.visual.display import displayable
from captum_cams.visual.explanation import Explanation
from captum_cams.visual.overlays import Region, covered_part
from captum_cams.visual.prepared import Prepare, covered_region, prepared

_CLASSES = 3  # how many classes an explanation keeps


def show(
    model: Callable[..., Any],
    image: Tensor | Image.Image | str | PathLike[str],
    target: Any = None,
    *,
    method: str = "gradcam",
    layer: nn.Module | str | None = None,
    prepare: Prepare | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    class_names: Sequence[str] = (),
    true: int | str | None = None,
    region: Region | None = None,
    **options: Any,
) -> Explanation:
    """Explain one image, and draw the photograph, the map, the class and its probability.

    Args:
        model: the model, or an explainer of it.
        image: what the model takes, C×H×W or 1×C×H×W; or with ``prepare`` a photograph, as an image of Pillow or the
            path of a file. A photograph is shown at its own size, and also what the model does not see of it.
        target: the class to explain: its index, its name in ``class_names``, or a function as in
            :meth:`CAMAttribution.attribute`; None is the class with the highest score.
        method: the name of the method, if ``model`` is no explainer.
        layer: the layer to explain, if ``model`` is no explainer; None finds one.
        prepare: turns a photograph into what the model takes, C×H×W, such as ``weights.transforms()`` of torchvision.
            Which part of the photograph it keeps is found by pictures whose colours are their coordinates.
        mean: as in :func:`displayable`, for an image without ``prepare``.
        std: as in :func:`displayable`, for an image without ``prepare``.
        class_names: the names of all classes; empty writes indices.
        true: the true class, its index or its name, which marks the prediction as right or wrong; None if not known.
        region: the part of the photograph that ``prepare`` shows to the model, (x0, y0, x1, y1) in pixels; None finds
            it.
        **options: hyperparameters of the method, and ``task`` and ``reshape``, if ``model`` is no explainer.

    Returns:
        The explanation. Notebooks show it; ``save("explained.pdf")`` writes it, and ``draw`` gives the figure.

    Raises:
        CAMError: the image is not one image, a photograph comes without ``prepare``, a class is unknown, or as in
            :func:`create`, :meth:`CAMAttribution.attribute` and :func:`displayable`.

    Example::

        explanation = cc.show(model, images[0], true=3, class_names=[f"class {index}" for index in range(10)])
        explanation.save("explained.png", theme="dark")
    """
    explainer = _explainer(model, method, layer, options)
    inputs, shown, region = _read(image, prepare, mean, std, region)
    index = _index(target, class_names)
    truth = _index(true, class_names)
    found = _probabilities(explainer, inputs) if not callable(target) else None
    map_ = explainer.attribute(inputs, index)[0, 0]
    told = () if found is None else _described(found, index, truth, class_names, explainer.task)
    caption, classes = told or (Caption(""), ())
    return Explanation(shown, map_.detach().cpu(), explainer.full_title, caption, classes, region)


def _explainer(
    model: Callable[..., Any], method: str, layer: nn.Module | str | None, options: dict[str, Any]
) -> CAMAttribution:
    if not isinstance(model, CAMAttribution):
        made: CAMAttribution = create(method, model, layer, **options)
        return made
    if layer is not None or options:
        said = ", ".join([*["layer"] * (layer is not None), *options])
        raise CAMError(f"an explainer has its layer and options already, got {said}; pass them where it is made")
    return model


def _read(
    image: Any,
    prepare: Prepare | None,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    region: Region | None,
) -> tuple[Tensor, Tensor, Region | None]:
    """The input of the model 1×C×H×W, the photograph 3×H×W in [0, 1], and the part of it that the model sees."""
    if isinstance(image, Tensor):
        images = image[None] if image.ndim == 3 else image
        if prepare is not None or images.ndim != 4 or len(images) != 1:
            raise CAMError(
                f"image must be one image C×H×W that the model takes, without prepare, got {shape_of(image)}; for "
                "several images, use panel, and for a photograph, pass an image of Pillow or a path"
            )
        return images, displayable(images, mean, std)[0], region
    if isinstance(image, str | PathLike):
        with Image.open(Path(image)) as file:
            image = ImageOps.exif_transpose(file)
    if not isinstance(image, Image.Image):
        raise CAMError(f"image must be a tensor, an image of Pillow or a path, got {brief(image)}")
    if prepare is None:
        raise CAMError("a photograph needs prepare, got None; pass prepare=weights.transforms(), say")
    photograph = image.convert("RGB")
    inputs = prepared(prepare, photograph)[None]
    shown = pil_to_tensor(photograph).float() / 255
    if region is None:
        region = covered_region(prepare, photograph.width, photograph.height)
    covered_part(shown[None], region)  # raises an error if it is not inside
    whole = tuple(region) == (0, 0, photograph.width, photograph.height)
    return inputs, shown, None if whole else region


def _index(given: Any, class_names: Sequence[str]) -> Any:
    """The index of a class that is given by its name; anything else is left as it is."""
    if not isinstance(given, str):
        return given
    return lookup("class", given, {name: index for index, name in enumerate(class_names)}, "pass its index")


def _probabilities(explainer: CAMAttribution, inputs: Tensor) -> Tensor | None:
    """The probabilities of all classes, or None if the model gives no N×C scores."""
    model = explainer.forward_func
    with recipes(model, inputs), untouched(model) as modules:
        call = Call.of(model, inputs, task=explainer.task, modules=modules)
        scores = call.output()
        if scores.ndim != 2:
            return None
        return probabilities(scores.detach().float(), call.task)[0].cpu()


def _described(
    found: Tensor, target: int | None, true: int | None, class_names: Sequence[str], task: Task
) -> tuple[Caption, tuple[tuple[str, float], ...]]:
    """The caption of an explanation, and its classes with the highest probabilities."""
    count = len(found)
    if class_names and len(class_names) != count:
        raise CAMError(f"class_names must name the {count} classes of the model, got {len(class_names)}")
    names = list(class_names) or [f"class {index}" for index in range(count)]
    for index in (target, true):
        if index is not None and not -count <= int(index) < count:
            raise CAMError(f"a class must be an index below {count} or a name, got {index}")
    best = found.argsort(descending=True, stable=True)
    predicted = int(best[0])
    explained = predicted if target is None else int(target) % count
    value = "value" if task == "regression" else "p"

    def said(index: int) -> str:
        return f"{names[index]}, {value} = {found[index]:.2f}"

    texts = [said(explained)]
    if explained != predicted:
        texts.append(f"predicted: {said(predicted)}")
    if true is not None and int(true) != explained:
        texts.append(f"true class: {names[int(true)]}")
    right = None if true is None else predicted == int(true)
    first = tuple((names[index], float(found[index])) for index in best[:_CLASSES].tolist())
    return Caption("; ".join(texts), right), first
