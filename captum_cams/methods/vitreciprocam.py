"""ViT-Recipro-CAM."""

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
class ViTReciproCAM(PerturbedCAM, SpatialCAM):
    """Shows the patches of a transformer that are enough for a high class score, together with the class token.

    Byun and Lee 2023, section 3: map_t = norm(y_c(A ∘ M_t)), where A are the tokens that the last attention is given,
    and the mask M_t keeps a 3×3 window around patch t; the tokens before the grid (class, distillation and register
    tokens) always stay. Patches are switched off by zeros. There is no ReLU; each map is scaled to [0, 1].

    Args:
        gaussian: True takes the 3×3 binomial window of the paper around each patch, False the patch alone.
        score: what y_c stands for: "logit" or "probability".
        **options: see :class:`PerturbedCAM`.

    Raises:
        CAMError: ``score`` is not one of its choices; in a call, if the layer gives no tokens N×T×K, or ``reshape`` has
            no inverse (see :class:`Layout`).

    Example::

        cam = cc.ViTReciproCAM(vit, "encoder.layers.encoder_layer_11.ln_1", reshape="tokens")
        maps = cam.attribute(images, labels)  # values in [0, 1]
    """

    title = "ViT-ReciproCAM"
    paper = Paper(
        "Byun and Lee",
        "ViT-ReciproCAM: Gradient and Attention-Free Visual Explanations for Vision Transformer",
        "arXiv",
        2023,
        "https://arxiv.org/abs/2310.02588",
    )
    cost = Cost(behind=1 + P)
    per_channel = False
    needs_resume = True
    needs_tokens = True
    rectifies = False

    def __init__(
        self,
        forward_func: Callable[..., Any],
        layer: nn.Module | str | None = None,
        device_ids: list[int] | None = None,
        *,
        gaussian: bool = True,
        score: Score = "logit",
        **options: Any,
    ) -> None:
        super().__init__(forward_func, layer, device_ids, **options)
        check_choice("score", score, Score)
        self.gaussian, self.score = gaussian, score

    def maps(self, seen: Seen) -> Tensor:
        masks = windows(seen.activation, self.gaussian)
        return minmax(seen.resume.masked(masks, self.score).view(-1, 1, *seen.activation.shape[2:]))
