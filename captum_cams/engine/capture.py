"""Run the model once and record the layer's activation, the gradient of the score and the output."""

from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from captum_cams.engine.arranged import arranged, arranged_back, settled
from captum_cams.engine.call import Call
from captum_cams.engine.dependence import check_dependence
from captum_cams.engine.gradient import curvature_along, gradient_of
from captum_cams.engine.head import Recorder
from captum_cams.engine.layers import Place, describe
from captum_cams.engine.replay import Tail
from captum_cams.engine.rerun import Rerun
from captum_cams.engine.resume import Pace, Resume
from captum_cams.engine.scores import notice_probabilities
from captum_cams.engine.self_attention import SelfAttention
from captum_cams.engine.tap import Tap, tapped
from captum_cams.engine.targets import Index, wide
from captum_cams.engine.trace import Classifier, replaced, the_tensor, watch
from captum_cams.errors import CAMError, check_finite

_Value = TypeVar("_Value")


@dataclass(frozen=True)
class Needs:
    """What a method needs from a run in addition to activation and output. Nothing else is computed."""

    gradient: bool = False
    classifier: bool = False
    resume: Pace | None = None
    """The pace of the runs of the model's tail; None if the method does not run it."""
    attention: bool = False
    curvature: bool = False
    """Whether the Hessian of the score times the activation is computed, which needs the gradient, too."""


@dataclass(frozen=True)
class Seen:
    """What one run of the model showed. Activations and gradients in half precision are converted to float32."""

    call: Call
    """The call that was run; its target is a list with one index per sample."""
    place: Place
    """The place whose activation was recorded."""
    activation: Tensor
    """N×K×h×w (N×K×t or N×K×d×h×w for 1D and 3D data), the output or input of the layer."""
    output: Tensor
    """The model's output, N×classes for a classifier."""
    score: Tensor
    """N, the score of each sample that is explained."""
    rerun: Rerun
    """Runs the whole model on changed inputs."""
    _gradient: Tensor | None
    _classifier: Classifier | None
    _resume: Resume | None
    _tapped: tuple[Tap, Tensor] | None = None
    """The tap of the run, and the score in the graph that begins with its attention."""
    _curvature: Tensor | None = None

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """The inputs of the call; the first tensor holds the images."""
        return self.call.inputs

    @property
    def target(self) -> list[Index]:
        """The index of the explained score in each sample's output."""
        return list(self.call.target)

    @property
    def gradient(self) -> Tensor:
        """The derivative of the score with respect to the activation, N×K×h×w.

        Raises:
            CAMError: if the method does not declare ``needs_gradient = True``.
        """
        return _declared(self._gradient, "gradient")

    @property
    def curvature(self) -> Tensor:
        """The Hessian of the score with respect to the map, times the map, N×K×h×w.

        Raises:
            CAMError: if the method does not declare ``needs_curvature = True``.
        """
        return _declared(self._curvature, "curvature")

    @property
    def classifier(self) -> Classifier | None:
        """The last convolution or linear layer of the run; None if there is none or ``needs_classifier`` is False."""
        return self._classifier

    @property
    def resume(self) -> Resume:
        """Runs the model's tail, the part after the layer.

        Raises:
            CAMError: if the method does not declare ``needs_resume = True``.
        """
        return _declared(self._resume, "resume")

    @property
    def attention(self) -> SelfAttention:
        """The attention of all blocks, over the tokens that make the map.

        Raises:
            CAMError: if the method does not declare ``needs_attention = True``, or as :meth:`SelfAttention.of`.
        """
        tap, score = _declared(self._tapped, "attention")
        return SelfAttention.of(tap, score, self.place.layout, self.activation, self.call.network)

    @property
    def tap(self) -> Tap:
        """What :attr:`attention` is made from: all attention of the run, also if it is over windows.

        Raises:
            CAMError: if the method does not declare ``needs_attention = True``.
        """
        return _declared(self._tapped, "attention")[0]

    def again(self, images: Tensor, samples: list[int]) -> "Seen":
        """Run the model on changed images and record activation and gradient.

        Args:
            images: R×C×H×W, used instead of the first input.
            samples: for each of the R images, the index of its sample.

        Returns:
            What that run showed, for R samples.

        Raises:
            CAMError: as in :func:`capture`.
        """
        return capture(self.call.rows(images, samples), self.place, Needs(gradient=True))


def _declared(value: _Value | None, name: str) -> _Value:
    if value is None:
        raise CAMError(f"seen.{name} must be declared by the method, got none; write needs_{name} = True in the class")
    return value


def capture(call: Call, place: Place, needs: Needs) -> Seen:
    """Run the model once and record what ``needs`` asks for.

    The part before the layer runs without an autograd graph, because only the gradient at the layer is needed. So
    the run costs little more than a plain forward pass. If the map must be differentiable, activation, gradient and the
    weight of the classifier keep their graph.

    Args:
        call: the user's call.
        place: the layer, which side of it, and its layout.
        needs: what to record.

    Returns:
        What the run showed.

    Raises:
        CAMError: if the layer is not reached, it does not give one tensor N×K×h×w, the target does not fit the
            output, the score does not depend on the layer, or there are NaN or Inf in activations, gradients or
            scores.
    """
    layer, at_input = place.layer, place.at_input
    recorder, name = Recorder(layer, at_input), describe(call.network, layer)
    raw: Tensor | None = None
    calls = 0

    def keep(given: Any) -> Any:
        nonlocal raw, calls
        calls += 1
        if needs.gradient:
            torch.set_grad_enabled(True)
        # A copy: if the layer returns its own input, the gradient would also include the skip connection around it.
        raw = _one_tensor(given, name, at_input).clone()
        if needs.gradient and not raw.requires_grad:
            raw.requires_grad_()
        return (raw.clone(),) if at_input else raw.clone()

    with ExitStack() as stack:
        stack.enter_context(call.autocast())
        # On exit, this resets the gradient mode that `keep` sets.
        stack.enter_context(torch.set_grad_enabled(call.differentiable))
        # Only this run is tapped: the proof of a layout runs the network once more.
        # Fused attention has no second derivative; the tap writes it out.
        tapping = tapped(call.modules) if needs.attention or needs.curvature else nullcontext()
        recording = recorder.recording(call.modules) if needs.resume else nullcontext()
        with tapping as tap, replaced(layer, at_input, keep), recording:
            output, _, classifier = watch(call.output, call.modules) if needs.classifier else (call.output(), [], None)
        if raw is None:
            raise _unreached(name, call)
        if calls > 1:
            check_dependence(call, place)
        place = settled(call, place, tuple(raw.shape))
        activation = arranged(call, place, raw, "activations")
        call = call.resolved(output)
        score = call.chosen(output)
        check_finite(f"scores of the model ({type(call.network).__name__})", score.detach())
        notice_probabilities(call.network, output, call.task)
        gradient = curvature = None
        if needs.gradient:
            at_layer = gradient_of(score, raw, f"layer {name}", call.differentiable or needs.curvature)
            if needs.curvature:
                # What belongs to no position, such as the class token, stays as it is.
                (along,) = torch.autograd.grad(activation, raw, activation.detach(), retain_graph=True)
                second = curvature_along(score, at_layer, raw, along, f"layer {name}")
                curvature = wide(arranged(call, place, second, "second derivatives"))
                at_layer = at_layer.detach()
            gradient = wide(arranged_back(call, place, at_layer, "gradients"))
        tapped_score = (tap, score) if needs.attention and tap is not None else None

    if not call.differentiable or raw.is_leaf:  # a leaf that `keep` made
        activation = activation.detach()
    output = output.detach()
    rerun, resume = Rerun(call), None
    if needs.resume:
        tail = Tail(rerun, recorder.head(), raw.detach(), place.layout)
        resume = Resume(tail, recorder.first_linear(), activation, output, needs.resume)
    activation, score = wide(activation), wide(score.detach())
    return Seen(call, place, activation, output, score, rerun, gradient, classifier, resume, tapped_score, curvature)


def _unreached(name: str, call: Call) -> CAMError:
    model = call.network
    names = {module: name for name, module in model.named_modules()} if isinstance(model, nn.Module) else {}
    calls = watch(call.output, call.modules)[1]
    called = [names[module_call.module] for module_call in calls if module_call.shape and names.get(module_call.module)]
    hint = (
        f"pass a layer that the forward pass calls in this thread; the last layers called are {', '.join(called[-5:])}"
        if called
        else "no module of the model was called, which happens in scripted, traced or exported networks; explain the "
        "eager network"
    )
    return CAMError(f"layer {name} was never reached in the run of the model; {hint}")


def _one_tensor(given: Any, name: str, at_input: bool) -> Tensor:
    tensor = the_tensor(given)
    if tensor is None or (at_input and len(given) > 1):
        entries = given if isinstance(given, tuple | list) else [given]
        kinds = ", ".join(type(value).__name__ for value in entries)
        raise CAMError(f"layer {name} must give one tensor N×K×h×w, got ({kinds}); choose a layer inside it")
    if not tensor.is_floating_point():
        raise CAMError(
            f"layer {name} must give floating-point numbers, got {tensor.dtype}; choose another layer, or explain "
            "the network before quantisation"
        )
    return tensor
