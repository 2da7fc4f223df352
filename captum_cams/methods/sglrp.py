"""SGLRP."""

from torch import Tensor

from captum_cams.bases.output_relevance import OutputRelevance, check_classes
from captum_cams.cost import Cost
from captum_cams.errors import CAMError
from captum_cams.paper import Paper
from captum_cams.registry import register


@register
class SGLRP(OutputRelevance):
    """Shows which pixels speak for the class rather than for its likely rivals.

    Iwana et al. 2019, eq. 6: relevance starts with the gradient of the softmax, so that each other class counts by its
    probability: R = p_c (1 − p_c) at c and −p_c p_j at j; map = Σ_k R_k. As with :class:`LRP`, the map is signed, and
    its size is that of the image or of the given layer.

    Raises:
        CAMError: in a call, if ``task`` is not "multiclass", the output has fewer than two classes, or an operation has
            no rule for relevance.

    Example::

        cam = cc.SGLRP(model)
        maps = cam.attribute(images, labels)  # 2×1×64×64, signed
    """

    title = "SGLRP"
    paper = Paper(
        "Iwana et al.",
        "Explaining Convolutional Neural Networks using Softmax Gradient Layer-wise Relevance Propagation",
        "ICCVW",
        2019,
        "https://arxiv.org/abs/1908.04351",
    )
    cost = Cost(gradients=1)

    def start(self, output: Tensor, chosen: Tensor) -> Tensor:
        check_classes(output, "SGLRP", self.task)
        if self.task != "multiclass":
            raise CAMError(
                f'SGLRP starts from the gradient of a softmax and needs task="multiclass", got {self.task!r}; use LRP'
            )
        probabilities = output.softmax(1)
        target = probabilities[chosen][:, None]
        return target * (chosen.to(output.dtype) - probabilities)
