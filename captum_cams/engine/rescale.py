"""DeepLIFT between two values of one tensor, through modules and functions.

Two runs are compared operation by operation: the first from the baseline, the second from the value. The graph of the
second run uses the multipliers of :mod:`captum_cams.engine.multipliers` instead of gradients. The comparison does not
look at modules, so shared modules, functions and skip connections need no special case.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.overrides import TorchFunctionMode

from captum_cams.engine.attention import attention, multi_head_attention
from captum_cams.engine.multipliers import OperationPair, Pull, is_affine, pull
from captum_cams.engine.torch_internals import tree_flatten, tree_unflatten, version_of
from captum_cams.errors import CAMError

TOLERANCE = 1e-3
"""The largest allowed difference between the sum of the contributions and the change of the score, relative to it."""

_WRITTEN_OUT: dict[Any, Callable[..., Any]] = {
    F.scaled_dot_product_attention: attention,
    F.multi_head_attention_forward: multi_head_attention,
}
"""Functions whose operations both runs see one by one, so that fused and written attention have one map."""


def contributions(run: Callable[[Tensor], Tensor], value: Tensor, baseline: Tensor) -> Tensor:
    """Compute how much each entry of a tensor contributes to the change of the score from the baseline.

    Shrikumar et al., "Learning Important Features Through Propagating Activation Differences", ICML 2017, eq. 2 and
    the rescale rule of section 3.5.1.

    Args:
        run: takes a tensor of the shape of ``value`` and returns its score, one number.
        value: the tensor that is explained.
        baseline: the tensor that it is compared with.

    Returns:
        The contributions, with the shape of ``value``. Their sum is the change of the score.

    Raises:
        CAMError: if the two runs call different operations, or the contributions do not add up to the change.
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
    result = torch.zeros_like(value) if multiplier is None else multiplier * (value.detach() - baseline)
    _check_complete(result, after.detach(), before, recording.step)
    return result.detach()


def _check_complete(result: Tensor, after: Tensor, before: Tensor, step: float) -> None:
    change = float(after.sum() - before.sum())
    total, size = float(result.double().sum()), float(result.double().abs().sum())
    # In theory, half precision may lose 32 rounding steps, a quarter of the sum; in networks it loses far less.
    rounding = min(32 * step, 0.01) * (size + float(after.abs().sum() + before.abs().sum()))
    rounding += torch.finfo(result.dtype).tiny  # numbers below it have hardly any digits
    if not abs(total - change) <= TOLERANCE * abs(change) + rounding:  # NaN is not complete either
        raise CAMError(
            f"contributions must add up to the change of the score, expected {change:.5g}, got {total:.5g}: "
            "after the layer runs an operation without a rule for differences, or one that is hidden in a script or "
            "defines its own gradient; choose a layer after this operation, or Ablation-CAM, which needs no rule"
        )


class _Recording(TorchFunctionMode):
    """Records the tensors that each operation reads, unless it is affine."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[str, list[Tensor]]] = []
        self.step = 0.0
        """The machine epsilon of the least precise float type in the run."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in _WRITTEN_OUT:
            with self:
                return _WRITTEN_OUT[func](*args, **kwargs)
        tensors = [leaf for leaf in tree_flatten((args, kwargs))[0] if isinstance(leaf, Tensor)]
        self.step = max(
            [self.step, *(torch.finfo(tensor.dtype).eps for tensor in tensors if tensor.is_floating_point())]
        )
        if tensors and not is_affine(func, args, kwargs):
            self.calls.append((func.__name__, [_kept(tensor) for tensor in tensors]))
        return func(*args, **kwargs)


class _Comparing(TorchFunctionMode):
    """Gives each operation the backward pass of its rule, unless it is affine."""

    def __init__(self, calls: list[tuple[str, list[Tensor]]]) -> None:
        super().__init__()
        self._calls: Iterator[tuple[str, list[Tensor]]] = iter(calls)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in _WRITTEN_OUT:
            with self:
                return _WRITTEN_OUT[func](*args, **kwargs)
        leaves, form = tree_flatten((args, kwargs))
        positions = [i for i, leaf in enumerate(leaves) if isinstance(leaf, Tensor)]
        if not positions or is_affine(func, args, kwargs):
            return func(*args, **kwargs)
        given = [leaves[i] for i in positions]
        before = self._recorded(func.__name__, given)
        if not torch.is_grad_enabled() or all(map(torch.equal, before, given)):
            return func(*args, **kwargs)

        def run(*tensors: Tensor) -> Any:
            filled = list(leaves)
            for i, tensor in zip(positions, tensors, strict=True):
                filled[i] = tensor
            arguments, options = tree_unflatten(filled, form)
            return func(*arguments, **options)

        after = [_kept(tensor) for tensor in given]
        operation = OperationPair(func, args, kwargs, run, before, after, [_moves(tensor) for tensor in given])
        backward = pull(operation) if any(operation.moves) else None
        if backward is None:
            return func(*args, **kwargs)
        return _ruled(run, given, backward)

    def _recorded(self, name: str, given: list[Tensor]) -> list[Tensor]:
        known, before = next(self._calls, ("", []))
        if known != name or [tensor.shape for tensor in before] != [tensor.shape for tensor in given]:
            raise CAMError(
                f"the model must call the same operations for the layer's activations and for zeros, got {name} for "
                f"the activations and {known or 'nothing'} for zeros; use Ablation-CAM, which compares scores"
            )
        return before


def _kept(tensor: Tensor) -> Tensor:
    # A copy, because a later operation may write to the tensor. Nothing writes to a parameter.
    return tensor.detach() if isinstance(tensor, nn.Parameter) else tensor.detach().clone()


def _moves(tensor: Tensor) -> bool:
    return tensor.requires_grad and not isinstance(tensor, nn.Parameter)


def _ruled(run: Callable[..., Any], given: list[Tensor], backward: Pull) -> Any:
    """Run the operation and give its result the backward pass of the rule."""
    fresh = [_kept(tensor) for tensor in given]
    versions = [version_of(tensor) for tensor in fresh]
    with torch.no_grad():
        result = run(*fresh)
    leaves, form = tree_flatten(result)
    floats = [i for i, leaf in enumerate(leaves) if isinstance(leaf, Tensor) and leaf.is_floating_point()]
    written = [
        tensor for tensor, copy, version in zip(given, fresh, versions, strict=True) if version_of(copy) != version
    ]
    sources = [tensor.clone() if written else tensor for tensor in given if _moves(tensor)]
    for i, output in zip(floats, _Ruled.apply(backward, [leaves[i] for i in floats], *sources), strict=True):
        leaves[i] = output
    if written:  # in place: every reference to the tensor must see the new values
        return written[0].copy_(leaves[0])
    return tree_unflatten(leaves, form)


class _Ruled(torch.autograd.Function):
    """The outputs of an operation, whose backward pass is the given rule."""

    @staticmethod
    def forward(ctx: FunctionCtx, backward: Pull, outputs: list[Tensor], *sources: Tensor) -> tuple[Tensor, ...]:
        ctx.pull = backward  # type: ignore[attr-defined]
        return tuple(outputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        pulled: Sequence[Tensor | None] = ctx.pull(gradients)
        return None, None, *pulled
