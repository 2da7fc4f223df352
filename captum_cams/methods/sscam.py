"""SS-CAM."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from captum_cams.bases.input_mask import InputMaskCAM
from captum_cams.cost import Cost, K, named
from captum_cams.engine.generators import generator_of
from captum_cams.errors import check_at_least
from captum_cams.paper import Paper
from captum_cams.registry import register


@register
class SSCAM(InputMaskCAM):
    """Shows the features that let the model see the class even through noisy masks.

    Wang et al. 2020, eq. 4: the score of :class:`ScoreCAM` is averaged over noise on the mask, w_k = softmax_k(1/n Σ_i
    f_c(x ∘ (norm(up(A_k)) + ε_i))) with ε_i ~ N(0, σ²).

    Args:
        samples: n, at least 1; each channel costs n forward passes of the whole model.
        sigma: σ; the masks themselves lie in [0, 1].
        seed: seed of the noise, which is the same for every image and differs from channel to channel.
        **options: see :class:`InputMaskCAM`.

    Raises:
        CAMError: ``samples`` is not a positive integer.

    Example::

        cam = cc.SSCAM(model, "layer4", samples=5)
        maps = cam.attribute(images, labels)
    """

    title = "SS-CAM"
    paper = Paper(
        "Wang et al.",
        "SS-CAM: Smoothed Score-CAM for Sharper Visual Feature Localization",
        "arXiv",
        2020,
        "https://arxiv.org/abs/2006.14255",
    )
    cost = Cost(1 + K * named("samples"))
    shares_masks = False

    def __init__(
        self,
        forward_func: Callable[..., Any],
        layer: nn.Module | str | None = None,
        device_ids: list[int] | None = None,
        *,
        samples: int = 35,
        sigma: float = 2.0,
        seed: int = 0,
        **options: Any,
    ) -> None:
        super().__init__(forward_func, layer, device_ids, **options)
        check_at_least("samples", samples, 1)
        self.samples, self.sigma, self.seed = samples, sigma, seed

    def score_masks(self, masks: Tensor, channels: Tensor, image: Tensor, run: Callable[[Tensor], Tensor]) -> Tensor:
        scores = [run(image * (masks + self.noise(masks, channels, sample))) for sample in range(self.samples)]
        return torch.stack(scores).mean(0)

    def noise(self, masks: Tensor, channels: Tensor, sample: int) -> Tensor:
        """The noise R×1×H×W on the masks of these channels in one of the ``samples``, however they are chunked."""
        noise = []
        for channel in channels.tolist():
            noise.append(torch.randn(masks.shape[1:], generator=generator_of(self.seed, sample, channel)))
        return self.sigma * torch.stack(noise).to(masks)
