"""Integrated Grad-CAM."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from captum_cams.bases.perturbed import PerturbedCAM
from captum_cams.cost import Cost, named
from captum_cams.engine.capture import Seen
from captum_cams.errors import check_at_least
from captum_cams.paper import Paper
from captum_cams.registry import register


@register
class IntegratedGradCAM(PerturbedCAM):
    """Shows the features that raise the class score while the image fades in from zeros.

    Sattarzadeh et al. 2021, eq. 4: map = (1/m) Σ_t ReLU(Σ_k ⟨G_k(x_t)⟩ (A_k(x_t) − A_k(0))) with x_t = (t/m) x, the
    average of Grad-CAM over m scaled images, in which each activation is measured against that of an image of zeros.

    Args:
        steps: m, at least 1.
        **options: see :class:`PerturbedCAM`; scaled images of several steps and samples share a run.

    Raises:
        CAMError: ``steps`` is not a positive integer; in a call, if no gradient of the score reaches the layer.

    Example::

        cam = cc.IntegratedGradCAM(model, "layer4", steps=10)
        maps = cam.attribute(images, labels)
    """

    title = "Integrated Grad-CAM"
    paper = Paper(
        "Sattarzadeh et al.",
        "Integrated Grad-CAM: Sensitivity-Aware Visual Explanation of Deep Convolutional Networks via Integrated "
        "Gradient-Based Scoring",
        "ICASSP",
        2021,
        "https://arxiv.org/abs/2102.07805",
    )
    cost = Cost(2 + named("steps"), gradients=1 + named("steps"))
    per_channel = False
    any_dimension = True
    differentiable = True

    def __init__(
        self,
        forward_func: Callable[..., Any],
        layer: nn.Module | str | None = None,
        device_ids: list[int] | None = None,
        *,
        steps: int = 20,
        **options: Any,
    ) -> None:
        super().__init__(forward_func, layer, device_ids, **options)
        check_at_least("steps", steps, 1)
        self.steps = steps

    def maps(self, seen: Seen) -> Tensor:
        images = seen.inputs[0]
        count = len(images)
        start = seen.again(torch.zeros_like(images), list(range(count))).activation
        total = torch.zeros_like(seen.activation[:, :1])
        for part in self.chunks(torch.arange(count * self.steps)):
            samples, share = part % count, (part // count + 1) / self.steps
            scale = share.reshape(-1, *[1] * (images.ndim - 1)).to(images)
            step = seen.again(images[samples] * scale, samples.tolist())
            weights = step.gradient.flatten(2).mean(2).reshape(*step.gradient.shape[:2], *[1] * (images.ndim - 2))
            maps = (weights * (step.activation - start[samples])).sum(1, keepdim=True).relu()
            total.index_add_(0, samples.to(total.device), maps)
        return total / self.steps
