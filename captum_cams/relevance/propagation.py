"""Carry relevance from the output or a deep layer to a shallower layer or to the input."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from captum_cams.engine.call import Call
from captum_cams.engine.layers import Place, describe
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
    """How relevance passes the layers: by z⁺, at the input by zβ.

    Args:
        batch_norm: "identity" passes relevance as it is (Qiu et al.'s code); "fold" multiplies the scale into the
            weights of the layer before it.
        pixel_range: l and h of zβ as the network's first layer sees them, numbers or one value per channel; None
            is each sample's own minimum and maximum (Qiu et al.'s code).

    Raises:
        CAMError: another ``batch_norm``, or a range that is not (low, high) with low < high.
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
        """Within it, a run of the model leaves a trail on which relevance goes back from ``start`` to ``end``.

        Args:
            model: for the names in messages.
            end: where relevance goes: a layer, or the input that the run starts with.
            start: where it comes from; the run goes on behind it without a graph. None is the model's output.
            inputs: all that the run starts with; what is computed from them takes part in additions, though no
                relevance reaches the end on its way. Other tensors are constants.
        """
        operations = Operations(self.batch_norm == "fold", self._pixels, partial(describe, model))
        trail = Trail(model, end, start, operations)
        with ExitStack() as stack:
            stack.enter_context(torch.no_grad())  # ends the gradient mode that the first mark begins
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
    """The graph between two places in one run of a model."""

    def __init__(
        self, model: Callable[..., Any], end: Place | Tensor, start: Place | None, operations: Operations
    ) -> None:
        self._model, self._start, self._operations = model, start, operations
        self._end = end if isinstance(end, Place) else None
        self._leaf = None if isinstance(end, Place) else end
        self._top: Tensor | None = None

    def back(self, relevance: Tensor, output: Tensor | None = None) -> Tensor:
        """The relevance at the end of the trail.

        Args:
            relevance: at the start of the trail, of the activation's shape.
            output: of the model, where the trail starts at the output.

        Raises:
            CAMError: the start is not computed from the end, the run cannot be followed back, or the relevance
                holds NaN or Inf.
        """
        top = self._top if self._start else output
        if top is None or self._leaf is None or mark_of(top) is None or not top.requires_grad:
            raise self._unconnected()
        exponent = _exponent(relevance)
        found = _followed(top, self._leaf, relevance.ldexp(-exponent).to(top.dtype))
        found = wide(found).ldexp(exponent.reshape(-1, *[1] * (found.ndim - 1)))
        check_finite("relevance", found)
        return found

    def plant(self, value: Tensor) -> Tensor:
        """Begin the graph at the layer where the trail ends."""
        self._once(self._leaf, self._end)
        if self._top is not None:
            raise self._unconnected()
        torch.set_grad_enabled(True)
        self._leaf = mark(value.detach().clone().requires_grad_(), Mark())
        return self._leaf.clone()

    def stop(self, value: Tensor) -> Tensor:
        """Keep the activation at the start of the trail and send the run on without its graph."""
        self._once(self._top, self._start)
        torch.set_grad_enabled(False)
        self._top = value
        self._operations.ended = True
        return mark(value.detach().clone(), None)

    def _unconnected(self) -> CAMError:
        start = describe(self._model, self._start.layer) if self._start else "the output"
        end = describe(self._model, self._end.layer) if self._end else "the input"
        return CAMError(
            f"relevance must flow from {start} to {end}, but the one is not computed from the other; "
            "or is a part between them run under no_grad, or in checkpoint(..., use_reentrant=True)?"
        )

    def _once(self, seen: Tensor | None, place: Place | None) -> None:
        if seen is not None and place is not None:
            name = describe(self._model, place.layer)
            raise CAMError(f"relevance needs a layer that is called once, got {name}, called again; choose another")


def _exponent(relevance: Tensor) -> Tensor:
    """The power of two for each sample by which relevance fits into any precision, which changes no digit."""
    rows = relevance.reshape(len(relevance), -1).abs()
    largest = rows.amax(1, keepdim=True).frexp().exponent
    whole = rows.ldexp(-largest).sum(1, keepdim=True).frexp().exponent
    # All of it together is at most 2^14, a quarter of what float16 can hold.
    return (largest + whole - 14).reshape(-1, *[1] * (relevance.ndim - 1))


def epsilon_relevance(call: Call, run: Callable[[Tensor], Tensor], activation: Tensor, epsilon: float) -> Tensor:
    """The relevance of an activation for its own score under the ε-rule, BatchNorm folded into the layer before it.

    Args:
        call: whose network is run.
        run: the activation to the score, one number.
        activation: of one sample.
        epsilon: see :class:`EpsilonRule`.

    Raises:
        CAMError: the score does not depend on the activation, the run cannot be followed back, or the relevance
            holds NaN or Inf.
    """
    operations = Operations(True, ZBetaRule(), partial(describe, call.network), EpsilonRule(epsilon))
    leaf = mark(activation.detach().clone().requires_grad_(), Mark())
    with running(call.modules) as operations.where, torch.enable_grad(), operations:
        score = run(leaf)
    if not score.requires_grad:
        raise CAMError("the score must depend on the layer, got one that does not; choose another layer")
    found = wide(_followed(score, leaf, score.detach()))
    if not found.any() and 0 < float(score.detach().abs()) < epsilon:
        raise CAMError(
            f"epsilon must be small against what it is added to, got {epsilon} and a score of "
            f"{float(score.detach()):.1g}, which leaves nothing of the relevance; pass a smaller epsilon"
        )
    check_finite("relevance", found)
    return found


def _followed(top: Tensor, leaf: Tensor, outer: Tensor) -> Tensor:
    try:
        (found,) = torch.autograd.grad(top, leaf, outer)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise CAMError(
            f"relevance cannot be followed back through this run ({str(error).splitlines()[0]}); "
            "switch off checkpointing, and operations that change a map which a layer has read"
        ) from error
    return found


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
    """``see(value)`` in the place of the layer's output (or first input)."""
    name = type(place.layer).__name__
    if place.at_input:
        return replaced(place.layer, True, lambda args: (see(_tensor(args[:1], name)), *args[1:]))
    return replaced(place.layer, False, lambda output: see(_tensor(output, name)))


def _tensor(output: Any, name: str) -> Tensor:
    if isinstance(output, tuple | list) and len(output) == 1:
        output = output[0]
    if not isinstance(output, Tensor):
        raise CAMError(f"relevance needs one tensor from {name}, got {type(output).__name__}; choose a layer inside")
    return output
