"""The gradient of a score, or an error that says why there is none."""

import torch
from torch import Tensor

from captum_cams.engine.graph import reached
from captum_cams.engine.torch_internals import is_once_differentiable
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
    return gradients_of(score, [at], name, differentiable)[0]


def gradients_of(score: Tensor, at: list[Tensor], name: str, differentiable: bool = False) -> list[Tensor]:
    """Compute the derivatives of the summed scores with respect to several tensors, as :func:`gradient_of` for one.

    Args:
        score: the scores, N.
        at: the tensors. The score must depend on the first; where it does not depend on another, its gradient is 0.
        name: what error messages call the first tensor.
        differentiable: as in :func:`gradient_of`.

    Returns:
        One gradient for each tensor.

    Raises:
        CAMError: as in :func:`gradient_of`.
    """
    found: tuple[Tensor | None, ...] = (None,)
    if score.requires_grad:
        try:
            found = torch.autograd.grad(score.sum(), at, allow_unused=True, create_graph=differentiable)
        except RuntimeError as error:
            if "use_reentrant" not in str(error):
                raise
            raise CAMError(
                f"the gradient at {name} cannot be computed through reentrant checkpointing; call "
                "torch.utils.checkpoint.checkpoint with use_reentrant=False, or use a method without gradients"
            ) from error
    if found[0] is None:
        raise CAMError(
            f"the score must depend on {name}, got no gradient; does the forward pass detach it, or run a later part "
            "under no_grad or in checkpoint(..., use_reentrant=True)?"
        )
    return [torch.zeros_like(t) if g is None else g for t, g in zip(at, found, strict=True)]


def curvature_along(score: Tensor, gradient: Tensor, at: Tensor, direction: Tensor, name: str) -> Tensor:
    """Compute the product of the Hessian of a score with a direction.

    Args:
        score: the scores, N.
        gradient: the gradient of the score at a tensor, with its graph.
        at: the tensor.
        direction: the direction, with the shape of ``at``.
        name: what error messages call the tensor.

    Returns:
        The product, with the shape of ``at``; zeros if the gradient is the same everywhere, as behind ReLUs.

    Raises:
        CAMError: if an operation between the tensor and the score has no second derivative.
    """
    # Behind a piecewise linear part, torch gives their gradient without a graph, as if it had no second derivative.
    once = [node for node in reached([score.grad_fn]) if is_once_differentiable(node)] if score.grad_fn else []
    if once:
        raise _no_curvature(name, f"{once[0].name()} is marked with once_differentiable")
    if not gradient.requires_grad:
        return torch.zeros_like(at)
    try:
        (found,) = torch.autograd.grad(gradient, at, direction, allow_unused=True)
    except RuntimeError as error:
        raise _no_curvature(name, str(error).strip().splitlines()[0]) from error
    return torch.zeros_like(at) if found is None else found


def _no_curvature(name: str, reason: str) -> CAMError:
    return CAMError(
        f"the score must have a second derivative at {name}, got none: {reason}; Grad-CAM needs only the first one"
    )
