"""Make a run whose autograd graph is right when the user's loss goes back through it, after the run is over.

By then the model is in training mode again, its buffers change in each step, and no hook of the library is left.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

from captum_cams.engine.graph import reached
from captum_cams.engine.process_wide import ProcessWide
from captum_cams.engine.torch_internals import in_checkpoint, is_checkpoint, tree_flatten
from captum_cams.errors import CAMError

_PLAIN_ATTENTION = ProcessWide(lambda: sdpa_kernel(SDPBackend.MATH))
"""The fast kernels of attention have no second derivative."""


@contextmanager
def backward_later() -> Iterator[None]:
    """Record the graph of what runs in the context, and refuse what a later backward pass would compute otherwise.

    Raises:
        CAMError: in a run, if a part of the model is checkpointed.
    """
    with _PLAIN_ATTENTION, _NothingRecomputed(), torch.enable_grad():
        yield


class _NothingRecomputed(TorchFunctionMode):
    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if in_checkpoint():
            raise _recomputed()
        return func(*args, **kwargs or {})


def check_recording(modules: list[nn.Module] | None, given: Any) -> None:
    """Check before a run that there can be a graph.

    Args:
        modules: all modules of the model; None if they are not known.
        given: all that the model is given.

    Raises:
        CAMError: the caller records no gradients, or no parameter and no tensor requires one.
    """
    if not torch.is_grad_enabled():
        mode = "inference_mode" if torch.is_inference_mode_enabled() else "no_grad"
        raise CAMError(
            f"differentiable=True needs a place where torch records gradients, got a call inside {mode}; call it in "
            "the training step, or leave differentiable out where no loss reads the map, as in a validation step"
        )
    if modules is not None:
        parameters = chain.from_iterable(module.parameters(recurse=False) for module in modules)
        tensors = (leaf for leaf in tree_flatten(given)[0] if isinstance(leaf, Tensor))
        if not any(tensor.requires_grad for tensor in chain(parameters, tensors)):
            raise _no_source()


def check_graph(maps: Tensor) -> Tensor:
    """Return the maps, or raise a CAMError if a loss cannot go back through them."""
    if not maps.requires_grad:
        raise _no_source()
    if maps.grad_fn is not None and any(map(is_checkpoint, reached([maps.grad_fn]))):
        raise _recomputed()
    return maps


def _no_source() -> CAMError:
    return CAMError(
        "differentiable=True needs a parameter or an input on which the map depends and that requires a gradient, got "
        "none; set requires_grad, and do not detach values or use no_grad inside the model"
    )


def _recomputed() -> CAMError:
    return CAMError(
        "differentiable=True needs a model that keeps its activations, got gradient checkpointing, which would run "
        "parts of the model again in the backward pass, when they are in training mode; switch it off for this call"
    )
