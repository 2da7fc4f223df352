"""The similarity to an embedding or to another image."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from captum_cams.engine.functions import SampleTarget
from captum_cams.errors import CAMError, check_finite, check_tensor, shape_of
from captum_cams.targets.reading import EMBEDDINGS, tensor_in
from captum_cams.targets.target import Target


@dataclass(frozen=True, eq=False, repr=False)
class Similarity(Target, SampleTarget):
    """Explains how similar the model finds an image to a reference: the cosine of their embeddings, −1 to 1.

    The model must return embeddings N×D, or an output with ``image_embeds``, ``image_features`` or ``pooler_output``.

    Args:
        reference: an embedding of D values, or an image C×H×W. The explained model embeds the image once in each call,
            for each explained image. It has no gradient.

    Raises:
        CAMError: the reference is not a tensor of one of these shapes, holds NaN or Inf, or is zero; in a call, if the
            model does not return embeddings of its length.

    Example::

        twin = cc.targets.Similarity(images[1])
        maps = cc.GradCAM(model, "layer4").attribute(images[:1], twin)
    """

    reference: Tensor

    def __post_init__(self) -> None:
        check_tensor("reference", self.reference, "of D values, or an image C×H×W")
        if self.reference.ndim not in (1, 3):
            raise CAMError(
                f"reference must be an embedding of D values or an image C×H×W, got {shape_of(self.reference)}; of a "
                "batch pass one entry, or a list with one target for each image"
            )
        kept = self.reference.detach().clone()
        check_finite("reference", kept[None])
        if kept.ndim == 1 and not kept.any():
            raise CAMError("reference must have a direction, got an embedding of zeros")
        object.__setattr__(self, "reference", kept)

    def bound(self, network: Callable[[Tensor], Any], image: Tensor) -> "Similarity":
        """Embed the reference image with the network; an embedding is kept."""
        if self.reference.ndim == 1:
            return self
        return replace(self, reference=embeddings_in(network(self.reference[None].to(image)))[0])

    def __call__(self, output: Any) -> Tensor:
        if self.reference.ndim == 3:
            raise CAMError(
                "the reference image must be embedded before outputs are scored, got an image; call "
                "target.bound(model, image) first, as explainers do"
            )
        return cosine(output, self.reference)


def embeddings_in(output: Any) -> Tensor:
    """Find the embeddings N×D in the model's output."""
    return tensor_in(output, EMBEDDINGS, "N×D", 2)


def cosine(output: Any, embedding: Tensor) -> Tensor:
    """Compute the cosine of each embedding in the output and one of D values, N."""
    given = embeddings_in(output)
    if given.shape[1] != len(embedding):
        raise CAMError(
            f"the embeddings must have the length of the reference, expected {len(embedding)}, got {shape_of(given)}; "
            "use the model, with its projection, that made the reference"
        )
    return F.cosine_similarity(given, embedding.to(given)[None], dim=1)
