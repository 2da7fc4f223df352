"""Non-negative matrix factorisation, by scikit-learn."""

from typing import Any

import torch
from torch import Tensor

from captum_cams.extras import import_extra


def solver() -> Any:
    """Import scikit-learn's NMF.

    Raises:
        CAMError: scikit-learn is not installed.
    """
    return import_extra("sklearn.decomposition", "concepts", "find_concepts").NMF


def factorise(matrix: Tensor, count: int, seed: int, max_iter: int) -> tuple[Tensor, Tensor, float]:
    """Factorise A ≈ W·H, all of them 0 or greater, so that the squared error is as small as the solver can make it.

    Args:
        matrix: A, P×K, 0 or greater, and not zero everywhere.
        count: K', the number of columns of W and of rows of H.
        seed: of the random numbers with which W and H begin.
        max_iter: the largest number of steps of the solver.

    Returns:
        W, P×K', and H, K'×K, on the device of A; and the error ‖A − W·H‖ / ‖A‖, 0 to 1.

    Raises:
        CAMError: scikit-learn is not installed.
    """
    largest = matrix.amax()
    scaled = (matrix / largest).cpu()  # the solver squares them, and counts values near 1e-7 as zero
    found = solver()(count, init="random", random_state=seed, max_iter=max_iter)
    left = torch.from_numpy(found.fit_transform(scaled.numpy())).to(matrix)
    right = torch.from_numpy(found.components_).to(matrix)
    return left, right * largest, float(found.reconstruction_err_) / float(scaled.double().norm())
