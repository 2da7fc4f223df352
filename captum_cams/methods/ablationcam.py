"""Ablation-CAM."""

import torch
from torch import Tensor

from captum_cams.bases.perturbed import PerturbedCAM
from captum_cams.bases.spatial import WeightedCAM
from captum_cams.cost import Cost, K
from captum_cams.engine.capture import Seen
from captum_cams.paper import Paper
from captum_cams.registry import register


@register
class AblationCAM(PerturbedCAM, WeightedCAM):
    """Shows the features whose removal lowers the class score.

    Desai and Ramaswamy 2020, eq. 2: each channel is set to zero in turn, and its weight is the share of the score that
    is lost, w_k = (y_c − y_c(k off)) / abs(y_c). The paper divides by y_c itself; the absolute value keeps a negative
    logit from inverting the map. If the score is 0, the weight is the difference alone.

    Raises:
        CAMError: in a call, if ``reshape`` has no inverse (see :class:`Layout`).

    Example::

        cam = cc.AblationCAM(model, "layer4", perturbations_per_eval=32)
        maps = cam.attribute(images, labels)
    """

    title = "Ablation-CAM"
    paper = Paper(
        "Desai and Ramaswamy",
        "Ablation-CAM: Visual Explanations for Deep Convolutional Network via Gradient-free Localization",
        "WACV",
        2020,
        "https://openaccess.thecvf.com/content_WACV_2020/html/Desai_Ablation-CAM_Visual_Explanations_for_Deep_"
        "Convolutional_Network_via_Gradient-free_Localization_WACV_2020_paper.html",
    )
    cost = Cost(behind=1 + K)
    needs_resume = True
    any_dimension = True

    def weights(self, seen: Seen) -> Tensor:
        samples, channels = seen.activation.shape[:2]
        off = ~torch.eye(channels, dtype=torch.bool, device=seen.activation.device)
        on, without = seen.resume.switched(off.expand(samples, -1, -1))
        score = on[:, None]
        return (score - without) / score.abs().where(score != 0, 1)
