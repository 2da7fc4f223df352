"""Score-CAM."""

from collections.abc import Callable

from torch import Tensor

from captum_cams.bases.input_mask import InputMaskCAM
from captum_cams.cost import Cost, K
from captum_cams.paper import Paper
from captum_cams.registry import register


@register
class ScoreCAM(InputMaskCAM):
    """Shows the features that let the model see the class when they alone mask the image.

    Wang et al. 2020, eq. 4 to 8: w_k = softmax_k(f_c(x ∘ norm(up(A_k))) − f_c(0)), the score of the image masked by
    channel k. The term f_c(0) is the same for all channels and drops out of the softmax.

    Example::

        cam = cc.ScoreCAM(model, "layer4", score="probability")
        maps = cam.attribute(images, labels)
    """

    title = "Score-CAM"
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
