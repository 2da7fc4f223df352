"""Sum the rows of each image, which is the unit of every statistic."""

import torch
from torch import Tensor

from captum_cams.errors import CAMError, check_tensor, shape_of


def unit_sums(values: Tensor, units: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Sum the values of each unit, and count them.

    Args:
        values: R×M, NaN where there is no value.
        units: the image of each row, R; None makes each row a unit.

    Returns:
        The sums and the numbers of values, U×M each, in float64, for U units in increasing order.

    Raises:
        CAMError: the shapes do not fit, or a value is infinite.
    """
    check_tensor("values", values, "R×M")
    if values.ndim != 2:
        raise CAMError(f"values must be R×M, a row for each pair and a column for each method, got {shape_of(values)}")
    if values.isinf().any():
        raise CAMError("values must be finite or NaN, got Inf; find the row whose metric is infinite")
    if units is not None and units.shape != values.shape[:1]:
        raise CAMError(f"units must be the image of each of {len(values)} rows, got {shape_of(units)}")
    values = values.detach().double().cpu()
    known = values.isfinite()
    if units is None:
        return values.nan_to_num(0), known.double()
    images, which = units.cpu().unique(return_inverse=True)
    empty = torch.zeros(len(images), values.shape[1], dtype=torch.float64)
    return empty.index_add(0, which, values.nan_to_num(0)), empty.index_add(0, which, known.double())


def complete(values: Tensor, units: Tensor | None, least: int = 2) -> tuple[Tensor, Tensor]:
    """Sum the rows of each unit as :func:`unit_sums`, without the rows that lack a value of any method.

    Raises:
        CAMError: there are fewer than two methods, or fewer than ``least`` units remain.
    """
    check_tensor("values", values, "R×M")
    if values.ndim != 2 or values.shape[1] < 2:
        raise CAMError(f"a ranking needs values R×M of two or more methods, got {shape_of(values)}; add a method")
    rows = ~values.isnan().any(1)
    sums, counts = unit_sums(values[rows], None if units is None else units[rows])
    if len(sums) < least:
        raise CAMError(
            f"a ranking needs at least {least} images on which every method has a value, got {len(sums)}; "
            "leave out the method or the metric without values, or evaluate more images"
        )
    return sums, counts
