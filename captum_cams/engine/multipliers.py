"""DeepLIFT's multipliers: the sum of multiplier times input change is the output change of an operation."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from scipy.special import roots_legendre
from torch import Tensor, nn

from captum_cams.engine.targets import wide
from captum_cams.engine.torch_internals import tree_flatten

Pull = Callable[[Sequence[Tensor]], Sequence[Tensor | None]]
"""Takes the gradients of an operation's floating-point outputs to those of its inputs that depend on the value."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Affine operations: the gradient is the multiplier. An operation that is missing here still gives the right result,
# only more slowly.
_AFFINE = _words(
    """
    add radd iadd sub isub rsub subtract neg sum mean cumsum clone contiguous to type type_as float double half bfloat16
    cat concat concatenate stack hstack vstack chunk split tensor_split unbind getitem setitem narrow select
    index_select gather flatten unflatten view view_as reshape reshape_as ravel permute transpose t swapaxes swapdims
    movedim unsqueeze squeeze expand expand_as broadcast_to repeat roll flip unfold fold pad
    channel_shuffle native_channel_shuffle pixel_shuffle pixel_unshuffle interpolate upsample
    avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d
    dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout
    get set size dim numel ndimension is_floating_point requires_grad len format repr hash detach
    """
)
# The names that affine operations have in exported graphs alone.
_OF_ATEN = _words("slice alias unsafe_view to_copy constant_pad_nd native_batch_norm_legit_no_training")
# Linear in each factor if the other factor is constant.
_PRODUCTS = _words(
    """
    mul rmul imul multiply matmul rmatmul mm bmm mv dot linear bilinear einsum addmm addbmm baddbmm
    conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d
    """
)
# Each entry of the output is one entry of the input or another, and a mask says which.
_SELECTIONS = _words("where masked_fill")
_QUOTIENTS = _words("div idiv truediv itruediv divide true_divide")
# Each entry of the output depends on one entry of the input.
_ELEMENTWISE = _words(
    """
    relu relu6 leaky_relu prelu elu celu selu gelu silu mish hardswish hardsigmoid hardtanh sigmoid tanh softplus
    softsign logsigmoid threshold hardshrink softshrink tanhshrink clamp clip clamp_min clamp_max abs exp expm1 log
    log1p log2 log10 sqrt rsqrt square pow ipow reciprocal sin cos atan erf sign where masked_fill rdiv rtruediv
    """
)
# Each entry of the first output is the largest of several entries of the input.
_MAXIMA = _words("max amax maximum") | {f"{kind}max_pool{d}d" for kind in ("", "adaptive_") for d in (1, 2, 3)}
_NORMS = _words("layer_norm group_norm rms_norm")


@dataclass(frozen=True)
class OperationPair:
    """One operation in two runs, from the baseline and from the value that is explained.

    Args:
        func: the torch function.
        args: its positional arguments.
        kwargs: its keyword arguments.
        run: calls the function with other tensors instead of the given tensors.
        before: its tensors in the run from the baseline.
        after: its tensors in the run from the value.
        moves: for each tensor, whether it depends on the value.
    """

    func: Any
    args: Any
    kwargs: Any
    run: Callable[..., Any]
    before: list[Tensor]
    after: list[Tensor]
    moves: list[bool]

    def outputs(self, tensors: list[Tensor]) -> list[Tensor]:
        """Return the floating-point outputs for copies of these tensors."""
        return _floats(self.run(*(tensor.clone() for tensor in tensors)))

    def gradient(self, tensors: list[Tensor], outer: Sequence[Tensor | None]) -> list[Tensor]:
        """Return the gradients at the tensors that move, from the gradients ``outer`` of the outputs."""
        leaves = [tensor.clone().requires_grad_(moves) for tensor, moves in zip(tensors, self.moves, strict=True)]
        with torch.enable_grad():
            outputs = _floats(self.run(*(leaf.clone() for leaf in leaves)))
        pairs = [(output, g) for output, g in zip(outputs, outer, strict=True) if g is not None and output.grad_fn]
        asked = [leaf for leaf, moves in zip(leaves, self.moves, strict=True) if moves]
        if not pairs:
            return [torch.zeros_like(leaf) for leaf in asked]
        gradients = torch.autograd.grad(
            [output for output, _ in pairs], asked, [g.to(output.dtype) for output, g in pairs], materialize_grads=True
        )
        return list(gradients)


def is_affine(func: Any, args: Any, kwargs: Any) -> bool:
    """Tell whether the operation's gradient is its multiplier for all inputs."""
    name = _name(func)
    if name == "batch_norm":
        return not (args[5] if len(args) > 5 else kwargs.get("training", False))
    if name in _PRODUCTS or name in _QUOTIENTS:
        factors = [leaf for leaf in tree_flatten((args, kwargs))[0] if isinstance(leaf, Tensor)]
        moving = sum(not isinstance(factor, nn.Parameter) for factor in factors)
        return moving == 1 and (name in _PRODUCTS or factors[0] is args[0])
    return name in _AFFINE


def is_affine_operation(name: str, moving: int, first_moves: bool) -> bool:
    """Tell whether an operation of an exported graph, in eval mode, is affine in the inputs that move.

    Args:
        name: its name in ATen.
        moving: how many of its inputs move.
        first_moves: whether its first input does.
    """
    name = name.strip("_")
    if name in _PRODUCTS or name in _QUOTIENTS:
        return moving == 1 and (name in _PRODUCTS or first_moves)
    return name in _AFFINE | _OF_ATEN


def pull(operation: OperationPair) -> Pull | None:
    """Choose the rule of an operation; None if the gradient is the multiplier."""
    name = _name(operation.func)
    pairs = zip(operation.before, operation.after, strict=True)
    changed = [not torch.equal(before, after) for before, after in pairs]
    if name in _PRODUCTS and sum(changed) == 1:
        return None
    if name in _QUOTIENTS and changed == [True, False]:
        return None
    if name in _SELECTIONS and all(a.is_floating_point() for a, c in zip(operation.after, changed, strict=True) if c):
        return None
    if name == "softmax":
        return _shared(operation)
    if name in _NORMS and operation.moves[0] and sum(operation.moves) == 1:
        return _normalised(name, operation)
    if name in _MAXIMA:
        return _largest(operation)
    if name in _ELEMENTWISE | _PRODUCTS | _QUOTIENTS and sum(operation.moves) == 1:
        return _rescaled(operation)
    return _averaged(operation, 1 if name in _PRODUCTS and sum(changed) == 2 else 16)


def _rescaled(operation: OperationPair) -> Pull:
    """The rescale rule: the multiplier of each entry is output change over input change."""
    moving = operation.moves.index(True)
    before, after = map(_widened, (operation.before, operation.after))
    (low, *_), (high, *_) = operation.outputs(before), operation.outputs(after)
    if low.shape != after[moving].shape or high.shape != low.shape:
        return _averaged(operation, 16)
    multiplier = _ratio(operation, before, after, high - low, moving)
    return lambda gradients: [gradients[0] * multiplier]


def _ratio(operation: OperationPair, before: list[Tensor], after: list[Tensor], change: Tensor, moving: int) -> Tensor:
    step = after[moving] - before[moving]
    # A change as small as the rounding errors gives no slope; use the gradient there.
    size = torch.maximum(after[moving].abs(), before[moving].abs())
    tiny = step.abs() <= 4 * torch.finfo(step.dtype).eps * size
    ratio = change / step.where(~tiny, 1)
    if not tiny.any():
        return ratio
    return ratio.where(~tiny, operation.gradient(after, [torch.ones_like(change)])[0])


def _shared(operation: OperationPair) -> Pull:
    """The rule of a softmax: its gradient, with the logarithmic mean L of both runs instead of the probability p.

    p − p′ = L (ln p − ln p′) defines L, and the probabilities of both runs have the same sum. So the change of p_i is
    exactly Σ_j L_i (δ_ij − L_j / Σ_k L_k) times the change of x_j: Ang, "The LMDI approach to decomposition analysis",
    Energy Policy 2005, with the weights of Sato and Vartia.
    """
    given, options = operation.args, operation.kwargs
    axis = given[1] if len(given) > 1 else options.get("dim", options.get("axis"))
    if axis is None:
        return _averaged(operation, 16)
    before, after = (wide(values).log_softmax(axis) for values in (operation.before[0], operation.after[0]))
    distance = (after - before).abs()
    mean = torch.maximum(after, before).exp() * (-distance).expm1().neg() / distance.where(distance != 0, 1)
    mean = mean.where(distance != 0, after.exp()).where(distance.isfinite(), 0)  # not finite: masked by −inf

    def back(gradients: Sequence[Tensor]) -> list[Tensor]:
        outer = gradients[0].to(mean.dtype)
        total = mean.sum(axis, keepdim=True)
        return [mean * (outer - (outer * mean).sum(axis, keepdim=True) / total.where(total != 0, 1))]

    return back


def _largest(operation: OperationPair) -> Pull:
    """If the maximum rises, its change belongs to the entry that is largest in the run from the value.

    Otherwise it belongs to the entry that is largest in the run from the baseline. This is Captum's rule for max
    pooling, also for windows that overlap.
    """
    before, after = map(_widened, (operation.before, operation.after))
    (low, *_), (high, *_) = operation.outputs(before), operation.outputs(after)
    steps = [b - a for a, b, moves in zip(before, after, operation.moves, strict=True) if moves]

    def back(gradients: Sequence[Tensor]) -> list[Tensor]:
        rest = [None] * (len(gradients) - 1)
        change = gradients[0] * (high - low)
        now = operation.gradient(after, [change.where(high > low, 0), *rest])
        once = operation.gradient(before, [change.where(high <= low, 0), *rest])
        slope = operation.gradient(after, [gradients[0].to(high.dtype), *rest])
        return [
            torch.where(step == 0, s, (a + b) / step.where(step != 0, 1))
            for a, b, s, step in zip(now, once, slope, steps, strict=True)
        ]

    return back


def _averaged(operation: OperationPair, count: int) -> Pull:
    """The multiplier is the mean gradient on the straight line between the inputs of the two runs.

    For a product, the gradient at the midpoint is exact. For an element-wise function this is the rescale rule.
    """
    pairs = list(zip(_widened(operation.before), _widened(operation.after), strict=True))

    def back(gradients: Sequence[Tensor]) -> list[Tensor]:
        total: list[Tensor] = []
        for node, weight in _nodes(count):
            between = [torch.lerp(a, b, node) if b.is_floating_point() else b for a, b in pairs]
            parts = [weight * gradient for gradient in operation.gradient(between, gradients)]
            total = [a + b for a, b in zip(total, parts, strict=True)] if total else parts
        return total

    return back


def _normalised(name: str, operation: OperationPair) -> Pull:
    """The rule of a normalisation, which multiplies centred values by a scale r.

    The change of the values is multiplied by the new scale, and the change of the scale by the old values. For a
    baseline of zeros, this treats the scale as a constant.
    """
    bound = inspect.signature(getattr(F, name)).bind(*operation.args, **operation.kwargs).arguments
    before, after = wide(operation.before[0]), wide(operation.after[0])
    weight, eps = bound.get("weight"), bound.get("eps", None if name == "rms_norm" else 1e-5)
    eps = torch.finfo(operation.after[0].dtype).eps if eps is None else eps
    if name == "group_norm":
        groups = (after.shape[0] * bound["num_groups"], -1)
        weight = None if weight is None else weight.reshape(1, -1, *[1] * (after.ndim - 2))
    else:
        groups = (-1, prod(bound["normalized_shape"]))

    def centred(values: Tensor) -> Tensor:
        values = values.reshape(groups)
        return values if name == "rms_norm" else values - values.mean(1, keepdim=True)

    old, new = centred(before), centred(after)
    var_old, var_new = (values.square().mean(1, keepdim=True) + eps for values in (old, new))
    scale_old, scale_new = var_old.rsqrt(), var_new.rsqrt()
    # (r' − r) / (v' − v) for r = v^−½, without subtracting nearly equal numbers.
    slope = -scale_old * scale_new / (var_old.sqrt() + var_new.sqrt())

    def back(gradients: Sequence[Tensor]) -> list[Tensor]:
        outer = gradients[0] if weight is None else gradients[0] * weight.detach()
        outer = outer.to(new.dtype).reshape(groups)
        of_scale = (outer * old).sum(1, keepdim=True)
        gradient = outer * scale_new + of_scale * slope * (new + old) / new.shape[1]
        return [centred(gradient).reshape(after.shape)]

    return back


@cache
def _nodes(count: int) -> list[tuple[float, float]]:
    """The nodes between 0 and 1 and the weights of Gauss-Legendre quadrature."""
    nodes, weights = roots_legendre(count)
    return list(zip(((nodes + 1) / 2).tolist(), (weights / 2).tolist(), strict=True))


def _widened(tensors: list[Tensor]) -> list[Tensor]:
    return [wide(tensor) if tensor.is_floating_point() else tensor for tensor in tensors]


def _floats(result: Any) -> list[Tensor]:
    return [leaf for leaf in tree_flatten(result)[0] if isinstance(leaf, Tensor) and leaf.is_floating_point()]


def _name(func: Any) -> str:
    return str(getattr(func, "__name__", "")).strip("_")
