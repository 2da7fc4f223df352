"""Find equal rows, so that each is run only once."""

import torch
from torch import Tensor


def unique_rows(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Find the distinct rows of a tensor.

    Returns:
        The index of the first copy of each distinct row (U), and for each row the position of its copy in that list
        (R), so that ``rows[first][which]`` equals ``rows``.
    """
    # Sorting one number per row is far cheaper than sorting rows. If unequal rows get the same number, none are merged.
    flat = rows.flatten(1)
    generator = torch.Generator().manual_seed(0)
    weights = torch.rand(flat.shape[1], generator=generator, dtype=torch.float64).to(flat.device)
    _, which = torch.unique(flat.double() @ weights, return_inverse=True)
    indices = torch.arange(len(flat), device=flat.device)
    first = indices.new_full((int(which.max()) + 1,), len(flat)).scatter_reduce(0, which, indices, "amin")
    return (first, which) if torch.equal(flat[first][which], flat) else (indices, indices)
