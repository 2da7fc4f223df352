"""The first principal direction of matrices, with a derivative that needs no other direction to be unique."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from captum_cams.errors import CAMError


def first_component(rows: Tensor) -> Tensor:
    """Compute the first right singular vector of each matrix N×R×K; returns N×K×1, each with a sign of its own.

    The derivative of ``torch.linalg.svd`` is not finite if any two singular values are equal, as those of dead channels
    are. This one needs the first to differ from the others.

    Raises:
        CAMError: a gradient is recorded, and the first two singular values of a matrix are equal.
    """
    return _FirstComponent.apply(rows)


class _FirstComponent(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        left, values, right = torch.linalg.svd(rows, full_matrices=False)
        if ctx.needs_input_grad[0]:
            second = values[:, 1] if values.shape[1] > 1 else torch.zeros_like(values[:, 0])
            equal = values[:, 0] - second <= 16 * torch.finfo(rows.dtype).eps * values[:, 0]
            if equal.any():
                raise CAMError(
                    "a differentiable Eigen-CAM needs one strongest pattern in the activations, got none or several "
                    f"equally strong ones in sample {int(equal.int().argmax())}; leave such images out of the loss"
                )
            ctx.save_for_backward(rows, left[..., :1], values, right)
        return right[:, :1].mT.contiguous()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        # v is an eigenvector of C = AᵀA with the eigenvalue λ, so dv = (λ − C)⁺ dC v and dC v = dAᵀ σu + Aᵀ dA v.
        rows, left, values, right = ctx.saved_tensors
        first, others = right[:, :1], right[:, 1:]
        largest = values[:, :1, None] ** 2
        inside = others @ gradient
        outside = gradient - right.mT @ (right @ gradient)
        solved = others.mT @ (inside / (largest - values[:, 1:, None] ** 2)) + outside / largest
        return values[:, :1, None] * left @ solved.mT + rows @ solved @ first
