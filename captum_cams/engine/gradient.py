"""The gradient of a score, or an error that says why there is none."""

import torch
from torch import Tensor

from captum_cams.errors import CAMError


def gradient_of(score: Tensor, at: Tensor, name: str, differentiable: bool = False) -> Tensor:
    """Compute the derivative of the summed scores with respect to a tensor.

    Args:
        score: the scores, N.
        at: the tensor.
        name: what error messages call the tensor.
        differentiable: whether the gradient keeps the graph to all that it depends on.

    Returns:
        The gradient, with the shape of ``at``.

    Raises:
        CAMError: if the score does not depend on the tensor, or the run uses reentrant checkpointing.
    """
    gradient = None
    if score.requires_grad:
        try:
            (gradient,) = torch.autograd.grad(score.sum(), at, allow_unused=True, create_graph=differentiable)
        except RuntimeError as error:
            if "use_reentrant" not in str(error):
                raise
            raise CAMError(
                f"the gradient at {name} cannot be computed through reentrant checkpointing; call "
                "torch.utils.checkpoint.checkpoint with use_reentrant=False, or use a method without gradients"
            ) from error
    if gradient is None:
        raise CAMError(
            f"the score must depend on {name}, got no gradient; does the forward pass detach it, or run a later part "
            "under no_grad or in checkpoint(..., use_reentrant=True)?"
        )
    return gradient
