"""LIFT-CAM."""

import warnings

import torch
from captum.attr import DeepLift
from torch import Tensor

from captum_cams.attribution import WeightedCAM
from captum_cams.engine.capture import Seen
from captum_cams.registry import register


@register
class LIFTCAM(WeightedCAM):
    """Weigh each channel by its DeepLIFT contribution to the score, an approximation of its Shapley value.

    Jung and Oh, "Towards Better Explanations of Class Activation Mapping", ICCV 2021, eq. 8 to 10: w_k is the
    contribution of A_k, summed over positions, to the part of the network behind the layer, against zero
    activations. The contributions are Captum's ``DeepLift``; it knows non-linear modules, and takes functional ones
    by their gradient.
    """

    cost = "1 + 4 behind the layer"
    needs_resume = True
    any_dimension = True

    def weights(self, seen: Seen) -> Tensor:
        return torch.stack([self._contributions(seen, sample) for sample in range(len(seen.activation))])

    def _contributions(self, seen: Seen, sample: int) -> Tensor:
        activation = seen.activation[sample : sample + 1].clone().requires_grad_()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Setting (forward|backward|forward, backward)")
            found = DeepLift(seen.resume.behind(sample)).attribute(
                activation, torch.zeros_like(activation), seen.target[sample]
            )
        return found[0].flatten(1).sum(1).detach()
