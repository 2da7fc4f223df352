"""Propagate relevance through a model, from its output or a layer to an earlier layer or the input."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from captum_cams.engine.call import Call
from captum_cams.engine.layers import Place, describe
from captum_cams.engine.layout import Layout
from captum_cams.engine.targets import wide
from captum_cams.engine.trace import replaced, running
from captum_cams.engine.untouched import modules_of
from captum_cams.errors import CAMError, check_choice, check_finite
from captum_cams.relevance.marks import Mark, mark, mark_of
from captum_cams.relevance.operations import Operations
from captum_cams.relevance.rules import EpsilonRule, ZBetaRule

BatchNorm = Literal["identity", "fold"]
Range = tuple[float | Sequence[float], float | Sequence[float]]


class Propagation:
    """Propagates relevance by z⁺, and by zβ through the layers that read the input.

    Attention follows AttnLRP (Achtibat et al., ICML 2024, https://arxiv.org/abs/2402.05602): half of the relevance of a
    product of two maps goes to each factor, the softmax of scores has a rule of its own (eq. 13), and LayerNorm,
    RMSNorm and unit length pass relevance unchanged. A softmax of anything else than such products is a gate.

    Constants are added without a share: position embeddings leave relevance unchanged. Only the scores of attention
    count with their position biases and masks, which absorb their share. The class token is a constant up to the first
    block, so that what the first layers send to it is lost.

    Sums, z⁺, norms, rearrangements and products of two maps (up to ε = 1e-6) conserve relevance; where an output has no
    positive contribution, it is lost. The softmax does not conserve it: its scores get Σ_i x_i (R_i − s_i Σ_j R_j).

    Args:
        batch_norm: "identity" passes relevance unchanged, as in Qiu et al.'s code; "fold" multiplies the scale of the
            BatchNorm into the weights of the layer before it.
        pixel_range: the bounds (l, h) of zβ in the values that the first layer reads: numbers, or one value per
            channel. None means the minimum and maximum of each sample, as in Qiu et al.'s code.

    Raises:
        CAMError: if ``batch_norm`` is another word, or the range is not (low, high) with low < high.

    Example::

        propagation = cc.Propagation("fold", pixel_range=(-2.2, 2.7))
    """

    def __init__(self, batch_norm: BatchNorm = "identity", pixel_range: Range | None = None) -> None:
        check_choice("batch_norm", batch_norm, BatchNorm)
        low, high = (None, None) if pixel_range is None else _bounds(pixel_range)
        self.batch_norm, self.pixel_range, self._pixels = batch_norm, pixel_range, ZBetaRule(low, high)

    @contextmanager
    def trail(
        self,
        model: Callable[..., Any],
        end: Place | Tensor,
        start: Place | None = None,
        inputs: Sequence[Tensor] = (),
    ) -> Iterator["Trail"]:
        """Record a run of the model inside the context, so that relevance can be propagated back through it.

        Args:
            model: the model.
            end: where relevance is propagated to: a layer, or the input of the run.
            start: the layer where relevance starts; None means the model's output. Later layers run without a graph.
            inputs: all inputs of the run. Values that are computed from them get their share in sums, even if this
                share does not reach the end. Other tensors are constants.

        Yields:
            The trail, whose method :meth:`Trail.back` propagates relevance after the run.

        Raises:
            CAMError: if there is no rule for an operation on the way, or the layer at the start or at the end is called
                twice.
        """
        operations = Operations(self.batch_norm == "fold", self._pixels, partial(describe, model))
        trail = Trail(model, end, start, operations)
        with ExitStack() as stack:
            stack.enter_context(torch.no_grad())  # on exit, this resets the gradient mode that the trail sets
            operations.where = stack.enter_context(running(modules_of(model)))
            for tensor in inputs:
                mark(tensor, Mark(pixels=not isinstance(end, Place)))
            if isinstance(end, Place):
                stack.enter_context(_watch(end, trail.plant))
            else:
                mark(end.requires_grad_(), Mark(pixels=True))
            if start is not None:
                stack.enter_context(_watch(start, trail.stop))
            stack.enter_context(operations)
            yield trail


class Trail:
    """The recorded operations between the start and the end of relevance in one run of a model."""

    def __init__(
        self, model: Callable[..., Any], end: Place | Tensor, start: Place | None, operations: Operations
    ) -> None:
        self._model, self._start, self._operations = model, start, operations
        self._end = end if isinstance(end, Place) else None
        self._leaf = None if isinstance(end, Place) else end
        self._top: Tensor | None = None

    def back(self, relevance: Tensor, output: Tensor | None = None, layout: Layout | None = None) -> Tensor:
        """Propagate relevance from the start of the trail to its end.

        Args:
            relevance: the relevance at the start, with the shape of the output, or of the map of the layer there.
            output: the model's output, if the trail starts there.
            layout: how the layer at the start became that map. Tokens that are not in the map, such as the class
                token, get no relevance.

        Returns:
            The relevance at the end, with the shape of the values of the layer or of the input there.

        Raises:
            CAMError: if the start is not computed from the end, autograd cannot go back through the run, or the
                relevance holds NaN or Inf.
        """
        top = self._top if self._start else output
        if top is None or self._leaf is None or mark_of(top) is None or not top.requires_grad:
            raise self._unconnected()
        if layout is not None:
            relevance = _from_map(relevance, top.detach(), layout)
        exponent = _exponent(relevance)
        result = wide(_backward(top, self._leaf, relevance.ldexp(-exponent).to(top.dtype)))
        result = result.ldexp(exponent.reshape(-1, *[1] * (result.ndim - 1)))
        check_finite("relevance", result)
        return result

    def plant(self, value: Tensor) -> Tensor:
        """Start the autograd graph at the layer where relevance ends."""
        self._once(self._leaf, self._end)
        if self._top is not None:
            raise self._unconnected()
        torch.set_grad_enabled(True)
        self._leaf = mark(value.detach().clone().requires_grad_(), Mark())
        return self._leaf.clone()

    def stop(self, value: Tensor) -> Tensor:
        """End the autograd graph at the layer where relevance starts."""
        self._once(self._top, self._start)
        torch.set_grad_enabled(False)
        self._top = value
        self._operations.ended = True
        return mark(value.detach().clone(), None)

    def _unconnected(self) -> CAMError:
        start = describe(self._model, self._start.layer) if self._start else "the output"
        end = describe(self._model, self._end.layer) if self._end else "the input"
        return CAMError(
            f"relevance must flow from {start} to {end}, but {start} is not computed from {end}; choose other layers, "
            "or does a part between them run under no_grad or in checkpoint(..., use_reentrant=True)?"
        )

    def _once(self, earlier: Tensor | None, place: Place | None) -> None:
        """Raise a CAMError if the place already had a value in this run."""
        if earlier is not None and place is not None:
            name = describe(self._model, place.layer)
            raise CAMError(
                f"relevance needs a layer that runs only once, got {name}, which runs again; choose another layer"
            )


def _from_map(relevance: Tensor, activation: Tensor, layout: Layout) -> Tensor:
    """Put the relevance of a map back to where the layout took the elements of the map from."""
    activation = wide(activation).requires_grad_()
    with torch.enable_grad():
        taken = layout.to_map(activation)
    return torch.autograd.grad(taken, activation, relevance.to(taken.dtype))[0]


def _exponent(relevance: Tensor) -> Tensor:
    """Return the power of two, for each sample, that scales relevance into the range of every float type."""
    rows = relevance.reshape(len(relevance), -1).abs()
    largest = rows.amax(1, keepdim=True).frexp().exponent
    whole = rows.ldexp(-largest).sum(1, keepdim=True).frexp().exponent
    # The sum is at most 2^14, a quarter of the largest number in float16.
    return (largest + whole - 14).reshape(-1, *[1] * (relevance.ndim - 1))


def epsilon_relevance(call: Call, run: Callable[[Tensor], Tensor], activation: Tensor, epsilon: float) -> Tensor:
    """Compute the relevance of an activation for its score under the ε-rule, with BatchNorm folded.

    Args:
        call: the user's call.
        run: takes the activation and returns the score, one number.
        activation: the activation of one sample.
        epsilon: as in :class:`EpsilonRule`.

    Returns:
        The relevance, with the shape of the activation.

    Raises:
        CAMError: if the score does not depend on the activation, autograd cannot go back through the run, ``epsilon``
            absorbs all relevance, or the relevance holds NaN or Inf.
    """
    operations = Operations(True, ZBetaRule(), partial(describe, call.network), EpsilonRule(epsilon))
    leaf = mark(activation.detach().clone().requires_grad_(), Mark())
    with running(call.modules) as operations.where, torch.enable_grad(), operations:
        score = run(leaf)
    if not score.requires_grad:
        raise CAMError("the score must depend on the layer, got a score that does not; choose another layer")
    relevance = wide(_backward(score, leaf, score.detach()))
    if not relevance.any() and 0 < float(score.detach().abs()) < epsilon:
        raise CAMError(
            f"epsilon must be much smaller than the values that it is added to, got {epsilon} and a score of "
            f"{float(score.detach()):.1g}, so that no relevance is left; pass a smaller epsilon"
        )
    check_finite("relevance", relevance)
    return relevance


def _backward(top: Tensor, leaf: Tensor, outer: Tensor) -> Tensor:
    """Run the backward passes of the rules from ``top`` to ``leaf``."""
    try:
        (relevance,) = torch.autograd.grad(top, leaf, outer)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise CAMError(
            f"relevance cannot be propagated back through this run ({str(error).splitlines()[0]}); "
            "switch off checkpointing, and do not change in place a tensor that a layer has read"
        ) from error
    return relevance


def _bounds(given: Range) -> tuple[Tensor, Tensor]:
    try:
        low, high = (torch.as_tensor(bound, dtype=torch.float64) for bound in given)
        fits = bool((low < high).all())
    except (TypeError, ValueError, RuntimeError):
        fits = False
    if not fits:
        raise CAMError(f"pixel_range must be (low, high) with low < high, got {given!r}")
    return low, high


def _watch(place: Place, see: Callable[[Tensor], Tensor]) -> AbstractContextManager[None]:
    """Replace the output (or first input) of the layer by ``see(value)``."""
    name = type(place.layer).__name__
    if place.at_input:
        return replaced(place.layer, True, lambda args: (see(_tensor(args[:1], name)), *args[1:]))
    return replaced(place.layer, False, lambda output: see(_tensor(output, name)))


def _tensor(output: Any, name: str) -> Tensor:
    if isinstance(output, tuple | list) and len(output) == 1:
        output = output[0]
    if not isinstance(output, Tensor):
        raise CAMError(f"relevance needs one tensor from {name}, got {type(output).__name__}; choose a layer inside it")
    return output
