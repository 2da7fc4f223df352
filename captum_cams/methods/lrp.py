"""LRP."""

from torch import Tensor

from captum_cams.bases.output_relevance import OutputRelevance
from captum_cams.cost import Cost
from captum_cams.paper import Paper
from captum_cams.registry import register


@register
class LRP(OutputRelevance):
    """Carry the target's score back to the pixels.

    Bach et al. 2015, with the rules of Montavon et al. 2017: R = y_c at c, 0 elsewhere; the map is the sum of R over
    channels.
    """

    paper = Paper(
        "Bach et al.",
        "On Pixel-Wise Explanations for Non-Linear Classifier Decisions by Layer-Wise Relevance Propagation",
        "PLoS ONE",
        2015,
        "https://doi.org/10.1371/journal.pone.0130140",
    )
    cost = Cost(gradients=1)

    def start(self, output: Tensor, chosen: Tensor) -> Tensor:
        return output * chosen
