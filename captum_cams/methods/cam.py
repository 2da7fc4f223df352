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
    """Weigh each channel by the classifier's own weight for the class; no ReLU.

    Zhou et al. 2016, eq. 2: map = Σ_k W_ck A_k. For heads that are global average pooling then one Linear, or one 1×1
    convolution then pooling. Whether the head is such a one is read off the run: the classifier's input must be the
    layer's (averaged) channels and the model's output the classifier's.

    Raises:
        CAMError: any other head.
    """

    paper = Paper(
        "Zhou et al.",
        "Learning Deep Features for Discriminative Localization",
        "CVPR",
        2016,
        "https://arxiv.org/abs/1512.04150",
    )
    cost = Cost()
    needs_classifier = True
    rectifies = False

    def weights(self, seen: Seen) -> Tensor:
        call, activation = seen.classifier, seen.activation
        if call is None:
            raise _unfit("no classifier was found")
        weight, scores, source = call.weight, call.output, call.source
        pooled = activation.mean((2, 3))
        if self.task == "binary":  # the rows of the two sides
            weight, scores = torch.cat((-weight, weight)), torch.cat((-scores, scores), 1)
        if weight.ndim == 4 and weight.shape[2:] == (1, 1) and source.shape == activation.shape:
            averaged = (
                scores.mean((2, 3)),
                scores.relu().mean((2, 3)),
            )  # SqueezeNet rectifies before it pools
            fits = _equal(source, activation) and any(_equal(scores, seen.output) for scores in averaged)
        else:
            fits = _equal(source.flatten(1), pooled) and _equal(scores.flatten(1), seen.output)
        if not fits:
            raise _unfit(f"between the layer, {type(call.module).__name__} and the output stands something else")
        rows = torch.tensor([index[0] for index in seen.target], device=weight.device)
        return weight.flatten(1)[rows].to(activation.dtype)


def _equal(left: Tensor, right: Tensor) -> bool:
    if left.shape != right.shape:
        return False
    half = left.dtype in (torch.float16, torch.bfloat16)
    left, right = left.float(), right.float()
    return torch.allclose(left, right, rtol=0, atol=(1e-1 if half else 1e-4) * float(right.abs().max()) + 1e-6)


def _unfit(found: str) -> CAMError:
    return CAMError(
        "CAM needs a head of global average pooling and one Linear (or a 1×1 convolution and pooling) right "
        f"behind the layer, but {found}; use Grad-CAM, which equals CAM/(h·w) on such heads and suits any other"
    )
