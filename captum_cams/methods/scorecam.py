"""Score-CAM."""

from collections.abc import Callable

from torch import Tensor

from captum_cams.bases.input_mask import InputMaskCAM
from captum_cams.cost import Cost, K
from captum_cams.paper import Paper
from captum_cams.registry import register


@register
class ScoreCAM(InputMaskCAM):
    """Weigh each channel by the score of the input seen through it.

    Wang et al. 2020, eq. 4 to 8: w_k = softmax_k(f_c(x ∘ norm(up(A_k))) − f_c(0)).
    """

    paper = Paper(
        "Wang et al.",
        "Score-CAM: Score-Weighted Visual Explanations for Convolutional Neural Networks",
        "CVPRW",
        2020,
        "https://arxiv.org/abs/1910.01279",
    )
    cost = Cost(1 + K)

    def score_masks(self, masks: Tensor, channels: Tensor, image: Tensor, run: Callable[[Tensor], Tensor]) -> Tensor:
        return run(image * masks)
