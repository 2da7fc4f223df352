"""IS-CAM."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from captum_cams.bases.input_mask import InputMaskCAM
from captum_cams.cost import Cost, K, named
from captum_cams.errors import check_at_least
from captum_cams.paper import Paper
from captum_cams.registry import register


@register
class ISCAM(InputMaskCAM):
    """Shows the features that let the model see the class, through faint and strong masks alike.

    Naidu et al. 2020, eq. 5: the score of :class:`ScoreCAM` is averaged over masks of growing strength,
    w_k = softmax_k(1/n Σ_t f_c(x ∘ norm(up(A_k)) · t/n)), t = 1..n.

    Args:
        steps: n, at least 1; each channel that is not constant costs n forward passes of the whole model.
        cumulative: True adds the factors up (1/n, 3/n, 6/n, …), as TorchCAM does; most masks then exceed 1.
        **options: see :class:`InputMaskCAM`.

    Raises:
        CAMError: ``steps`` is not a positive integer.

    Example::

        cam = cc.ISCAM(model, "layer4", steps=4)
        maps = cam.attribute(images, labels)
    """

    title = "IS-CAM"
    paper = Paper(
        "Naidu et al.",
        "IS-CAM: Integrated Score-CAM for axiomatic-based explanations",
        "arXiv",
        2020,
        "https://arxiv.org/abs/2010.03023",
    )
    cost = Cost(1 + K * named("steps"))

    def __init__(
        self,
        forward_func: Callable[..., Any],
        layer: nn.Module | str | None = None,
        device_ids: list[int] | None = None,
        *,
        steps: int = 10,
        cumulative: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(forward_func, layer, device_ids, **options)
        check_at_least("steps", steps, 1)
        self.steps, self.cumulative = steps, cumulative

    def score_masks(self, masks: Tensor, channels: Tensor, image: Tensor, run: Callable[[Tensor], Tensor]) -> Tensor:
        factors = torch.arange(1, self.steps + 1) / self.steps
        factors = factors.cumsum(0) if self.cumulative else factors
        return torch.stack([run(image * masks * factor) for factor in factors.tolist()]).mean(0)
