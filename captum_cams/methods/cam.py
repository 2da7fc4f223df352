"""CAM, the first class activation map."""

import torch
from torch import Tensor

from captum_cams.bases.spatial import WeightedCAM
from captum_cams.cost import Cost
from captum_cams.engine.capture import Seen
from captum_cams.errors import CAMError
from captum_cams.paper import Paper
from captum_cams.registry import register


@register
class CAM(WeightedCAM):
    """Shows where the features lie that the classifier weighs for the class.

    Zhou et al. 2016, eq. 2: map = Σ_k W_ck A_k, with the weights W of the classifier. There is no ReLU, so the map is
    signed.

    The head must be global average pooling and one linear layer, or one 1×1 convolution and pooling. A forward pass
    shows whether it is: the classifier must read the (averaged) channels of the layer, and its result must be the
    output of the model.

    Raises:
        CAMError: in a call, if the model has another head.

    Example::

        cam = cc.CAM(model, "layer4")
        maps = cam.attribute(images, labels)  # signed
    """

    title = "CAM"
    paper = Paper(
        "Zhou et al.",
        "Learning Deep Features for Discriminative Localization",
        "CVPR",
        2016,
        "https://arxiv.org/abs/1512.04150",
    )
    cost = Cost()
    needs_classifier = True
    any_dimension = True
    differentiable = True
    rectifies = False

    def weights(self, seen: Seen) -> Tensor:
        classifier, activation = seen.classifier, seen.activation.detach()
        if classifier is None:
            raise _unfit("no classifier was found")
        weight, scores, source = classifier.weight, classifier.output, classifier.source
        pooled = activation.flatten(2).mean(2)
        if self.task == "binary":  # the weights and scores of the two sides
            weight, scores = torch.cat((-weight, weight)), torch.cat((-scores, scores), 1)
        if weight.ndim == activation.ndim and weight.shape[2:].numel() == 1 and source.shape == activation.shape:
            # SqueezeNet applies ReLU before it pools.
            averaged = (scores.flatten(2).mean(2), scores.relu().flatten(2).mean(2))
            fits = _equal(source, activation) and any(_equal(scores, seen.output) for scores in averaged)
        else:
            fits = _equal(source.flatten(1), pooled) and _equal(scores.flatten(1), seen.output)
        if not fits:
            kind = type(classifier.module).__name__
            raise _unfit(f"another operation changes the values between the layer, {kind} and the output")
        classes = torch.tensor([index[0] for index in seen.target], device=weight.device)
        return weight.flatten(1)[classes].to(activation.dtype)


def _equal(left: Tensor, right: Tensor) -> bool:
    if left.shape != right.shape:
        return False
    half = left.dtype in (torch.float16, torch.bfloat16)
    left, right = left.float(), right.float()
    return torch.allclose(left, right, rtol=0, atol=(1e-1 if half else 1e-4) * float(right.abs().max()) + 1e-6)


def _unfit(found: str) -> CAMError:
    return CAMError(
        "CAM needs a head of global average pooling and one linear layer (or a 1×1 convolution and pooling) directly "
        f"after the layer, but {found}; use Grad-CAM, which equals CAM/(h·w) on such heads and suits any other head"
    )
