"""The gradient of a score."""

import torch
from torch import Tensor

from captum_cams.errors import CAMError


def gradient_of(score: Tensor, at: Tensor, name: str) -> Tensor:
    """The derivative of ``score`` with respect to ``at``, which messages call ``name``.

    Raises:
        CAMError: the score does not depend on it, or the run cannot be followed back.
    """
    found = None
    if score.requires_grad:
        try:
            (found,) = torch.autograd.grad(score.sum(), at, allow_unused=True)
        except RuntimeError as error:
            if "use_reentrant" not in str(error):
                raise
            raise CAMError(
                f"the gradient at {name} cannot be followed back through reentrant checkpointing; call "
                "torch.utils.checkpoint.checkpoint with use_reentrant=False, or use a method without gradients"
            ) from error
    if found is None:
        raise CAMError(
            f"the score must depend on {name}, got no gradient there; does the forward detach it, or run what is "
            "behind it under no_grad or in checkpoint(..., use_reentrant=True)?"
        )
    return found
