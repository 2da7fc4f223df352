"""SGLRP."""

from torch import Tensor

from captum_cams.bases.output_relevance import OutputRelevance, check_classes
from captum_cams.cost import Cost
from captum_cams.errors import CAMError
from captum_cams.paper import Paper
from captum_cams.registry import register


@register
class SGLRP(OutputRelevance):
    """Carry the gradient of the softmax back: the target against each class by its probability.

    Iwana et al. 2019, eq. 6: R = p_c (1 − p_c) at c, −p_c p_j at j; the map is the sum of R over channels.
    """

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
            raise CAMError(f'SGLRP carries the gradient of a softmax and needs task="multiclass", got {self.task!r}')
        probabilities = output.softmax(1)
        target = probabilities[chosen][:, None]
        return target * (chosen.to(output.dtype) - probabilities)
