"""Smooth Grad-CAM++."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from captum_cams.bases.perturbed import PerturbedCAM
from captum_cams.bases.spatial import WeightedCAM
from captum_cams.cost import Cost, named
from captum_cams.engine.capture import Seen
from captum_cams.errors import CAMError, check_at_least
from captum_cams.paper import Paper
from captum_cams.registry import register


@register
class SmoothGradCAMPlusPlus(PerturbedCAM, WeightedCAM):
    """Shows all the places where features of the class lie, with less noise than Grad-CAM++.

    Omeiza et al. 2019, eq. 8 and 9: the gradients of :class:`GradCAMPlusPlus` are averaged over noisy images,
    w_k = Σ_ij α_k ReLU(Ḡ_k) with α_k = G²̄_k / (2 G²̄_k + G³̄_k Σ_ab A_k), and 0 if the denominator is 0. A bar is the
    mean over x + ε, ε ~ N(0, σ²); A is the activation of the image without noise.

    Args:
        samples: number of noisy copies of each image, at least 1; the noise of all of them is kept, samples×C×H×W.
        sigma: σ as a share of the range of values in each image, not negative.
        seed: seed of the noise, which all images share.
        **options: see :class:`PerturbedCAM`; several noisy images share a run.

    Raises:
        CAMError: ``samples`` is not a positive integer, or ``sigma`` is negative; in a call, if no gradient of the
            score reaches the layer.

    Example::

        cam = cc.SmoothGradCAMPlusPlus(model, "layer4", samples=5)
        maps = cam.attribute(images, labels)
    """

    title = "Smooth Grad-CAM++"
    paper = Paper(
        "Omeiza et al.",
        "Smooth Grad-CAM++: An Enhanced Inference Level Visualization Technique for Deep Convolutional Neural "
        "Network Models",
        "arXiv",
        2019,
        "https://arxiv.org/abs/1908.01224",
    )
    cost = Cost(1 + named("samples"), gradients=named("samples"))
    any_dimension = True
    differentiable = True

    def __init__(
        self,
        forward_func: Callable[..., Any],
        layer: nn.Module | str | None = None,
        device_ids: list[int] | None = None,
        *,
        samples: int = 25,
        sigma: float = 0.15,
        seed: int = 0,
        **options: Any,
    ) -> None:
        super().__init__(forward_func, layer, device_ids, **options)
        check_at_least("samples", samples, 1)
        if sigma < 0:
            raise CAMError(f"sigma must not be negative, got {sigma}; the default is 0.15")
        self.samples, self.sigma, self.seed = samples, sigma, seed

    def noise(self, images: Tensor) -> Tensor:
        """The noise ε of every image N×C×H×W before it is multiplied by the range of the image: samples×C×H×W."""
        generator = torch.Generator().manual_seed(self.seed)
        return self.sigma * torch.randn(self.samples, *images.shape[1:], generator=generator).to(images)

    def moments(self, seen: Seen) -> Tensor:
        """The means of G, G² and G³ over the noisy images: 3×N×K×h×w."""
        images, noise = seen.inputs[0], self.noise(seen.inputs[0])
        flat = images.flatten(1)
        spread = (flat.amax(1) - flat.amin(1)).reshape(-1, *[1] * (images.ndim - 1))
        # The cube of a gradient neither overflows nor underflows in double precision.
        moments = torch.zeros(3, *seen.activation.shape, dtype=torch.float64, device=images.device)
        for part in self.chunks(torch.arange(len(images) * self.samples)):
            sample, draw = part // self.samples, part % self.samples
            gradient = seen.again(images[sample] + spread[sample] * noise[draw], sample.tolist()).gradient.double()
            powers = torch.stack([gradient**power for power in (1, 2, 3)])
            moments.index_add_(1, sample.to(images.device), powers / self.samples)
        return moments

    def weights(self, seen: Seen) -> Tensor:
        mean, square, cube = self.moments(seen)
        denominator = 2 * square + cube * seen.activation.double().sum(tuple(range(2, cube.ndim)), keepdim=True)
        alpha = torch.where(denominator == 0, 0, square / denominator.where(denominator != 0, 1))
        return (alpha * mean.relu()).flatten(2).sum(2).to(seen.activation.dtype)
