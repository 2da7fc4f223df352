"""Opti-CAM."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from captum_cams.bases.perturbed import PerturbedCAM
from captum_cams.bases.spatial import WeightedCAM
from captum_cams.cost import Cost, named
from captum_cams.engine.call import Call
from captum_cams.engine.capture import Seen
from captum_cams.engine.gradient import gradient_of
from captum_cams.engine.magnitude import levelled
from captum_cams.engine.scores import Score, probabilities
from captum_cams.engine.targets import wide
from captum_cams.errors import CAMError, check_at_least, check_choice, check_finite
from captum_cams.images import heat
from captum_cams.paper import Paper
from captum_cams.registry import register

_ROUNDING = 1e-12
"""The share of the largest gradient below which a gradient is 0: a mask does not depend on channels that are constant,
and Adam would take whole steps along their rounding."""


@register
class OptiCAM(PerturbedCAM, WeightedCAM):
    """Shows the mixture of channels under which the masked image has the highest class score.

    Zhang et al. 2023: w = softmax(u), and Adam climbs the score S_c(x ∘ norm(up(Σ_k w_k A_k))) for each image, from
    equal weights; map = ReLU(Σ_k w_k A_k) with the weights after the last step. As in the paper, this need not be the
    best step. The activation A stays that of the unmasked image, so the layer only supplies the masks.

    Args:
        steps: number of steps, at least 1; each costs one forward and one backward pass of the whole model.
        learning_rate: of Adam, above 0.
        score: "logit" as in the paper, or "probability".
        **options: see :class:`PerturbedCAM`; ``perturbations_per_eval`` is the number of images in one run.

    Raises:
        CAMError: ``steps`` is not a positive integer, ``learning_rate`` is not positive, or ``score`` is unknown; in a
            call, if the images are integers, or the score does not depend on them.

    Example::

        cam = cc.OptiCAM(model, "layer4", steps=20)
        maps = cam.attribute(images, labels)
    """

    title = "Opti-CAM"
    paper = Paper(
        "Zhang et al.",
        "Opti-CAM: Optimizing saliency maps for interpretability",
        "arXiv",
        2023,
        "https://arxiv.org/abs/2301.07002",
    )
    cost = Cost(1 + named("steps"), gradients=named("steps"))
    any_dimension = True

    def __init__(
        self,
        forward_func: Callable[..., Any],
        layer: nn.Module | str | None = None,
        device_ids: list[int] | None = None,
        *,
        steps: int = 100,
        learning_rate: float = 0.1,
        score: Score = "logit",
        **options: Any,
    ) -> None:
        super().__init__(forward_func, layer, device_ids, **options)
        check_at_least("steps", steps, 1)
        if not learning_rate > 0:
            raise CAMError(f"learning_rate must be positive, got {learning_rate}; the paper takes 0.1")
        check_choice("score", score, Score)
        self.steps, self.learning_rate, self.score = steps, learning_rate, score

    def weights(self, seen: Seen) -> Tensor:
        call = seen.call.copied()  # raises an error for images without a gradient
        # In double precision, because Adam squares gradients. The scale of the activation does not change a mask.
        maps = levelled(seen.activation.double(), tuple(range(1, seen.activation.ndim)))
        parts = [part.tolist() for part in self.chunks(torch.arange(len(maps)))]
        return torch.cat([self._climb(call, part, maps[part]) for part in parts]).to(seen.activation.dtype)

    def _climb(self, call: Call, samples: list[int], maps: Tensor) -> Tensor:
        """Find the weights of some samples; each climbs on its own, since Adam works value by value."""
        logits = torch.zeros(maps.shape[:2], dtype=maps.dtype, device=maps.device, requires_grad=True)
        adam = torch.optim.Adam([logits], lr=self.learning_rate)
        for _ in range(self.steps):
            with torch.enable_grad():
                score = self.objective(call, samples, maps, logits.softmax(1))
                gradient = gradient_of(score, logits, "the input")
            check_finite("the gradients of the weights", gradient)
            logits.grad = gradient.where(gradient.abs() > _ROUNDING * gradient.abs().amax(1, keepdim=True), 0).neg()
            adam.step()
        return logits.detach().softmax(1)

    def objective(self, call: Call, samples: list[int], maps: Tensor, weights: Tensor) -> Tensor:
        """Compute the scores of some images, each under the mask that its weights make.

        Args:
            call: the call of the unmasked images.
            samples: the indices of R of them.
            maps: their activations, R×K×h×w.
            weights: R×K.

        Returns:
            The R scores.
        """
        images = call.inputs[0][samples]
        mixed = (weights.reshape(*weights.shape, *[1] * (maps.ndim - 2)) * maps).sum(1, keepdim=True)
        call = call.rows(images * heat(mixed, images.shape[2:]).to(images.dtype), samples)
        scores = wide(call.output())
        return call.chosen(probabilities(scores, call.task) if self.score == "probability" else scores)
