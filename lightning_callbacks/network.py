"""Find the network in a Lightning module, and use it as a function from images to scores."""

import inspect
from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.utilities.model_helpers import is_overridden
from torch import Tensor, nn
from torchmetrics import Metric, MetricCollection

from captum_cams.engine.outputs import described, entry_like_scores, scores_in
from captum_cams.engine.scores import Task, notice_probabilities, scores_of
from captum_cams.engine.torch_internals import Loss, is_compiled
from captum_cams.engine.untouched import untouched, unwrap
from captum_cams.errors import CAMError, shape_of
from lightning_callbacks.memory import is_memory

OutputFn = Callable[[Any], Tensor]


def class_scores(output: Any) -> Tensor:
    """Find the scores in the output of a network; this is the default ``output_fn``.

    Explainers read the output of a model by the same rule, :func:`captum_cams.engine.outputs.scores_in`.

    Raises:
        CAMError: no scores were found, or another entry could be the scores as well; then pass ``output_fn``.
    """
    scores = scores_in(output)
    if scores is not None:
        return scores
    entry = entry_like_scores(output)
    remedy = f"output{entry}, or the entry that has the scores" if entry else "scores"
    raise CAMError(
        f"the network must return scores N×classes, got {described(output)}; pass output_fn=lambda output: {remedy}"
    )


class ExplainsItself(pl.LightningModule):
    """A Lightning module that explains its data in its own steps; :class:`CAMCallback` ignores it."""


class Network(nn.Module):
    """A Lightning module, or the network inside it, as a function from images to scores."""

    def __init__(self, module: nn.Module, output_fn: OutputFn | None) -> None:
        super().__init__()
        found = network_of(unwrap(module))  # type: ignore[arg-type]
        self.network: nn.Module = unwrap(found)  # type: ignore[assignment]
        # Compiled code does not call hooks that are added later, or is compiled again because of them.
        self.hookable = self.network is found and not is_compiled(found)
        self.output_fn = output_fn or class_scores

    def forward(self, images: Tensor) -> Tensor:
        return self.output_fn(self.network(images))

    def scores(self, images: Tensor, task: Task) -> Tensor:
        """The scores for a task, N×classes, computed in evaluation mode; the network does not change."""
        with untouched(self):
            scores = scores_of(self.look(images.clone()), task)
        if scores.ndim != 2:
            raise CAMError(
                f'task="{task}" needs scores N×classes, got {shape_of(scores)}; pass task="binary" for one logit, '
                'task="regression" for a value, or output_fn'
            )
        notice_probabilities(self, scores, task)
        return scores

    def look(self, images: Tensor) -> Tensor:
        """Run the network and return one row of scores for each image.

        Raises:
            CAMError: the network needs more than images, or does not return one row of scores for each image.
        """
        try:
            scores = self(images)
        except Exception as error:
            if isinstance(error, CAMError) or is_memory(error):
                raise
            raise CAMError(self._refusal(images, error)) from error
        if not isinstance(scores, Tensor) or scores.ndim not in (1, 2) or len(scores) != len(images):
            raise CAMError(_not_scores(scores, len(images)))
        return scores

    def _refusal(self, images: Tensor, error: Exception) -> str:
        """The message for a network that raised an error."""
        remedy = "let forward take images and return scores, and give its other arguments default values"
        if not images.is_floating_point():
            remedy = (
                f"the images are {images.dtype}; pass batch_fn=lambda batch: (images that the network takes, labels)"
            )
        names = ", ".join(map(str, inspect.signature(self.network.forward).parameters.values()))
        said = f"{type(error).__name__}: {str(error)[:120]}"
        return (
            f"{type(self.network).__name__}.forward({names}) must work with images N×C×H×W alone, "
            f"but for images {shape_of(images)} it raised {said}; {remedy}"
        )


def _not_scores(scores: Any, count: int) -> str:
    """The message for a network that does not return a row of scores for each image."""
    if not isinstance(scores, Tensor):
        got, remedy = type(scores).__name__, "scores"
    elif scores.ndim == 0:
        got, remedy = (
            "a single number, perhaps the loss",
            "scores, or let forward return the scores instead of the loss",
        )
    elif scores.ndim == 4 and len(scores) == count:
        got, remedy = f"{shape_of(scores)}, perhaps a score for each pixel as in segmentation", "output.mean((2, 3))"
    else:
        got, remedy = f"{shape_of(scores)} for {count} images", "scores"
    return f"the network must return scores N×classes, got {got}; pass output_fn=lambda output: {remedy}"


def doubt(scores: Tensor) -> str | None:
    """A warning if the scores look like an embedding, or None."""
    norms = scores.detach().float().norm(dim=-1)
    if scores.ndim == 2 and bool((scores < 0).any()) and bool(((norms - 1).abs() < 1e-3).all()):
        return (
            "each row of the network's output has length 1 like an embedding, but it is explained as class scores; "
            "pass output_fn=lambda output: the similarity of the output to each class"
        )
    return None


def network_of(module: nn.Module) -> nn.Module:
    """Find the network: the module itself if it defines ``forward``, else the only network among its children.

    Raises:
        CAMError: there is no ``forward``, and not exactly one child could be the network.
    """
    if not isinstance(module, pl.LightningModule) or is_overridden("forward", module, pl.LightningModule):
        return module
    others = (Metric, MetricCollection, Loss)
    networks = {name: child for name, child in module.named_children() if not isinstance(child, others)}
    if len(networks) != 1:
        found = ", ".join(networks) or "none"
        raise CAMError(
            f"{type(module).__name__} must define forward(images) → scores or have exactly one network, found {found}; "
            "add a forward that calls the network that should be explained"
        )
    return next(iter(networks.values()))
