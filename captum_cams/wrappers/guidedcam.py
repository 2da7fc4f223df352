"""Guided CAMs."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from captum_cams.bases.attribution import CAMAttribution
from captum_cams.bases.wrapped import WrappedCAM
from captum_cams.cost import Cost
from captum_cams.engine.capture import as_tuple, runner
from captum_cams.engine.functions import composed
from captum_cams.engine.gradient import gradient_of
from captum_cams.engine.inputs import check_images
from captum_cams.engine.magnitude import product
from captum_cams.engine.scores import Task, scored, scores_of
from captum_cams.engine.targets import resolve_target
from captum_cams.engine.trace import running
from captum_cams.engine.untouched import untouched, unwrap
from captum_cams.errors import CAMError, brief
from captum_cams.images import upsample
from captum_cams.paper import Paper
from captum_cams.registry import register


@register
class GuidedCAM(WrappedCAM):
    """Multiply the upsampled map with guided backpropagation: pixels, signed.

    Selvaraju et al. 2017, section 3.2, with guided backpropagation (Springenberg et al., ICLR 2015 workshop), as
    Captum's ``GuidedBackprop``: map = up(M) ∘ Σ_c g_c over the image's channels; ``contributions`` keeps them apart,
    N×C×H×W. ReLU alone is guided; other activations, and pooling, keep their gradient.

    Args:
        base: see :class:`WrappedCAM`.
        **options: see :class:`WrappedCAM`.

    Raises:
        CAMError: the model calls ReLU as a function, where no hook reaches it, or is no module; or the score does not
            depend on the input.
    """

    paper = Paper(
        "Selvaraju et al.",
        "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization",
        "ICCV",
        2017,
        "https://arxiv.org/abs/1610.02391",
    )
    cost = Cost(2, bases=1, gradients=1)
    at_input_size = True
    rectifies = False

    def __init__(
        self,
        forward_func: Callable[..., Any],
        base: str | CAMAttribution = "gradcam",
        layer: nn.Module | str | None = None,
        device_ids: list[int] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(forward_func, base, layer, device_ids, **options)
        if not isinstance(unwrap(forward_func), nn.Module):
            raise CAMError(
                f"Guided CAM needs a torch.nn.Module, whose ReLUs it hooks, got {brief(forward_func)}; pass the module"
            )

    def contributions(
        self,
        inputs: Tensor | tuple[Tensor, ...],
        target: Any = None,
        additional_forward_args: Any = None,
        attribute_to_layer_input: bool = False,
    ) -> Tensor:
        model: Any = unwrap(self.forward_func)  # a module: the constructor has refused anything else
        with untouched(self.forward_func):
            tensors = as_tuple(inputs)
            check_images(model, tensors[0])
            modules = list(model.modules())
            if any(isinstance(module, torch.jit.ScriptModule) for module in modules):
                raise CAMError("Guided CAM needs eager modules, got one in a script, whose ReLUs no hook reaches")
            with running(modules) as stack, _NoFunctionalReLU(stack):
                output = runner(self.forward_func, tensors, additional_forward_args)()
            if not callable(target):
                target = resolve_target(target, scores_of(output, self.task))
            maps = self.base.attribute(tensors, target, additional_forward_args, attribute_to_layer_input)
            with running(modules, leave=_guide), torch.enable_grad():
                guided = _gradient(model, self.task, target, tensors, additional_forward_args)
        return product(upsample(maps, guided.shape[2:]), guided)


def _gradient(model: nn.Module, task: Task, target: Any, inputs: tuple[Tensor, ...], additional: Any) -> Tensor:
    leaf = inputs[0].requires_grad_()
    if callable(target):
        score = runner(composed(model, target), inputs, additional)().sum()
    else:
        output = runner(scored(model, task), inputs, additional)()
        score = torch.stack([row[index] for row, index in zip(output, target, strict=True)]).sum()
    return gradient_of(score, leaf, "the input")


def _guide(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
    """Let only what is positive go back through a ReLU."""
    if isinstance(module, nn.ReLU) and isinstance(output, Tensor) and output.requires_grad:
        output.register_hook(torch.relu)


class _NoFunctionalReLU(TorchFunctionMode):
    """Raises where ReLU is called outside of ``nn.ReLU``.

    Args:
        running: the modules that are running, innermost last.
    """

    def __init__(self, running: list[nn.Module]) -> None:
        super().__init__()
        self._running = running

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "").split(".")[0].strip("_") == "relu":
            inner = self._running[-1] if self._running else None
            if not isinstance(inner, nn.ReLU):
                place = f" in {type(inner).__name__}" if inner is not None else ""
                raise CAMError(
                    f"Guided CAM needs every ReLU to be a module, which a hook reaches, got a ReLU that is called as "
                    f"a function{place}; replace it by nn.ReLU, or explain with the map alone"
                )
        return func(*args, **(kwargs or {}))
