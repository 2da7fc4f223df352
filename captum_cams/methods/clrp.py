"""CLRP."""

from torch import Tensor

from captum_cams.bases.output_relevance import OutputRelevance, check_classes
from captum_cams.cost import Cost
from captum_cams.paper import Paper
from captum_cams.registry import register


@register
class CLRP(OutputRelevance):
    """Shows which pixels speak for the class rather than for all other classes.

    Gu et al. 2018, section 4 (CLRP1): relevance starts with the score of the class, and with the same amount, negative
    and spread evenly, at the other classes: R = y_c at c and −y_c/(classes − 1) elsewhere; map = Σ_k R_k. Size and sign
    of the map are those of :class:`LRP`.

    Raises:
        CAMError: in a call, if the output has fewer than two classes, ``task`` is "binary", or an operation has no rule
            for relevance.

    Example::

        cam = cc.CLRP(model)
        maps = cam.attribute(images, labels)  # 2×1×64×64, signed
    """

    title = "CLRP"
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
