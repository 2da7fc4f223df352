"""Record the attention of one run: the weights that each query gives to the values, as tensors of the autograd graph.

While the tap is open, attention is computed in plain operations, so that its weights exist, whatever kernel the model
asks for. Nothing is patched: the tap is a mode of the calling thread, and it ends with its context.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from captum_cams.engine.attention import attention_weights, check_dropout, multi_head_attention, shared_heads
from captum_cams.engine.trace import Modules, running


@dataclass(frozen=True, eq=False)
class Attention:
    """One attention of a run."""

    module: nn.Module | None
    """The module that computed it; None for a function outside of all modules."""
    weights: Tensor
    """After the softmax, N×heads×T×S for T queries and S keys, with gradients from here to the score."""
    block: "Block | None" = None
    """The block of the transformer in which it ran, if there is one."""


@dataclass(frozen=True, eq=False)
class Block:
    """The outermost module that ran with one attention alone and returned tokens."""

    module: nn.Module
    tokens: Tensor
    """A copy of its output N×T×K, in the graph."""
    follows: bool
    """Whether its input was the output of the block before it; True for the first."""


@dataclass(eq=False)
class _Softmax:
    """A softmax over the last axis that may turn out to be attention."""

    module: nn.Module | None
    weights: Tensor
    used: bool = False


class Tap(TorchFunctionMode):
    """Writes attention out and records its weights; :func:`tapped` opens it.

    Attention that a model computes by hand is a softmax over the last axis whose result multiplies the values. Between
    the two, the result may be converted, copied and reshaped, if its last two axes stay, and pass an inactive dropout.
    """

    def __init__(self) -> None:
        super().__init__()
        self.attention: list[Attention] = []
        self.running: list[nn.Module] = []
        self._entered: list[int] = []
        # Each tensor with its softmax: the tensor is held, so that no other one gets its id.
        self._softmaxes: dict[int, tuple[Tensor, _Softmax]] = {}

    @property
    def changed(self) -> list[nn.Module | None]:
        """The modules with a softmax over T×T values that something else than the product with the values read."""
        softmaxes = {id(softmax): softmax for _, softmax in self._softmaxes.values() if not softmax.used}
        square = (one for one in softmaxes.values() if one.weights.shape[-1] == one.weights.shape[-2] > 1)
        return [softmax.module for softmax in square]

    def enter(self, module: nn.Module) -> None:
        """Take note of a module that begins, for :func:`running`."""
        self._entered.append(len(self.attention))

    def leave(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        """Take note of a module that ends: it is the block of the attention that alone ran inside it."""
        start = self._entered.pop()
        tokens = output[0] if isinstance(output, tuple | list) and output else output
        if len(self.attention) != start + 1 or not isinstance(tokens, Tensor) or tokens.ndim != 3:
            return
        attention, before = self.attention[start], self.attention[start - 1] if start else None
        if tokens.shape[1] != attention.weights.shape[-2]:
            return
        previous = None if before is None or before.block is None else before.block.tokens
        given = args[0] if args and isinstance(args[0], Tensor) else None
        follows = before is None or (previous is not None and given is not None and torch.equal(given, previous))
        # A copy, because the next block may write to it.
        self.attention[start] = replace(attention, block=Block(module, tokens.clone(), follows))

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is functional.scaled_dot_product_attention:
            return self._written_out(*args, **kwargs)
        if func is functional.multi_head_attention_forward:
            known = dict(self._softmaxes)
            with self:
                output = multi_head_attention(*args, **kwargs)
            self._softmaxes = known  # the weights that the module returns are computed once more, and not used
            return output
        if func in _SOFTMAXES:
            return self._softmax(func(*args, **kwargs), args, kwargs)
        result = func(*args, **kwargs)
        if self._softmaxes:
            self._follow(func, args, kwargs, result)
        return result

    def _written_out(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        check_dropout(dropout_p)
        weights = _in_graph(attention_weights(query, key, attn_mask, is_causal, scale, enable_gqa))
        self.attention.append(Attention(self._module(), weights))
        return weights.to(value.dtype) @ (shared_heads(value, query) if enable_gqa else value)

    def _softmax(self, result: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        axis = kwargs["dim"] if "dim" in kwargs else args[1] if len(args) > 1 else None
        if result.ndim < 3 or axis not in (-1, result.ndim - 1):
            return result
        # The graph has to begin here, before it is known whether this is attention.
        result = _in_graph(result)
        self._softmaxes[id(result)] = (result, _Softmax(self._module(), result))
        return result

    def _follow(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        equation = args[0] if func is torch.einsum else None
        operands = args if equation is None else args[1] if isinstance(args[1], list | tuple) else args[1:]
        for place, tensor in enumerate(operands[:2]):
            if id(tensor) not in self._softmaxes:
                continue
            softmax = self._softmaxes[id(tensor)][1]
            if _sums_keys(equation, place) if equation is not None else place == 0 and func in _PRODUCTS:
                if not softmax.used:
                    self.attention.append(Attention(softmax.module, softmax.weights))
                softmax.used = True
            elif place == 0 and _keeps(func, args, kwargs) and _same_axes(result, tensor):
                self._softmaxes[id(result)] = (result, softmax)

    def _module(self) -> nn.Module | None:
        # nn.Softmax and the like only wrap a function.
        inner = [module for module in self.running if not isinstance(module, nn.Softmax)]
        return inner[-1] if inner else None


_SOFTMAXES = {torch.softmax, Tensor.softmax, functional.softmax, torch.special.softmax}
_PRODUCTS = {torch.matmul, Tensor.matmul, Tensor.__matmul__, torch.bmm, Tensor.bmm}
_KEEPING = {
    *(Tensor.to, Tensor.type_as, Tensor.type, Tensor.float, Tensor.half, Tensor.bfloat16, Tensor.double),
    *(Tensor.contiguous, Tensor.clone, torch.clone),
    *(Tensor.view, Tensor.reshape, torch.reshape, Tensor.flatten, torch.flatten, Tensor.unflatten),
    *(Tensor.unsqueeze, torch.unsqueeze, Tensor.squeeze, torch.squeeze),
}
_DROPOUTS = {functional.dropout, functional.dropout2d, functional.dropout3d, torch.dropout}


def _keeps(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Tell whether a function keeps the values of its first argument, in the same order."""
    if func in _DROPOUTS:
        p, training = (*args[1:3], *(None, None))[:2]
        p, training = kwargs.get("p", 0.5 if p is None else p), kwargs.get("training", training)
        return p == 0 or training is False or (training is None and func is torch.dropout)
    return func in _KEEPING


def _same_axes(result: Any, tensor: Tensor) -> bool:
    return isinstance(result, Tensor) and result.ndim >= 3 and result.shape[-2:] == tensor.shape[-2:]


def _sums_keys(equation: Any, place: int) -> bool:
    """Tell whether einsum sums over the last axis of this operand and keeps the axis before it."""
    if not isinstance(equation, str) or "->" not in equation:
        return False
    operands, output = equation.replace(" ", "").split("->")
    letters = operands.split(",")[place]
    return len(letters) > 1 and letters[-1] not in output and letters[-2] in output


def _in_graph(weights: Tensor) -> Tensor:
    """The same weights with a gradient: the graph begins with them, unless they belong to one already."""
    torch.set_grad_enabled(True)
    return weights if weights.requires_grad else weights.detach().requires_grad_()


@contextmanager
def tapped(modules: Modules) -> Iterator[Tap]:
    """Record the attention of these modules while the context is active.

    Gradients are switched on from the first attention on; the caller's own context switches them off again. Other
    threads that run the same modules are not recorded.

    Args:
        modules: as in :func:`running`.

    Yields:
        The tap; its list ``attention`` grows with each attention of the run.
    """
    tap = Tap()
    with running(modules, tap.enter, tap.leave) as tap.running, tap:
        yield tap
