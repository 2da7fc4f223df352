"""KPCA-CAM."""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from captum_cams.bases.principal import PrincipalCAM
from captum_cams.cost import Cost
from captum_cams.engine.capture import Seen
from captum_cams.errors import CAMError, check_choice
from captum_cams.paper import Paper
from captum_cams.registry import register

Kernel = Literal["linear", "poly", "rbf", "sigmoid", "cosine"]
_MOST = 4096
"""The most positions: their kernel matrix in float64 then takes 128 MiB."""


@register
class KPCACAM(PrincipalCAM):
    """Shows the strongest pattern in the activations that a kernel sees, the same for every class.

    Karmani et al. 2024, section 3: Eigen-CAM with kernel principal component analysis. With the rows x_p of the centred
    activations (one row for each of the h·w positions, K columns) and a kernel matrix k(x_p, x_q), which is centred,
    too: map = √λ_1 u_1, its first eigenvector and eigenvalue, followed by ReLU. The kernels are those of
    scikit-learn's ``KernelPCA`` and have its names: "linear" xᵀy, which gives Eigen-CAM; "poly" (γ xᵀy + 1)³; "rbf"
    exp(−γ ‖x − y‖²); "sigmoid" tanh(γ xᵀy + 1); "cosine" xᵀy / (‖x‖ ‖y‖). The sign is that of Eigen-CAM.

    Args:
        kernel: the kernel.
        gamma: γ, above 0; None means 1/K.
        **options: see :class:`CAMAttribution`.

    Raises:
        CAMError: ``kernel`` is none of these, or ``gamma`` is not positive; in a call, if the layer has more than 4096
            positions, or the kernel gives the same for all positions of an image though they differ.

    Example::

        cam = cc.KPCACAM(model, "layer4", kernel="rbf")
        maps = cam.attribute(images)  # needs no target
    """

    title = "KPCA-CAM"
    paper = Paper(
        "Karmani et al.",
        "KPCA-CAM: Visual Explainability of Deep Computer Vision Models using Kernel PCA",
        "MMSP",
        2024,
        "https://arxiv.org/abs/2410.00267",
    )
    cost = Cost()
    per_channel = False
    differentiable = False

    def __init__(
        self,
        forward_func: Callable[..., Any],
        layer: nn.Module | str | None = None,
        device_ids: list[int] | None = None,
        *,
        kernel: Kernel = "sigmoid",
        gamma: float | None = None,
        **options: Any,
    ) -> None:
        super().__init__(forward_func, layer, device_ids, **options)
        check_choice("kernel", kernel, Kernel)
        if gamma is not None and not gamma > 0:
            raise CAMError(f"gamma must be positive or None, got {gamma}")
        self.kernel, self.gamma = kernel, gamma

    def features(self, seen: Seen) -> Tensor:
        return seen.activation

    def maps(self, seen: Seen) -> Tensor:
        rows = self.features(seen).flatten(2).mT
        if rows.shape[1] > _MOST:
            raise CAMError(
                f"KPCA-CAM compares all positions with each other, at most {_MOST}, got {rows.shape[1]}; explain a "
                "deeper layer"
            )
        rows = rows - rows[:, :1]  # so that rows that are all the same become exactly 0
        centred = rows - rows.mean(1, keepdim=True)
        found = torch.stack([self._component(index, sample.double()) for index, sample in enumerate(centred)])
        signed = found.to(rows) * self.signs(found.to(rows), centred)
        return signed.mT.reshape(len(rows), 1, *seen.activation.shape[2:])

    def _component(self, sample: int, rows: Tensor) -> Tensor:
        """The first component of one sample, h·w×1, from its centred rows h·w×K."""
        if not rows.any():
            return rows[:, :1]
        matrix = self._matrix(rows)
        rounding = len(rows) * torch.finfo(matrix.dtype).eps * matrix.abs().max()
        matrix = matrix - matrix.mean(0) - matrix.mean(1, keepdim=True) + matrix.mean()
        values, vectors = torch.linalg.eigh(matrix)
        if not values[-1] > rounding:
            raise CAMError(
                f"the kernel must see a difference between positions, got the same value for all positions of sample "
                f"{sample} with kernel={self.kernel!r} and gamma={self.gamma}; pass gamma= near 1 / (K·mean(A²))"
            )
        return vectors[:, -1:] * values[-1].sqrt()

    def _matrix(self, rows: Tensor) -> Tensor:
        gamma = 1 / rows.shape[1] if self.gamma is None else self.gamma
        if self.kernel == "rbf":
            return (-gamma * torch.cdist(rows, rows).square()).exp()
        if self.kernel == "cosine":
            rows = torch.nn.functional.normalize(rows, dim=1)
        products = rows @ rows.mT
        if self.kernel == "sigmoid":
            return (gamma * products + 1).tanh()
        return (gamma * products + 1) ** 3 if self.kernel == "poly" else products
