"""Eigen-CAM."""

import torch
from torch import Tensor

from captum_cams.bases.spatial import SpatialCAM
from captum_cams.cost import Cost
from captum_cams.engine.capture import Seen
from captum_cams.engine.magnitude import levelled
from captum_cams.paper import Paper
from captum_cams.registry import register


@register
class EigenCAM(SpatialCAM):
    """Project the activations on their first principal component; the same for every class.

    Muhammad and Yeasin 2020, eq. 2 and 3: A as h·w rows and K columns, A = U Σ Vᵀ, map = A v_1. Columns are centred
    first, as pytorch-grad-cam does. A singular vector has no sign of its own: it is the one that correlates positively
    with the mean activation.
    """

    paper = Paper(
        "Muhammad and Yeasin",
        "Eigen-CAM: Class Activation Map using Principal Components",
        "IJCNN",
        2020,
        "https://arxiv.org/abs/2008.00299",
    )
    cost = Cost()
    any_dimension = True

    def maps(self, seen: Seen) -> Tensor:
        rows = seen.activation.flatten(2).mT
        centred = rows - rows.mean(1, keepdim=True)
        level = levelled(centred, (1, 2))
        first = torch.linalg.svd(level, full_matrices=False).Vh[:, :1].mT
        sign = ((level @ first) * level.mean(2, keepdim=True)).sum(1, keepdim=True).sign()
        contributions = centred * (first * sign.where(sign != 0, 1)).mT
        return contributions.mT.reshape(seen.activation.shape)
