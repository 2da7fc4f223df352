"""DeepLIFT between two values of one tensor, through modules and functions alike.

Two runs are compared operation by operation: one from the baseline, then one from the value, whose graph gets the
multipliers of :mod:`captum_cams.engine.multipliers` in the place of gradients. No operation is tied to a module, so
shared modules, functions and skip connections make no difference.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.overrides import TorchFunctionMode

from captum_cams.engine.multipliers import Operation, Pull, is_affine, pull
from captum_cams.engine.torch_internals import tree_flatten, tree_unflatten, version_of
from captum_cams.errors import CAMError

TOLERANCE = 1e-3
"""How far the contributions may be from the change of the score, relative to it."""


def contributions(run: Callable[[Tensor], Tensor], value: Tensor, baseline: Tensor) -> Tensor:
    """What each entry of ``value`` adds to the score against ``baseline``; together they are its change.

    Shrikumar et al., "Learning Important Features Through Propagating Activation Differences", ICML 2017, eq. 2 and
    the rescale rule of section 3.5.1.

    Args:
        run: a tensor like ``value`` to its score, one number.
        value: what is explained.
        baseline: what it is compared with.

    Raises:
        CAMError: the two runs call different operations, or the contributions do not add up to the change.
    """
    recording = _Recording()
    with torch.no_grad(), recording:
        before = run(baseline)
    value = value.detach().clone().requires_grad_()
    comparing = _Comparing(recording.calls)
    with torch.enable_grad(), comparing:
        after = run(value)
    multiplier = None
    if after.requires_grad:
        (multiplier,) = torch.autograd.grad(after, value, torch.ones_like(after), allow_unused=True)
    found = torch.zeros_like(value) if multiplier is None else multiplier * (value.detach() - baseline)
    _check_complete(found, after.detach(), before, recording.step)
    return found.detach()


def _check_complete(found: Tensor, after: Tensor, before: Tensor, step: float) -> None:
    change = float(after.sum() - before.sum())
    total, size = float(found.double().sum()), float(found.double().abs().sum())
    # Half precision may lose 32 steps in theory, a quarter of all; in networks it loses a hundredth of that.
    rounding = min(32 * step, 0.01) * (size + float(after.abs().sum() + before.abs().sum()))
    if not abs(total - change) <= TOLERANCE * abs(change) + rounding:  # NaN is not complete either
        raise CAMError(
            f"contributions must add up to what the layer changes in the score, expected {change:.5g}, got "
            f"{total:.5g}: behind the layer runs an operation without a rule for differences, or one that is hidden "
            "in a script or in a gradient of its own; choose a layer behind it, or Ablation-CAM, which needs no rule"
        )


class _Recording(TorchFunctionMode):
    """Keeps what each operation reads that is not affine."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[str, list[Tensor]]] = []
        self.step = 0.0
        """ε of the coarsest float type in the run."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        tensors = [leaf for leaf in tree_flatten((args, kwargs))[0] if isinstance(leaf, Tensor)]
        self.step = max([self.step, *(torch.finfo(one.dtype).eps for one in tensors if one.is_floating_point())])
        if tensors and not is_affine(func, args, kwargs):
            self.calls.append((func.__name__, [_kept(tensor) for tensor in tensors]))
        return func(*args, **kwargs)


class _Comparing(TorchFunctionMode):
    """Gives each operation that is not affine the backward pass of its rule."""

    def __init__(self, calls: list[tuple[str, list[Tensor]]]) -> None:
        super().__init__()
        self._calls: Iterator[tuple[str, list[Tensor]]] = iter(calls)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        leaves, form = tree_flatten((args, kwargs))
        places = [i for i, leaf in enumerate(leaves) if isinstance(leaf, Tensor)]
        if not places or is_affine(func, args, kwargs):
            return func(*args, **kwargs)
        given = [leaves[i] for i in places]
        before = self._recorded(func.__name__, given)
        if not torch.is_grad_enabled() or all(map(torch.equal, before, given)):
            return func(*args, **kwargs)

        def call(*tensors: Tensor) -> Any:
            filled = list(leaves)
            for place, tensor in zip(places, tensors, strict=True):
                filled[place] = tensor
            arguments, options = tree_unflatten(filled, form)
            return func(*arguments, **options)

        after = [_kept(tensor) for tensor in given]
        operation = Operation(func, args, kwargs, call, before, after, [_moves(tensor) for tensor in given])
        backward = pull(operation) if any(operation.moves) else None
        if backward is None:
            return func(*args, **kwargs)
        return _ruled(call, given, backward)

    def _recorded(self, name: str, given: list[Tensor]) -> list[Tensor]:
        known, before = next(self._calls, ("", []))
        if known != name or [one.shape for one in before] != [one.shape for one in given]:
            raise CAMError(
                f"the model must take the same steps with the layer's activations and with zeros in their place, got "
                f"{name} for the one and {known or 'nothing'} for the other; use Ablation-CAM, which compares scores"
            )
        return before


def _kept(tensor: Tensor) -> Tensor:
    # A later operation may write to it; nothing writes to a parameter.
    return tensor.detach() if isinstance(tensor, nn.Parameter) else tensor.detach().clone()


def _moves(tensor: Tensor) -> bool:
    return tensor.requires_grad and not isinstance(tensor, nn.Parameter)


def _ruled(call: Callable[..., Any], given: list[Tensor], backward: Pull) -> Any:
    """The operation's own result, whose gradient goes back by the rule."""
    fresh = [_kept(tensor) for tensor in given]
    versions = [version_of(tensor) for tensor in fresh]
    with torch.no_grad():
        result = call(*fresh)
    leaves, form = tree_flatten(result)
    floats = [i for i, leaf in enumerate(leaves) if isinstance(leaf, Tensor) and leaf.is_floating_point()]
    written = [
        tensor for tensor, copy, version in zip(given, fresh, versions, strict=True) if version_of(copy) != version
    ]
    sources = [tensor.clone() if written else tensor for tensor in given if _moves(tensor)]
    for i, output in zip(floats, _Ruled.apply(backward, [leaves[i] for i in floats], *sources), strict=True):
        leaves[i] = output
    if written:  # in place: whoever holds the tensor sees the new values
        return written[0].copy_(leaves[0])
    return tree_unflatten(leaves, form)


class _Ruled(torch.autograd.Function):
    """Outputs of an operation; ``backward`` takes their gradients to those of the tensors that move."""

    @staticmethod
    def forward(ctx: FunctionCtx, backward: Pull, outputs: list[Tensor], *sources: Tensor) -> tuple[Tensor, ...]:
        ctx.pull = backward  # type: ignore[attr-defined]
        return tuple(outputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        found: Sequence[Tensor | None] = ctx.pull(gradients)
        return None, None, *found
