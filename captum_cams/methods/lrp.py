"""LRP."""

from torch import Tensor

from captum_cams.bases.output_relevance import OutputRelevance
from captum_cams.cost import Cost
from captum_cams.paper import Paper
from captum_cams.registry import register


@register
class LRP(OutputRelevance):
    """Shows which pixels speak for the class, and which against it.

    Bach et al. 2015, with the rules of Montavon et al. 2017: relevance starts at the output with R = y_c at c and 0
    elsewhere, and is carried back to the pixels, or to a layer if one is given; map = Σ_k R_k. The map is signed. It is
    as large as the image, N×1×H×W, or as the map of the given layer.

    Raises:
        CAMError: in a call, if an operation has no rule for relevance, or if the target is side 0 of a "binary" task.

    Example::

        cam = cc.LRP(model, batch_norm="fold")
        maps = cam.attribute(images, labels)  # 2×1×64×64, signed
    """

    title = "LRP"
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
