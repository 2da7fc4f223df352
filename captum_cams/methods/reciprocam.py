"""Recipro-CAM."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from captum_cams.bases.perturbed import PerturbedCAM
from captum_cams.bases.spatial import SpatialCAM
from captum_cams.cost import Cost, P
from captum_cams.engine.capture import Seen
from captum_cams.engine.scores import Score
from captum_cams.engine.windows import windows
from captum_cams.errors import check_choice
from captum_cams.images import minmax
from captum_cams.paper import Paper
from captum_cams.registry import register


@register
class ReciproCAM(PerturbedCAM, SpatialCAM):
    """Shows the positions of the layer that are enough for a high class score on their own.

    Byun and Lee 2022, eq. 1 to 4: map_ij = norm(y_c(A ∘ M_ij)), where the mask M_ij is 1 at (i, j) and 0 elsewhere.
    There is no ReLU; each map is scaled to [0, 1].

    Args:
        gaussian: True takes a 3×3 binomial window around (i, j) as M_ij, which the paper prefers for deep networks; of
            a signal or a volume, three positions along each axis.
        score: what y_c stands for: "logit" or "probability".
        **options: see :class:`PerturbedCAM`.

    Raises:
        CAMError: ``score`` is not one of its choices; in a call, if ``reshape`` has no inverse (see :class:`Layout`).

    Example::

        cam = cc.ReciproCAM(model, "layer4", gaussian=True)
        maps = cam.attribute(images, labels)  # values in [0, 1]
    """

    title = "Recipro-CAM"
    paper = Paper(
        "Byun and Lee",
        "Recipro-CAM: Fast gradient-free visual explanations for convolutional neural networks",
        "arXiv",
        2022,
        "https://arxiv.org/abs/2209.14074",
    )
    cost = Cost(behind=1 + P)
    per_channel = False
    needs_resume = True
    rectifies = False
    any_dimension = True

    def __init__(
        self,
        forward_func: Callable[..., Any],
        layer: nn.Module | str | None = None,
        device_ids: list[int] | None = None,
        *,
        gaussian: bool = False,
        score: Score = "logit",
        **options: Any,
    ) -> None:
        super().__init__(forward_func, layer, device_ids, **options)
        check_choice("score", score, Score)
        self.gaussian, self.score = gaussian, score

    def maps(self, seen: Seen) -> Tensor:
        masks = windows(seen.activation, self.gaussian)
        scores = seen.resume.masked(masks, self.score)
        return minmax(scores, 1).view(-1, 1, *seen.activation.shape[2:])
