"""FD-CAM."""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from captum_cams.bases.perturbed import PerturbedCAM
from captum_cams.bases.spatial import WeightedCAM
from captum_cams.cost import Cost, K
from captum_cams.engine.capture import Seen
from captum_cams.engine.magnitude import levelled
from captum_cams.engine.scores import Score
from captum_cams.errors import CAMError, check_choice
from captum_cams.images import minmax
from captum_cams.paper import Paper
from captum_cams.registry import register

Combine = Literal["product", "exponential", "biased_exponential"]
_COMBINE: dict[Combine, Callable[[Tensor, Tensor, float], Tensor]] = {
    "product": lambda alpha, s, bias: alpha * s,
    "exponential": lambda alpha, s, bias: alpha * s.exp(),
    "biased_exponential": lambda alpha, s, bias: alpha * s.exp() - bias,
}


@register
class FDCAM(PerturbedCAM, WeightedCAM):
    """Shows the features that raise the class score, judged together with similar features.

    Li et al. 2022, eq. 4 to 11: the group of channel k holds the channels whose cosine similarity with A_k exceeds a
    percentile of the similarities of k; s_k = ½[(y_c − y_c(group off)) + y_c(only the group on)];
    w_k = α̂_k exp(ŝ_k) − b. Here α_k is the weight of Grad-CAM, and the hat means scaled to [0, 1] over the channels.

    Args:
        percentile: θ, between 0 and 100; the θ percent of the channels that are most similar to a channel form its
            group. None takes each channel alone (the ablation "no grouping" of the paper).
        bias: b, which is subtracted from every weight.
        switch_on: False leaves out the second term of s_k (an ablation).
        combine: ρ, which makes a weight of α̂ and ŝ: "biased_exponential" as above, "exponential" without b, or
            "product" for α̂ ŝ (ablations).
        score: what y_c stands for: "logit" as in the code of the authors, or "probability".
        **options: see :class:`PerturbedCAM`.

    Raises:
        CAMError: ``percentile`` is not between 0 and 100, or ``combine`` or ``score`` is not one of its choices; in a
            call, if ``reshape`` has no inverse (see :class:`Layout`), or if no gradient of the score reaches the layer.

    Example::

        cam = cc.FDCAM(model, "layer4", percentile=10.0)
        maps = cam.attribute(images, labels)
    """

    title = "FD-CAM"
    paper = Paper(
        "Li et al.",
        "FD-CAM: Improving Faithfulness and Discriminability of Visual Explanation for CNNs",
        "ICPR",
        2022,
        "https://arxiv.org/abs/2206.08792",
    )
    cost = Cost(behind=1 + 2 * K, gradients=1)
    needs_gradient = True
    any_dimension = True
    needs_resume = True

    def __init__(
        self,
        forward_func: Callable[..., Any],
        layer: nn.Module | str | None = None,
        device_ids: list[int] | None = None,
        *,
        percentile: float | None = 5.0,
        bias: float = 0.5,
        switch_on: bool = True,
        combine: Combine = "biased_exponential",
        score: Score = "logit",
        **options: Any,
    ) -> None:
        super().__init__(forward_func, layer, device_ids, **options)
        if percentile is not None and not 0 < percentile < 100:
            raise CAMError(f"percentile must lie between 0 and 100, or be None for no grouping, got {percentile!r}")
        check_choice("combine", combine, Combine)
        check_choice("score", score, Score)
        self.percentile, self.bias, self.switch_on = percentile, bias, switch_on
        self.combine, self.score = combine, score

    def weights(self, seen: Seen) -> Tensor:
        on = self.groups(seen.activation)
        # y_c and the factor ½ are the same for all channels, and the scaling to [0, 1] removes them.
        if self.switch_on:
            _, scores = seen.resume.switched(torch.cat((on, ~on), 1), self.score)
            score_on, score_off = scores.chunk(2, 1)
            change = score_on - score_off
        else:
            change = -seen.resume.switched(~on, self.score)[1]
        alpha = seen.gradient.flatten(2).mean(2)
        return _COMBINE[self.combine](minmax(alpha, 1), minmax(change, 1), self.bias)

    def groups(self, activation: Tensor) -> Tensor:
        """The groups of channels for an activation N×K×h×w: N×K×K, True at [n, k, l] if channel l is in group k."""
        samples, channels = activation.shape[:2]
        if self.percentile is None:
            return torch.eye(channels, dtype=torch.bool, device=activation.device).expand(samples, -1, -1)
        similarity = cosine_similarity(activation)
        return similarity > row_quantile(similarity, 1 - self.percentile / 100)


def cosine_similarity(activation: Tensor) -> Tensor:
    """Return the cosines of all pairs of flattened channels, N×K×K; with a channel of zeros they are 0."""
    flat = levelled(activation.flatten(2), 2)
    norm = flat.norm(dim=2, keepdim=True)
    unit = flat / norm.where(norm > 0, 1)
    return unit @ unit.mT


def row_quantile(values: Tensor, q: float) -> Tensor:
    """Return the q-quantile of each row, …×1, interpolated as by ``torch.quantile``, but without a full sort."""
    position = q * (values.shape[-1] - 1)
    below = int(position)
    highest = values.topk(values.shape[-1] - below, sorted=True).values
    low, high = highest[..., -1:], highest[..., -2:-1] if highest.shape[-1] > 1 else highest[..., -1:]
    return torch.lerp(low, high, position - below)
