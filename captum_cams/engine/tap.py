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
    read: "Read | None" = None
    """The tokens among which it was computed, if a linear map read them as its queries, keys or values."""

    @property
    def windowed(self) -> bool:
        """Whether the tokens of its block are not the tokens among which it was computed, but those of windows."""
        queries, keys = self.weights.shape[-2:]
        if self.block is None or self.read is None or queries != keys:  # queries of its own pool the tokens
            return False
        return self.block.tokens.shape[:2] != (self.weights.shape[0], self.weights.shape[-1])


@dataclass(frozen=True, eq=False)
class Read:
    """The input of a linear map of tokens."""

    given: Tensor
    tokens: Tensor
    """The same values in the graph, R×…×K with one row of the first axis for each window of a sample."""
    source: Tensor | None
    """What the module that ended before returned, such as the first norm of a block."""


@dataclass(frozen=True, eq=False)
class Block:
    """The outermost module that ran with one attention alone and returned tokens."""

    module: nn.Module
    tokens: Tensor
    """A copy of its output N×T×K, in the graph; N×h×w×K if it was given such a map and cuts it into windows."""
    given: Tensor | None
    """Its input."""
    follows: bool
    """Whether its input was the output of the block before it; True for the first."""


@dataclass(eq=False)
class _Softmax:
    """A softmax over the last axis that may turn out to be attention."""

    attention: Attention
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
        self._ended: Tensor | None = None
        # The last one of each shape, R×T: between the tokens and the softmax, a table of biases may be read as well.
        self._reads: dict[tuple[int, int], Read] = {}
        # Each tensor with its softmax: the tensor is held, so that no other one gets its id.
        self._softmaxes: dict[int, tuple[Tensor, _Softmax]] = {}

    @property
    def changed(self) -> list[nn.Module | None]:
        """The modules with a softmax over T×T values that something else than the product with the values read."""
        softmaxes = {id(softmax): softmax for _, softmax in self._softmaxes.values() if not softmax.used}
        found = (softmax.attention for softmax in softmaxes.values())
        return [one.module for one in found if one.weights.shape[-1] == one.weights.shape[-2] > 1]

    def enter(self, module: nn.Module) -> None:
        """Take note of a module that begins, for :func:`running`."""
        self._entered.append(len(self.attention))

    def leave(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        """Take note of a module that ends: it is the block of the attention that alone ran inside it."""
        start = self._entered.pop()
        tokens = output[0] if isinstance(output, tuple | list) and output else output
        self._ended = tokens if isinstance(tokens, Tensor) else None
        if len(self.attention) != start + 1 or not isinstance(tokens, Tensor):
            return
        attention, before = self.attention[start], self.attention[start - 1] if start else None
        given = args[0] if args and isinstance(args[0], Tensor) else None
        if not (_among(attention, tokens) or _in_windows(attention, given, tokens)):
            return
        previous = None if before is None or before.block is None else before.block.tokens
        follows = before is None or (previous is not None and given is not None and torch.equal(given, previous))
        # A copy, because the next block may write to it.
        self.attention[start] = replace(attention, block=Block(module, tokens.clone(), given, follows))

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
        if func is functional.linear:
            return self._linear(*args, **kwargs)
        if func in _SOFTMAXES:
            return self._softmax(func(*args, **kwargs), args, kwargs)
        result = func(*args, **kwargs)
        if self._softmaxes:
            self._follow(func, args, kwargs, result)
        return result

    def _linear(self, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        if input.ndim < 3:
            return functional.linear(input, weight, bias)
        rows = (input.shape[0], input.shape[1:-1].numel())
        read = self._reads.get(rows)
        if read is None or read.given is not input:  # queries, keys and values may have a map each
            read = self._reads[rows] = Read(input, _in_graph(input), self._ended)
        return functional.linear(read.tokens, weight, bias)

    def _found(self, module: nn.Module | None, weights: Tensor) -> Attention:
        read = self._reads.get((weights.shape[0], weights.shape[-1])) if weights.ndim == 4 else None
        return Attention(module, weights, read=read)

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
        self.attention.append(self._found(self._module(), weights))
        return weights.to(value.dtype) @ (shared_heads(value, query) if enable_gqa else value)

    def _softmax(self, result: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        axis = kwargs["dim"] if "dim" in kwargs else args[1] if len(args) > 1 else None
        if result.ndim < 3 or axis not in (-1, result.ndim - 1):
            return result
        # The graph has to begin here, before it is known whether this is attention.
        result = _in_graph(result)
        self._softmaxes[id(result)] = (result, _Softmax(self._found(self._module(), result)))
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
                    self.attention.append(softmax.attention)
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


def _in_graph(values: Tensor) -> Tensor:
    """The same values with a gradient: the graph begins with them, unless they belong to one already."""
    torch.set_grad_enabled(True)
    return values if values.requires_grad else values.detach().requires_grad_()


def _among(attention: Attention, tokens: Tensor) -> bool:
    """Tell whether these are the tokens of the attention, one for each query."""
    return tokens.ndim == 3 and tokens.shape[1] == attention.weights.shape[-2]


def _in_windows(attention: Attention, given: Tensor | None, tokens: Tensor) -> bool:
    """Tell whether a module took and returned a map of all tokens of which the attention may have read windows."""
    if attention.read is None or given is None or given.shape != tokens.shape or tokens.ndim not in (3, 4):
        return False
    windows = attention.read.tokens
    return tokens.shape[-1] == windows.shape[-1] and (tokens.ndim == 4 or tokens.shape[0] != windows.shape[0])


@contextmanager
def tapped(modules: Modules) -> Iterator[Tap]:
    """Record the attention of these modules while the context is active.

    Gradients are switched on from the first attention or linear map of tokens on; the caller's own context switches
    them off again. Other threads that run the same modules are not recorded.

    Args:
        modules: as in :func:`running`.

    Yields:
        The tap; its list ``attention`` grows with each attention of the run.
    """
    tap = Tap()
    with running(modules, tap.enter, tap.leave) as tap.running, tap:
        yield tap
