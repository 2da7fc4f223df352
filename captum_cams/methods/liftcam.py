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
    """Shows the features by what each of them contributes to the class score.

    Jung and Oh 2021, eq. 8 to 10: w_k is the DeepLIFT contribution of A_k to the score, summed over positions, against
    a baseline of zero activations; it approximates the Shapley value. Σ_k w_k is the score minus the score of zero
    activations.

    Elementwise functions and max pooling have the rules of Captum's ``DeepLift``, which the authors use. A product is
    shared equally between its factors, the scale of a normalisation takes no part, a softmax has its gradient at the
    logarithmic mean of the probabilities of both runs, and any other operation has its mean gradient between them.
    Attention is a product, a softmax and a product.

    Raises:
        CAMError: in a call, if the contributions do not add up to the change of the score, or if ``reshape`` has no
            inverse (see :class:`Layout`).

    Example::

        cam = cc.LIFTCAM(model, "layer4")
        maps = cam.attribute(images, labels)
    """

    title = "LIFT-CAM"
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
        rest, activation = seen.resume.tail(sample), seen.activation[sample : sample + 1]

        def score(values: Tensor) -> Tensor:
            return seen.call.score_of(rest(values), sample)

        return contributions(score, activation, torch.zeros_like(activation))[0].flatten(1).sum(1)
