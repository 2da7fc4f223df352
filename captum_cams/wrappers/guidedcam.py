"""Guided CAMs."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from captum_cams.bases.attribution import CAMAttribution
from captum_cams.bases.wrapped import WrappedCAM
from captum_cams.cost import Cost
from captum_cams.engine.call import Call
from captum_cams.engine.gradient import gradient_of
from captum_cams.engine.magnitude import product
from captum_cams.engine.trace import running
from captum_cams.engine.untouched import module_of
from captum_cams.errors import CAMError, brief
from captum_cams.images import upsample
from captum_cams.paper import Paper
from captum_cams.registry import register


@register
class GuidedCAM(WrappedCAM):
    """Shows the details of the image to which the class score reacts, inside the base's map.

    Selvaraju et al. 2017, section 3.2, with guided backpropagation (Springenberg et al., ICLR 2015 workshop), as in
    Captum's ``GuidedBackprop``: map = up(M) ∘ Σ_c g_c over the image's channels. The map is signed and as large as the
    image, N×1×H×W; ``contributions`` keeps the image's channels apart, N×C×H×W. Only ReLU is guided; other activation
    functions, and pooling, keep their gradient.

    Args:
        base: see :class:`WrappedCAM`.
        **options: see :class:`WrappedCAM`.

    Raises:
        CAMError: the model is not a module; in a call, if it is scripted, has no ReLU, or calls it as a function,
            where no hook reaches it, or if the score does not depend on the input.

    Example::

        features = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1))
        network = torch.nn.Sequential(features, torch.nn.Flatten(), torch.nn.Linear(8, 10))
        cam = cc.GuidedCAM(network.eval(), base="gradcam")
        maps = cam.attribute(images, labels)  # 2×1×64×64, signed
    """

    title = "Guided {base}"
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
        layer: nn.Module | str | None = None,
        device_ids: list[int] | None = None,
        *,
        base: str | CAMAttribution = "gradcam",
        **options: Any,
    ) -> None:
        super().__init__(forward_func, layer, device_ids, base=base, **options)
        if module_of(forward_func) is None:
            raise CAMError(
                f"Guided CAM needs a torch.nn.Module, whose ReLU modules it hooks, got {brief(forward_func)}; "
                "pass the module"
            )

    def explain(self, call: Call) -> Tensor:
        if any(isinstance(module, torch.jit.ScriptModule) for module in call.modules or ()):
            raise CAMError(
                "Guided CAM needs eager modules, got a scripted part, whose ReLUs no hook reaches; explain the network "
                "before it was scripted"
            )
        with running(call.modules) as stack, _NoFunctionalReLU(stack):
            call = call.resolved(call.output())
        if not any(isinstance(module, nn.ReLU) for module in call.modules or ()):
            raise CAMError(
                "Guided CAM needs a network with ReLUs, whose gradient it guides, got one without nn.ReLU; use the "
                "base alone, or captum.attr.Saliency for the plain gradient"
            )
        maps, leaves = self.base.map_of(call), call.copied()
        image = leaves.inputs[0].requires_grad_()
        with running(call.modules, leave=_guide), torch.enable_grad():
            guided = gradient_of(leaves.chosen(leaves.output()).sum(), image, "the input")
        return product(upsample(maps, guided.shape[2:]), guided)


def _guide(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
    """Let only positive gradients pass back through a ReLU."""
    if isinstance(module, nn.ReLU) and isinstance(output, Tensor) and output.requires_grad:
        output.register_hook(torch.relu)


class _NoFunctionalReLU(TorchFunctionMode):
    """Raises a CAMError if ReLU is called outside of ``nn.ReLU``.

    Args:
        running: the modules that are running, innermost last.
    """

    def __init__(self, running: list[nn.Module]) -> None:
        super().__init__()
        self._running = running

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        inner = self._running[-1] if self._running else None  # None in a target function, whose ReLU is not the model's
        is_relu = getattr(func, "__name__", "").split(".")[0].strip("_") == "relu"
        if is_relu and inner is not None and not isinstance(inner, nn.ReLU):
            raise CAMError(
                "Guided CAM needs every ReLU to be a module, which a hook can reach, got a ReLU that is called as a "
                f"function in {type(inner).__name__}; replace it by nn.ReLU, or use the base alone"
            )
        return func(*args, **(kwargs or {}))
