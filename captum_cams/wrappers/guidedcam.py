"""Guided CAMs."""

import warnings
from collections.abc import Callable
from typing import Any

from captum.attr import GuidedBackprop
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.overrides import TorchFunctionMode

from captum_cams.engine.capture import as_tuple, runner
from captum_cams.engine.layers import check_batched
from captum_cams.engine.magnitude import product
from captum_cams.engine.targets import composed, resolve_target
from captum_cams.engine.untouched import untouched, unwrap
from captum_cams.errors import CAMError
from captum_cams.heatmap import upsample
from captum_cams.registry import register
from captum_cams.wrapping import WrappedCAM


@register
class GuidedCAM(WrappedCAM):
    """Multiply the upsampled map with guided backpropagation: pixels, signed.

    Selvaraju et al., ICCV 2017, section 3.2, with Captum's ``GuidedBackprop`` (Springenberg et al., ICLR 2015
    workshop): map = up(M) ∘ Σ_c g_c over the image's channels; ``contributions`` keeps them apart, N×C×H×W. ReLU alone
    is guided; other activations, and pooling, keep their gradient.

    Args:
        base: see :class:`WrappedCAM`.
        **options: see :class:`WrappedCAM`.

    Raises:
        CAMError: the model calls ReLU as a function, where Captum's hooks do not reach it, or is no module.
    """

    cost = "base + 2 + gradient"
    rectifies = False

    def contributions(
        self,
        inputs: Tensor | tuple[Tensor, ...],
        target: Any = None,
        additional_forward_args: Any = None,
        attribute_to_layer_input: bool = False,
    ) -> Tensor:
        model = unwrap(self.forward_func)
        if not isinstance(model, nn.Module):
            kind = type(model).__name__
            raise CAMError(f"Guided CAM needs a torch.nn.Module, whose ReLUs it hooks, got {kind}; pass the module")
        with untouched(self.forward_func):
            tensors = as_tuple(inputs)
            check_batched(model, tensors[0])
            with _NoFunctionalReLU():
                output = runner(self.forward_func, tensors, additional_forward_args)()
            function = callable(target)
            if not function:
                target = resolve_target(target, output)
            maps = self.base.attribute(tensors, target, additional_forward_args, attribute_to_layer_input)
            guided = _guided(model, target, tensors, additional_forward_args)
        return product(upsample(maps, guided.shape[2:]), guided)


def _guided(model: nn.Module, target: Any, inputs: tuple[Tensor, ...], additional: Any) -> Tensor:
    if callable(target):
        model, target = _Scored(model, target), None
    for tensor in inputs:
        if tensor.is_floating_point():
            tensor.requires_grad_()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Setting backward hooks on ReLU")
        found = GuidedBackprop(model).attribute(inputs, target, additional)
    return found[0].detach()


class _Scored(nn.Module):
    """A model followed by a function of its output, whose modules Captum can hook."""

    def __init__(self, model: nn.Module, target: Callable[[Any], Tensor]) -> None:
        super().__init__()
        self.model, self.scores = model, composed(model, target)

    def forward(self, *args: Any) -> Tensor:
        return self.scores(*args)


class _NoFunctionalReLU(TorchFunctionMode):
    """Raises where ReLU is called outside of ``nn.ReLU``."""

    def __enter__(self) -> "_NoFunctionalReLU":
        self._inside: list[nn.Module] = []
        self._hooks = [
            register_module_forward_pre_hook(lambda module, args: self._inside.append(module)),
            register_module_forward_hook(lambda module, args, output: (self._inside.pop(), None)[1]),
        ]
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        for hook in self._hooks:
            hook.remove()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "").strip("_") == "relu":
            inner = self._inside[-1] if self._inside else None
            if not isinstance(inner, nn.ReLU):
                place = f" in {type(inner).__name__}" if inner is not None else ""
                raise CAMError(
                    f"Guided CAM needs every ReLU to be a module, which Captum can hook, got a ReLU that is called as "
                    f"a function{place}; replace it by nn.ReLU, or explain with the map alone"
                )
        return func(*args, **(kwargs or {}))
