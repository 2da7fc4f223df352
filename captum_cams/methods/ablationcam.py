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
    """Weigh each channel by the share of the score that is lost without it.

    Desai and Ramaswamy 2020, eq. 2: w_k = (y_c − y_c(k off)) / |y_c|. The absolute value keeps the map from being
    turned over by a negative logit; a score of 0 is not divided by.
    """

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
