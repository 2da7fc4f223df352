"""How relevance passes each operation of a network, whether a module or a function calls it."""

from collections.abc import Callable, Iterator
from enum import Enum
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from captum_cams.engine.rules import Carried, EpsilonRule, Passed, ZBetaRule, ZPlusRule
from captum_cams.errors import CAMError


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_LINEAR = _words("conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d linear")
_NORMS = _words("layer_norm group_norm instance_norm rms_norm")
_GATES = _words("sigmoid hardsigmoid softmax tanh relu6 hardtanh clamp")
_ACTIVATIONS = _GATES | _words(
    "silu hardswish gelu elu celu selu leaky_relu prelu rrelu softplus softsign mish logsigmoid hardshrink"
)
_POOLS = _words("mean") | {
    f"{kind}_pool{d}d" for kind in ("avg", "max", "adaptive_avg", "adaptive_max") for d in (1, 2, 3)
}
_PRODUCTS = _words("mul rmul imul multiply div idiv truediv itruediv divide")
_REARRANGING = _words(
    """
    cat concat concatenate stack chunk split tensor_split unbind getitem narrow select index_select
    flatten unflatten view view_as reshape reshape_as ravel permute transpose t swapaxes swapdims movedim contiguous
    clone unsqueeze squeeze expand expand_as broadcast_to repeat roll flip unfold pad
    channel_shuffle native_channel_shuffle pixel_shuffle pixel_unshuffle
    get set requires_grad to type type_as float double half bfloat16 cpu cuda
    """
)
# Operations whose own gradient carries relevance over activation as it should be.
_PLAIN = _REARRANGING | _words(
    """
    add radd iadd sub isub rsub neg sum relu threshold maximum max interpolate upsample
    dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout feature_dropout
    """
)


_OURS = (Carried._backward_cls, Passed._backward_cls)


class Path(Enum):
    """What a tensor of the run is to the relevance; other tensors are constants."""

    PIXELS = "made of the input, before any layer"
    MAP = "what relevance flows through"
    GATE = "a bounded activation, a constant where it multiplies a map"


def mark(tensor: Tensor, path: Path | None) -> Tensor:
    tensor._captum_cams_path = path  # type: ignore[attr-defined]
    return tensor


def path_of(value: Any) -> Path | None:
    return getattr(value, "_captum_cams_path", None)


def _tensors(values: Any) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, tuple | list):
            yield from _tensors(value)


class Operations(TorchFunctionMode):
    """While it is entered, every torch function on a marked tensor gets the backward pass of its rule.

    Args:
        fold: multiply a BatchNorm's scale into the convolution before it; otherwise relevance passes as it is.
        pixels: the rule of a layer that reads the input.
        describe: names a module in messages.
        layers: the rule of the other layers; None is z⁺.
    """

    def __init__(
        self,
        fold: bool,
        pixels: ZBetaRule,
        describe: Callable[[nn.Module], str],
        layers: ZPlusRule | EpsilonRule | None = None,
    ) -> None:
        super().__init__()
        self.fold, self.layer_rule, self.pixel_rule, self.describe = fold, layers or ZPlusRule(), pixels, describe
        self.ended = False
        """Set behind the place where relevance starts: what follows is none of its business."""
        self.where: list[nn.Module] = []
        """The modules whose forward is running, innermost last."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = (
            getattr(func, "__name__", "").split(".")[0].strip("_")
        )  # without the overload, as exported networks call it
        given = list(_tensors((*args, *kwargs.values())))[: 1 if name.endswith("_as") else None]
        if self.ended or not given:  # setting the gradient mode, say
            return func(*args, **kwargs)
        paths = {path for tensor in given if (path := path_of(tensor))}
        self._refuse_hidden(given)
        if not paths:  # weights, say; without a graph of their own, whatever has one has lost its mark
            with torch.no_grad():
                return func(*args, **kwargs)
        pixels_only = paths == {Path.PIXELS}
        if name in _LINEAR:
            return self._linear(name, func, *args, **kwargs)
        if pixels_only:
            with torch.enable_grad():
                return self._mark(_rearranged(name, func, given[0], args, kwargs), Path.PIXELS)
        if Path.PIXELS in paths:
            raise self._cannot(name, "it joins the input and a map behind the first layer")
        rule = self._rule(name)
        result = rule(func, *args, **kwargs) if rule else func(*args, **kwargs)
        outcomes = [one for one in _tensors([result]) if one.requires_grad]
        if not rule and name not in _PLAIN and (outcomes or name == "setitem"):
            raise self._cannot(name, "there is no rule for it")
        stays = paths == {Path.GATE} and name in _PLAIN | _PRODUCTS | _ACTIVATIONS
        return self._mark(result, Path.GATE if stays or name in _GATES else Path.MAP)

    def _rule(self, name: str) -> Callable[..., Any] | None:
        if name == "batch_norm":
            return self._batch_norm
        if name in _ACTIVATIONS | _NORMS:
            return _identity
        if name in _POOLS:
            return self.layer_rule.pool
        return self._product if name in _PRODUCTS else None

    def _mark(self, result: Any, path: Path) -> Any:
        for tensor in _tensors([result]):
            if tensor.requires_grad or path is Path.PIXELS:
                mark(tensor, path)
        return result

    def _cannot(self, name: str, why: str) -> CAMError:
        place = f" in {self.describe(self.where[-1])}" if self.where else ""
        return CAMError(
            f"relevance cannot pass {name}{place}: {why}; choose the layer and to= on one side of it, "
            "or a method without relevance"
        )

    def _refuse_hidden(self, given: list[Tensor]) -> None:
        for tensor in given:
            made_by = tensor.grad_fn
            own = isinstance(made_by, torch.autograd.function.BackwardCFunction) and not isinstance(made_by, _OURS)
            if own or (made_by is not None and not path_of(tensor)):
                name = type(made_by).__name__.split("Backward")[0]
                raise self._cannot(name, "it has a gradient of its own, or runs in a script or on part of a tensor")

    def _linear(
        self, name: str, func: Any, input: Tensor, weight: Tensor, bias: Any = None, *rest: Any, **options: Any
    ) -> Tensor:
        if not isinstance(weight, Tensor):
            raise self._cannot(name, "its weights are packed; explain the network before it was quantised")
        if path_of(weight):
            raise self._cannot(name, "its weight depends on the input")
        rule = self.layer_rule
        with torch.no_grad():
            output = func(input, weight, bias, *rest, **options)
        if path_of(input) is Path.PIXELS:
            rule = self.pixel_rule
            torch.set_grad_enabled(True)  # ended by the no_grad around the run

        def linear(x: Tensor, w: Tensor) -> Tensor:
            return func(x, w, None, *rest, **options)

        result = mark(rule.carried(input, weight, linear, output), Path.MAP)
        if self.fold and "transpose" not in name:
            result._captum_cams_layer = (  # type: ignore[attr-defined]
                rule,
                input,
                weight,
                linear,
                result._version,
            )
        return result

    def _batch_norm(
        self, func: Any, input: Tensor, mean: Any, variance: Any, weight: Any = None, *rest: Any, **options: Any
    ) -> Tensor:
        if not self.fold or variance is None:
            return _identity(func, input, mean, variance, weight, *rest, **options)
        with torch.no_grad():
            output = func(input, mean, variance, weight, *rest, **options)
            eps = options.get("eps", rest[3] if len(rest) > 3 else 1e-5)
            scale = torch.rsqrt(variance + eps) * (1 if weight is None else weight)
        layer = getattr(input, "_captum_cams_layer", None)
        if layer and layer[-1] == input._version:
            rule, input, weight, linear, _ = layer
            scaled = weight.detach() * scale.reshape(-1, *[1] * (weight.ndim - 1))
        else:
            rule, scaled, linear = self.layer_rule, scale.reshape(-1, *[1] * (input.ndim - 2)), torch.mul
        return rule.carried(input, scaled, linear, output)

    def _product(self, func: Any, *args: Any, **options: Any) -> Any:
        left, right, *_ = *args, *(options.pop(key) for key in ("input", "other") if key in options)
        if not (path_of(left) and path_of(right)):
            if path_of(right) and "div" in func.__name__:
                raise self._cannot(func.__name__.strip("_"), "it divides by a map")
            return func(left, right, **options)
        gates = [path_of(one) is Path.GATE for one in (left, right)]
        if left.numel() != right.numel():
            gates = [left.numel() < right.numel(), right.numel() < left.numel()]
        if gates[0] == gates[1] or ("div" in func.__name__ and gates[0]):
            raise self._cannot(func.__name__.strip("_"), "both factors depend on the input and neither is a gate")
        return func(left.detach(), right, **options) if gates[0] else func(left, right.detach(), **options)


def _identity(func: Any, input: Tensor, *rest: Any, **options: Any) -> Tensor:
    """Relevance passes a change of single values as it is."""
    with torch.no_grad():
        copy = input.clone()
        output = func(copy, *rest, **options)
    if copy._version == 0:
        return Carried.apply(input, [output])
    # In place: whoever holds the tensor sees the new values.
    return input.copy_(Carried.apply(input.clone(), [output]))


def _rearranged(name: str, func: Any, pixels: Tensor, args: Any, kwargs: Any) -> Any:
    """Relevance follows pixels to another place or size, and passes a change of their values as it is."""
    if name in _REARRANGING:
        return func(*args, **kwargs)
    with torch.no_grad():
        output = func(*args, **kwargs)
    same = isinstance(output, Tensor) and output.shape == pixels.shape and output.is_floating_point()
    if output is pixels:
        return output  # in place, which leaves relevance where it was
    return Passed.apply(pixels, [output]) if same else func(*args, **kwargs)
