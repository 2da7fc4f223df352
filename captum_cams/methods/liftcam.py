"""LIFT-CAM."""

import torch
from torch import Tensor

from captum_cams.bases.spatial import WeightedCAM
from captum_cams.cost import Cost
from captum_cams.engine.capture import Seen
from captum_cams.engine.rescale import contributions
from captum_cams.paper import Paper
from captum_cams.registry import register


@register
class LIFTCAM(WeightedCAM):
    """Weigh each channel by its DeepLIFT contribution to the score, an approximation of its Shapley value.

    Jung and Oh 2021, eq. 8 to 10: w_k is the contribution of A_k, summed over positions, to the part of the network
    behind the layer, against zero activations. Σ_k w_k is the score less the score of zero activations. Functions of
    single values and max pooling have the rules of Captum's ``DeepLift``, which the authors use; a product is shared
    equally by its factors, a normalisation's scale takes no part, and other operations have their mean gradient between
    the two runs.

    Raises:
        CAMError: in use, if the contributions do not add up to the change of the score.
    """

    paper = Paper(
        "Jung and Oh",
        "Towards Better Explanations of Class Activation Mapping",
        "ICCV",
        2021,
        "https://arxiv.org/abs/2102.05228",
    )
    cost = Cost(behind=4, gradients=1)
    needs_resume = True
    any_dimension = True

    def weights(self, seen: Seen) -> Tensor:
        return torch.stack([self._contributions(seen, sample) for sample in range(len(seen.activation))])

    def _contributions(self, seen: Seen, sample: int) -> Tensor:
        behind, activation = seen.resume.behind(sample), seen.activation[sample : sample + 1]

        def score(values: Tensor) -> Tensor:
            return seen.call.score_of(behind(values), sample)

        return contributions(score, activation, torch.zeros_like(activation))[0].flatten(1).sum(1)
