"""Find equal rows, so that they are run once."""

import torch
from torch import Tensor


def unique_rows(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Indices of the first of every set of equal rows (U), and for each row its place among them (R)."""
    # Sorting numbers is far cheaper than sorting rows; should unequal rows share a number, nothing is merged.
    flat = rows.flatten(1)
    generator = torch.Generator().manual_seed(0)
    weights = torch.rand(flat.shape[1], generator=generator, dtype=torch.float64).to(flat.device)
    _, which = torch.unique(flat.double() @ weights, return_inverse=True)
    indices = torch.arange(len(flat), device=flat.device)
    first = indices.new_full((int(which.max()) + 1,), len(flat)).scatter_reduce(0, which, indices, "amin")
    return (first, which) if torch.equal(flat[first][which], flat) else (indices, indices)
