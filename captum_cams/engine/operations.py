"""How relevance passes each operation of a network, whether a module or a function calls it."""

from collections.abc import Callable, Iterator
from enum import Enum
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from captum_cams.engine.rules import Carried, ZBetaRule, ZPlusRule
from captum_cams.errors import CAMError


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_LINEAR = _words("conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d linear")
_NORMS = _words("layer_norm group_norm instance_norm rms_norm")
_GATES = _words("sigmoid hardsigmoid softmax tanh relu6 hardtanh clamp")
_ACTIVATIONS = _GATES | _words(
    "silu hardswish gelu elu celu selu leaky_relu prelu rrelu softplus softsign mish logsigmoid hardshrink"
)
_POOLS = _words("mean sum") | {
    f"{kind}_pool{d}d" for kind in ("avg", "max", "adaptive_avg", "adaptive_max") for d in (1, 2, 3)
}
_LAYERS = _LINEAR | _NORMS | _POOLS | {"batch_norm"}
_PRODUCTS = _words("mul rmul imul multiply div idiv truediv itruediv divide")
# Operations whose own gradient carries relevance over activation as it should be.
_PLAIN = _words(
    """
    add radd iadd sub isub neg relu threshold maximum max pad interpolate upsample
    cat concat concatenate stack chunk split tensor_split unbind getitem narrow select index_select
    flatten unflatten view view_as reshape reshape_as ravel permute transpose t swapaxes swapdims movedim contiguous
    clone unsqueeze squeeze expand expand_as broadcast_to repeat roll flip unfold
    channel_shuffle native_channel_shuffle pixel_shuffle pixel_unshuffle
    dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout feature_dropout
    get set requires_grad to type type_as float double half bfloat16 cpu cuda
    """
)


class Path(Enum):
    """What a tensor of the run is to the relevance; other tensors are constants."""

    PIXELS = "made of the input, before any layer"
    MAP = "what relevance flows through"
    GATE = "a bounded activation, a constant where it multiplies a map"


def mark(tensor: Tensor, path: Path) -> Tensor:
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
    """

    def __init__(self, fold: bool, pixels: ZBetaRule, describe: Callable[[nn.Module], str]) -> None:
        super().__init__()
        self.fold, self.layer_rule, self.pixel_rule, self.describe = fold, ZPlusRule(), pixels, describe
        self.pixels: list[tuple[Tensor, Tensor]] = []
        """Tensors that layers read as the input, and the leaves of the graph in their place."""
        self.where: list[nn.Module] = []
        """The modules whose forward is running, innermost last."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "").strip("_")
        given = list(_tensors((*args, *kwargs.values())))[: 1 if name.endswith("_as") else None]
        paths = {path for tensor in given if (path := path_of(tensor))}
        if not paths:
            if name in _LAYERS:  # a function of the user's own may have lost the mark
                self._refuse_own_gradients(given[:1])
            return func(*args, **kwargs)
        pixels_only = paths == {Path.PIXELS}
        if name in _LINEAR:
            return self._linear(name, func, *args, **kwargs)
        if pixels_only:
            return self._mark(func(*args, **kwargs), Path.PIXELS)
        self._refuse_own_gradients(given)
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
            return _pool
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

    def _refuse_own_gradients(self, given: list[Tensor]) -> None:
        for tensor in given:
            made_by = tensor.grad_fn
            if isinstance(made_by, torch.autograd.function.BackwardCFunction) and not isinstance(
                made_by, Carried._backward_cls
            ):
                raise self._cannot(type(made_by).__name__.removesuffix("Backward"), "it has a gradient of its own")

    def _linear(
        self, name: str, func: Any, input: Tensor, weight: Tensor, bias: Any = None, *rest: Any, **options: Any
    ) -> Tensor:
        if path_of(weight):
            raise self._cannot(name, "its weight depends on the input")
        rule = self.layer_rule
        with torch.no_grad():
            output = func(input, weight, bias, *rest, **options)
        if path_of(input) is Path.PIXELS:
            rule, input = self.pixel_rule, self._leaf(input)
            torch.set_grad_enabled(True)  # ended by the no_grad around the run

        def linear(x: Tensor, w: Tensor) -> Tensor:
            return func(x, w, None, *rest, **options)

        result = mark(Carried.apply(rule.denominator(input, weight, linear), [output]), Path.MAP)
        if self.fold and "transpose" not in name:
            result._captum_cams_layer = (  # type: ignore[attr-defined]
                rule,
                input,
                weight,
                linear,
                result._version,
            )
        return result

    def _leaf(self, pixels: Tensor) -> Tensor:
        for known, leaf in self.pixels:
            if known is pixels:
                return leaf
        self.pixels.append((pixels, pixels.detach().clone().requires_grad_()))
        return self.pixels[-1][1]

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
        return Carried.apply(rule.denominator(input, scaled, linear), [output])

    def _product(self, func: Any, left: Any, right: Any, **options: Any) -> Any:
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
        output = func(input.clone(), *rest, **options)
    return Carried.apply(input, [output])


def _pool(func: Any, input: Tensor, *rest: Any, **options: Any) -> Any:
    """z⁺ with the positive weights of a pooling: negative values take no part."""
    if input.detach().min() >= 0:
        return func(input, *rest, **options)
    with torch.no_grad():
        output = func(input, *rest, **options)
    return Carried.apply(func(input.clamp(min=0), *rest, **options), [output])
