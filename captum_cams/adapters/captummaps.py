"""Explain with an attribution of Captum."""

import inspect
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal

import torch
from captum.attr import Attribution, GradientShap, LayerAttribution, LayerGradientShap, LimeBase, NoiseTunnel
from captum.attr import ShapleyValueSampling as Sampling
from torch import Tensor

from captum_cams.adapters.adapter import Adapter, check_class_scores
from captum_cams.adapters.fingerprint import fingerprint
from captum_cams.adapters.foreign_code import foreign_code
from captum_cams.engine.call import Call
from captum_cams.engine.scores import Task
from captum_cams.errors import CAMError, brief, check_choice, near, shape_of

Reduction = Literal["sum_of_absolutes", "sum", "positive_sum", "largest_absolute"]
"""How the channels of an attribution a become one map.

- "sum_of_absolutes": Σ_c |a_c|.
- "sum": Σ_c a_c, with both signs.
- "positive_sum": ReLU(Σ_c a_c).
- "largest_absolute": max_c |a_c|, as Simonyan et al. 2014 (section 3.1) draw saliency.
"""
_RANDOM = (GradientShap, LayerGradientShap, LimeBase, NoiseTunnel, Sampling)
"""These draw random numbers, so each image is explained alone."""
_OF_US = ("inputs", "target", "additional_forward_args")


class CaptumMaps(Adapter):
    """Explains with an attribution of Captum, whose channels are reduced to one map.

    ``evaluate`` and the callback make it themselves from an object such as ``captum.attr.Saliency(model)``; make it
    yourself to pass options of its ``attribute`` or another reduction. The model is left as it was.

    Args:
        attribution: an object of ``captum.attr`` that explains images: of pixels, such as ``IntegratedGradients``,
            ``GradientShap``, ``Occlusion``, ``GuidedBackprop`` and ``LRP``, or of a layer with maps N×K×h×w, such as
            ``LayerGradCam``.
        options: further arguments of its ``attribute``, for example ``{"sliding_window_shapes": (3, 8, 8)}``.
        reduction: how the channels become one map, see :data:`Reduction`. None is "sum_of_absolutes" for pixels, and
            "sum" for a layer, whose shares add up to its map.
        seed: the seed of the random numbers of torch, NumPy and Python, the same for each image.
        task: as in :class:`CAMAttribution`. Captum reads the output of the model itself, so "binary" and functions are
            refused.

    Raises:
        CAMError: the attribution is of another kind, an option is unknown or missing; when it is called: the
            attribution has no channels and positions as the images have.

    Example::

        from captum.attr import Occlusion

        windows = {"sliding_window_shapes": (3, 16, 16), "strides": (3, 16, 16)}
        explainer = cc.CaptumMaps(Occlusion(model), options=windows, reduction="sum")
        maps = explainer.attribute(images, labels)  # 2×1×64×64
    """

    def __init__(
        self,
        attribution: Attribution,
        *,
        options: Mapping[str, Any] | None = None,
        reduction: Reduction | None = None,
        seed: int = 0,
        task: Task = "multiclass",
    ) -> None:
        self.options = dict(options or {})
        _check_attribution(attribution, self.options)
        super().__init__(model_of(attribution), seed=seed, task=task)
        if reduction is not None:
            check_choice("reduction", reduction, Reduction)
        self.attribution, self.reduction = attribution, reduction

    def foreign(self, call: Call, images: Tensor, classes: Tensor) -> Tensor:
        if len(images) == 1 or not isinstance(self.attribution, _RANDOM):
            return self._map(call, images, classes)
        maps = []
        for image, index in zip(images.split(1), classes.split(1), strict=True):
            with foreign_code([], self.seed):  # the numbers that are drawn must not depend on the rest of the batch
                maps.append(self._map(call, image, index))
        return torch.cat(maps)

    def _map(self, call: Call, images: Tensor, classes: Tensor) -> Tensor:
        name = type(self.attribution).__name__
        check_class_scores(call, classes, name)
        found = self.attribution.attribute(images, target=classes, **self.options)
        found = found[0] if isinstance(found, tuple) and len(found) == 1 else found
        if not isinstance(found, Tensor) or found.ndim != images.ndim:
            got = shape_of(found) if isinstance(found, Tensor) else type(found).__name__
            raise CAMError(
                f"{name} must give one value for each channel and position, got {got} for images "
                f"{shape_of(images)}; choose a layer with maps N×K×h×w, or write a function with FunctionMaps"
            )
        if isinstance(_innermost(self.attribution), LayerAttribution):
            _check_axes(name, found, call.inputs[0])
        else:
            found = call.form.standard(found)  # the attribution of pixels has the axes of the images that were passed
        return _reduced(found, self._reduction())

    def _reduction(self) -> Reduction:
        layered = isinstance(_innermost(self.attribution), LayerAttribution)
        return self.reduction or ("sum" if layered else "sum_of_absolutes")

    def _plain(self, value: Any) -> Any:
        """Describe an attribution by its class and the arguments of its constructor, and a large tensor by a hash."""
        if isinstance(value, Tensor) and value.numel() > 64:
            return f"{value.dtype} {shape_of(value)} {fingerprint(value)}"
        if not isinstance(value, Attribution):
            return super()._plain(value)
        names = [*inspect.signature(type(value)).parameters, "multiplies_by_inputs"]
        kept = {
            name: getattr(value, name)
            for name in names
            if name not in ("forward_func", "model", "device_ids") and hasattr(value, name)
        }
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        return {"class": kind} | {name: self._plain(one) for name, one in kept.items()}


def model_of(attribution: Attribution) -> Any:
    """The model that an attribution of Captum explains, also through ``NoiseTunnel``."""
    return _innermost(attribution).forward_func


def _innermost(attribution: Attribution) -> Attribution:
    while isinstance(inner := getattr(attribution, "attribution_method", None), Attribution):
        attribution = inner
    return attribution


def _check_attribution(attribution: Any, options: Mapping[str, Any]) -> None:
    if not isinstance(attribution, Attribution):
        raise CAMError(
            f"attribution must be an object of captum.attr, such as Saliency(model), got {brief(attribution)}"
        )
    name = type(attribution).__name__
    known = inspect.signature(attribution.attribute).parameters
    if (
        "inputs" not in known
        or not ({"target", "kwargs"} & {*known})
        or not hasattr(_innermost(attribution), "forward_func")
    ):
        raise CAMError(
            f"{name} explains no class of images (its attribute takes {', '.join(known)}); write a function "
            "(model, images, target) -> maps"
        )
    open_ended = any(one.kind is one.VAR_KEYWORD for one in known.values())
    for option in options:
        if option in _OF_US or (option not in known and not open_ended):
            free = [one for one in known if one not in _OF_US]
            raise CAMError(f'{name} has no option "{option}"{near(option, free) or "; it has " + ", ".join(free)}')
    if options.get("return_convergence_delta") or options.get("return_input_shape") is False:
        raise CAMError(
            f"{name} must return its attribution alone and in the shape of the images; leave out "
            "return_convergence_delta and return_input_shape"
        )
    missing = [
        one.name
        for one in known.values()
        if one.default is one.empty
        and one.name not in (*_OF_US, *options)
        and one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL)
    ]
    if missing:
        raise CAMError(
            f"{name} needs the option {' and '.join(missing)}, got none; pass "
            f'CaptumMaps({name}(model), options={{"{missing[0]}": …}})'
        )


def _check_axes(name: str, found: Tensor, images: Tensor) -> None:
    """Raise unless the axes behind the channels have the proportions of the image, as tokens and N×h×w×K have not."""
    ratios = [other / one for one, other in pairwise(images.shape[2:])]

    def gaps(sizes: Sequence[int]) -> list[float]:
        return [abs(other - one * ratio) for (one, other), ratio in zip(pairwise(sizes), ratios, strict=True)]

    behind, before = gaps(found.shape[2:]), gaps(found.shape[1:-1])
    rounded = all(gap <= 1 + ratio for gap, ratio in zip(behind, ratios, strict=True))  # each side may be off by one
    if not rounded or (sum(before) < sum(behind) and found.shape[1] > 1):
        raise CAMError(
            f"{name} must give maps N×K×h×w with the proportions of the images, got {shape_of(found)} for images "
            f"{shape_of(images)}; choose a layer with channels first, or use a method of captum_cams, which finds the "
            "layout"
        )


def _reduced(found: Tensor, reduction: Reduction) -> Tensor:
    if reduction == "largest_absolute":
        return found.abs().amax(1, keepdim=True)
    summed = (found.abs() if reduction == "sum_of_absolutes" else found).sum(1, keepdim=True)
    return summed.relu() if reduction == "positive_sum" else summed
