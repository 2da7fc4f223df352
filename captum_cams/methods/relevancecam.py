"""Relevance-CAM."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from captum_cams.bases.output_relevance import check_classes, chosen
from captum_cams.bases.spatial import WeightedCAM
from captum_cams.cost import Cost
from captum_cams.engine.arranged import arranged_back
from captum_cams.engine.capture import Seen
from captum_cams.engine.targets import wide
from captum_cams.paper import Paper
from captum_cams.registry import register
from captum_cams.relevance.propagation import BatchNorm, Propagation


@register
class RelevanceCAM(WeightedCAM):
    """Shows the features that are relevant for the class rather than for the others.

    Lee et al. 2021, eq. 4 to 7: w_k = ⟨R_k⟩, the mean relevance of the channel. Relevance starts at the output with 1
    at c and −1/classes elsewhere, and z⁺ carries it to the layer.

    Args:
        batch_norm: see :class:`Propagation`.
        **options: see :class:`CAMAttribution`.

    Raises:
        CAMError: ``batch_norm`` is not one of its choices; in a call, if the output has fewer than two classes,
            ``task`` is "binary", or an operation after the layer has no rule for relevance.

    Example::

        cam = cc.RelevanceCAM(model, "layer4")
        maps = cam.attribute(images, labels)
    """

    title = "Relevance-CAM"
    paper = Paper(
        "Lee et al.",
        "Relevance-CAM: Your Model Already Knows Where to Look",
        "CVPR",
        2021,
        "https://openaccess.thecvf.com/content/CVPR2021/html/Lee_Relevance-CAM_Your_Model_Already_Knows_Where_To_Look_"
        "CVPR_2021_paper.html",
    )
    cost = Cost(2, gradients=1)
    any_dimension = True

    def __init__(
        self,
        forward_func: Callable[..., Any],
        layer: nn.Module | str | None = None,
        device_ids: list[int] | None = None,
        *,
        batch_norm: BatchNorm = "identity",
        **options: Any,
    ) -> None:
        super().__init__(forward_func, layer, device_ids, **options)
        Propagation(batch_norm)  # raises if batch_norm does not fit
        self.batch_norm = batch_norm

    def weights(self, seen: Seen) -> Tensor:
        def start(output: Tensor) -> Tensor:
            check_classes(output, "Relevance-CAM", self.task)
            return chosen(output, seen.target) * (1 + 1 / output.shape[1]) - 1 / output.shape[1]

        call = seen.call.copied()  # the trail marks the inputs
        with Propagation(self.batch_norm).trail(self.forward_func, seen.place, inputs=call.inputs) as trail:
            output = call.output()
        relevance = trail.back(start(wide(output.detach())), output)
        return arranged_back(call, seen.place, relevance, "relevance").flatten(2).mean(2)
