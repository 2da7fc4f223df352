"""One run of the model: activation of the layer, gradient of the target's score, output.

The only file that uses Captum's own way to call a model and to select a target.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from inspect import signature
from typing import Any, TypeVar

import torch
from captum._utils.common import (
    _format_additional_forward_args,
    _format_tensor_into_tuples,
    _run_forward,
    _select_targets,
)
from torch import Tensor, nn

from captum_cams.engine.functions import composed
from captum_cams.engine.gradient import gradient_of
from captum_cams.engine.head import Recorder
from captum_cams.engine.inputs import check_batch
from captum_cams.engine.layers import Place, describe
from captum_cams.engine.layout import Layout
from captum_cams.engine.replay import Behind
from captum_cams.engine.rerun import Rerun
from captum_cams.engine.resume import Resume
from captum_cams.engine.scores import Task, notice_probabilities, scored
from captum_cams.engine.targets import Index, check_output, resolve_target, wide
from captum_cams.engine.trace import Classifier, replaced, watch
from captum_cams.engine.untouched import modules_of, unwrap
from captum_cams.errors import CAMError, check_finite, shape_of

_Value = TypeVar("_Value")


@dataclass(frozen=True)
class Needs:
    """What a method reads of a run beyond activation and output; nothing else is computed.

    The task says how scores are read from the output; None takes it as it is.
    """

    gradient: bool = False
    classifier: bool = False
    resume: bool = False
    task: Task | None = None
    chunk: int = 2
    show_progress: bool = False


@dataclass(frozen=True)
class Seen:
    """What one run has shown. Half-precision activations and gradients are given in float32."""

    inputs: tuple[Tensor, ...]
    activation: Tensor
    """N×K×h×w (or N×K×t, N×K×d×h×w), the output or input of the layer."""
    output: Tensor
    """The model's output, N×classes for a classifier."""
    target: list[Index]
    """The explained entry of each sample's output."""
    score: Tensor
    """N, the explained entries themselves."""
    place: Place
    """Where the activation was seen."""
    rerun: Rerun
    """Runs of the whole model on changed inputs."""
    again: Callable[[Tensor, list[int]], "Seen"]
    """A look with a gradient at changed first inputs R×C×H×W, each with the index of its sample."""
    _gradient: Tensor | None
    _classifier: Classifier | None
    _resume: Resume | None

    @property
    def gradient(self) -> Tensor:
        """N×K×h×w, derivative of the score with respect to the activation (``Needs.gradient``)."""
        return _declared(self._gradient, "gradient")

    @property
    def classifier(self) -> Classifier | None:
        """The call of the last convolution or Linear (``Needs.classifier``)."""
        return self._classifier

    @property
    def resume(self) -> Resume:
        """Runs of the part behind the layer (``Needs.resume``)."""
        return _declared(self._resume, "resume")


def _declared(value: _Value | None, name: str) -> _Value:
    if value is None:
        raise CAMError(f"seen.{name} is there for methods that declare it; write needs_{name} = True in the class")
    return value


def as_tuple(inputs: Any) -> tuple[Tensor, ...]:
    """Inputs as Captum takes them, as fresh tensors: inference tensors cannot be part of a graph.

    Raises:
        CAMError: no tensor, an empty batch, or unequal batch sizes.
    """
    inputs = _format_tensor_into_tuples(inputs) if isinstance(inputs, Tensor | tuple) else (inputs,)
    check_batch(inputs)
    return tuple(tensor.detach().clone() for tensor in inputs)


def _copies(inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    # One for every run: a model may write to its inputs.
    return tuple(tensor.clone() for tensor in inputs)


def rows(
    inputs: tuple[Tensor, ...], additional: Any, images: Tensor, samples: list[int]
) -> tuple[tuple[Tensor, ...], tuple[Any, ...]]:
    """Inputs with ``images`` in the first place, and additional arguments, with a row for each of ``samples``."""

    def pick(value: Any) -> Any:
        belongs = isinstance(value, Tensor) and value.ndim and value.shape[0] == inputs[0].shape[0]
        return value[samples] if belongs else value

    extra = _format_additional_forward_args(additional) or ()
    return (images, *map(pick, inputs[1:])), tuple(map(pick, extra))


def one_by_one(inputs: tuple[Tensor, ...], targets: list[Any], additional: Any) -> Iterator[tuple[Any, Any, Any]]:
    """Inputs, target and additional arguments of each sample alone.

    Raises:
        CAMError: the number of targets is not the number of samples.
    """
    samples = inputs[0].shape[0]
    if len(targets) != samples:
        raise CAMError(f"target must be one per sample, expected {samples}, got {len(targets)}")
    for n, target in enumerate(targets):
        given, extra = rows(inputs, additional, inputs[0][n : n + 1], [n])
        yield given, target, extra or None


def runner(forward_func: Callable[..., Any], inputs: tuple[Tensor, ...], additional: Any) -> Callable[[], Any]:
    """A call of the eager network on copies of these inputs, additional arguments passed on as Captum does."""
    model = unwrap(forward_func)
    return lambda: _called(model, _copies(inputs), additional)


def _called(model: Callable[..., Any], inputs: tuple[Tensor, ...], additional: Any) -> Any:
    try:
        return _run_forward(model, inputs, None, additional)
    except TypeError as error:
        given = (*inputs, *(_format_additional_forward_args(additional) or ()))
        if len(given) > 1:
            raise  # too many of them, as labels: said where they were given
        try:
            signature(getattr(model, "forward", model)).bind(*given)
        except TypeError as unfit:
            raise CAMError(
                f"the model must take its inputs by position, got {unfit}; "
                "pass a function of the inputs, lambda image: model(image=image), and the layer as a module"
            ) from error
        except ValueError:  # a model without a signature
            pass
        raise


def capture(
    forward_func: Callable[..., Any],
    place: Place,
    inputs: tuple[Tensor, ...],
    target: Any,
    additional: Any,
    needs: Needs,
) -> Seen:
    """Run the model once and see what ``needs`` asks for.

    The part before the layer runs without a graph: the gradient is wanted at the layer alone, which makes the
    whole cost little more than a plain forward pass.

    Raises:
        CAMError: the layer is never reached or gives no N×K×h×w tensor, the target does not fit the output,
            NaN or Inf in activations or scores, or the score does not depend on the layer.
    """
    named = model = unwrap(forward_func)
    task = needs.task
    if callable(target):
        model, target, task = composed(model, target), None, None
    else:
        model = scored(model, task)
    samples, layer, at_input = len(inputs[0]), place.layer, place.at_input
    recorder, name = Recorder(layer, at_input), describe(named, layer)
    raw: Tensor | None = None

    def keep(given: Any) -> Any:
        nonlocal raw
        if needs.gradient:
            torch.set_grad_enabled(True)
        # A copy, because a layer that hands its input on would make the skip connection around it part of the gradient.
        raw = _one_tensor(given, name).clone()
        if needs.gradient and not raw.requires_grad:
            raw.requires_grad_()
        return (raw.clone(),) if at_input else raw.clone()

    def run() -> Any:
        return _called(model, _copies(inputs), additional)

    with ExitStack() as stack:
        stack.enter_context(torch.no_grad())  # ends the gradient mode that the layer begins
        stack.enter_context(replaced(layer, at_input, keep))
        if needs.resume:
            stack.enter_context(recorder.recording(modules_of(named)))
        output, _, classifier = watch(run, modules_of(named)) if needs.classifier else (run(), [], None)
        if raw is None:
            raise _unreached(name, named, run)
        activation = _as_map(raw, place.layout, name, inputs[0])
        index = resolve_target(target, check_output(output, samples))
        score = _select_targets(output, index) if output.ndim > 1 else output
        check_finite(f"scores of the model ({type(named).__name__})", score.detach())
        notice_probabilities(named, output, task)
        gradient = _gradient(score, raw, name, place.layout) if needs.gradient else None

    activation, output = activation.detach(), output.detach()
    rerun = Rerun(model, inputs, _format_additional_forward_args(additional) or (), index, task)

    def again(images: Tensor, which: list[int]) -> Seen:
        given, extra = rows(inputs, additional, images, which)
        asked = [index[sample] for sample in which] if output.ndim > 1 else None
        with rerun.autocast():
            return capture(model, place, given, asked, extra, Needs(gradient=True))

    resume = None
    if needs.resume:
        behind = Behind(rerun, recorder.head(), raw.detach(), place.layout)
        resume = Resume(behind, recorder.first_linear(), activation, output, index, needs.chunk, needs.show_progress)
    score = wide(score.detach())
    return Seen(inputs, wide(activation), output, index, score, place, rerun, again, gradient, classifier, resume)


def _unreached(name: str, model: Callable[..., Any], run: Callable[[], Any]) -> CAMError:
    names = {module: name for name, module in model.named_modules()} if isinstance(model, nn.Module) else {}
    calls = watch(run, modules_of(model))[1]
    called = [names[call.module] for call in calls if call.shape and names.get(call.module)]
    hint = (
        f"pass a layer that its forward calls in this thread; the last ones are {', '.join(called[-5:])}"
        if called
        else "none of its modules is called, as in a scripted, traced or exported network; explain the eager one"
    )
    return CAMError(f"layer {name} was never reached in the run of the model; {hint}")


def _one_tensor(given: Any, name: str) -> Tensor:
    given = (given,) if isinstance(given, Tensor) else given
    kinds = [type(one).__name__ for one in given] if isinstance(given, tuple | list) else [type(given).__name__]
    if not (isinstance(given, tuple | list) and len(given) == 1 and isinstance(given[0], Tensor)):
        raise CAMError(f"layer {name} must give one tensor N×K×h×w, got ({', '.join(kinds)}); choose a layer inside it")
    if not given[0].is_floating_point():
        raise CAMError(
            f"layer {name} must give floating-point numbers, got {given[0].dtype}; choose another layer, or explain "
            "the network before it was quantised"
        )
    return given[0]


def _as_map(raw: Tensor, layout: Layout | None, name: str, images: Tensor) -> Tensor:
    activation = raw if layout is None else layout.to_map(raw)
    if activation.ndim != images.ndim or activation.ndim < 3 or activation.shape[0] != images.shape[0]:
        form = "×".join("NK" + "dhw"[-(images.ndim - 2) :]) if images.ndim in (4, 5) else "N×K×t"
        raise CAMError(
            f"layer {name} must give {form} with N = {images.shape[0]} for inputs {shape_of(images)}, got "
            f'{shape_of(activation)}; choose a layer with a spatial map, or pass reshape= ("tokens" for ViT, '
            '"channels_last" for Swin, or a function)'
        )
    check_finite(f"activations of layer {name}", activation.detach())
    return activation


def _gradient(score: Tensor, raw: Tensor, name: str, layout: Layout | None) -> Tensor:
    gradient = gradient_of(score, raw, f"layer {name}")
    check_finite(f"gradients at layer {name}", gradient)
    on_map = gradient if layout is None else layout.to_map(gradient)
    if gradient.any() and not on_map.any():
        raise CAMError(
            f"the score must depend on the map of layer {name}, got a gradient only at what reshape= leaves out "
            "(the class token); choose a layer before the last attention, as the first norm of the last block"
        )
    return wide(on_map)
