"""Products at the ends of a float type's range."""

import pytest
import torch

from captum_cams import CAMError
from captum_cams.engine.magnitude import levelled, product

RANGE = torch.finfo(torch.float32)


@pytest.mark.parametrize("value", [0.0, RANGE.tiny, 1.0, RANGE.max])
def test_a_product_that_the_type_holds_is_taken(value):
    left = torch.tensor([[value, -value], [1.0, 0.5]])
    assert torch.equal(product(left, torch.ones(2, 1)), left)


@pytest.mark.parametrize(("value", "exact"), [(1e-30, "1e-60"), (1e30, "1e+60")])
def test_a_product_out_of_range_is_refused_with_its_size_and_its_sample(value, exact):
    factor = torch.tensor([[[1.0, 1.0]], [[0.0, 0.0]], [[0.0, value]], [[1.0, 1.0]]])
    with pytest.raises(CAMError, match=r"got " + exact.replace("+", r"\+") + r" in sample 2; explain model\.double"):
        product(factor, factor)


def test_what_vanishes_beside_a_larger_value_of_its_sample_is_zero():
    factor = torch.tensor([[2.0, 1e-30]])
    assert product(factor, factor).tolist() == [[4.0, 0.0]]


@pytest.mark.parametrize("largest", [RANGE.max, RANGE.tiny, RANGE.smallest_normal * RANGE.eps])
def test_levelling_reaches_from_one_end_of_the_range_to_the_other(largest):
    """Also where the power of two itself is out of range: 2¹⁴⁹ for the smallest number that is not zero."""
    values = torch.tensor([[largest, -largest / 2, 0.0]])
    found = levelled(values, 1)
    assert 0.5 <= float(found[0, 0]) < 1
    assert torch.log2(found[0, 0].double() / largest).frac() == 0
