"""CLRP."""

from torch import Tensor

from captum_cams.bases.output_relevance import OutputRelevance, check_classes
from captum_cams.cost import Cost
from captum_cams.paper import Paper
from captum_cams.registry import register


@register
class CLRP(OutputRelevance):
    """Carry the target's score back against the same score, spread over all other classes.

    Gu et al. 2018, section 4 (CLRP1): R = y_c at c, −y_c/(classes − 1) elsewhere; the map is the sum of R over
    channels.
    """

    paper = Paper(
        "Gu et al.",
        "Understanding Individual Decisions of CNNs via Contrastive Backpropagation",
        "ACCV",
        2018,
        "https://arxiv.org/abs/1812.02100",
    )
    cost = Cost(gradients=1)

    def start(self, output: Tensor, chosen: Tensor) -> Tensor:
        check_classes(output, "CLRP", self.task)
        score = output[chosen][:, None]
        return score.where(chosen, -score / (output.shape[1] - 1))
