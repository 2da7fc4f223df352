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
    """Shows the strongest pattern in the activations, which is the same for every class.

    Muhammad and Yeasin 2020, eq. 2 and 3: A as a matrix with h·w rows and K columns, A = U Σ Vᵀ, map = A v_1, followed
    by ReLU. The columns are centred first, as in pytorch-grad-cam, so v_1 is the first principal component. A singular
    vector has no sign of its own; here the map correlates positively with the mean activation.

    Example::

        cam = cc.EigenCAM(model, "layer4")
        maps = cam.attribute(images)  # needs no target
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
