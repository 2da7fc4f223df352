"""Average precision against scikit-learn and its own definition."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from captum_cams import CAMError
from captum_cams.benchmark import average_precision


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**31), st.integers(1, 6))
def test_is_that_of_scikit_learn_with_and_without_equal_values(seed, levels):
    generator = torch.Generator().manual_seed(seed)
    maps = torch.randint(0, levels, (3, 1, 7, 5), generator=generator).float()
    masks = torch.rand(3, 7, 5, generator=generator) < 0.3
    masks[:, 0, 0] = True
    expected = [
        average_precision_score(mask.flatten().numpy(), map_.flatten().numpy())
        for mask, map_ in zip(masks, maps, strict=True)
    ]
    assert average_precision(maps, masks).tolist() == pytest.approx(expected, abs=1e-12)


def test_ends_of_the_scale():
    masks = torch.zeros(1, 8, 8, dtype=torch.bool)
    masks[:, 2:4, 3:5] = True
    assert average_precision(masks.float(), masks).tolist() == [1.0]
    assert average_precision(torch.ones(1, 1, 4, 4), masks).tolist() == [4 / 64]
    assert float(average_precision(1 - masks.float(), masks)) == 4 / 64  # all pixels of the mask come last, together


def test_mistakes_are_explained():
    masks = torch.ones(2, 8, 8, dtype=torch.bool)
    with pytest.raises(CAMError, match="one map and one mask for each image"):
        average_precision(torch.rand(3, 1, 8, 8), masks)
    with pytest.raises(CAMError, match="at least one pixel"):
        average_precision(torch.rand(2, 8, 8), ~masks)
    with pytest.raises(CAMError, match="NaN in sample 1"):
        average_precision(torch.stack((torch.ones(8, 8), torch.full((8, 8), torch.nan))), masks)
