"""Generators of random numbers, which must be the same with every version of Python."""

import pytest
import torch

from captum_cams.engine.generators import generator_of


def test_a_generator_is_seeded_as_it_is_documented():
    assert generator_of(0, 1, 2).initial_seed() % 2**64 == 0xB31087BB07799231  # printf "0 1 2" | sha256sum


@pytest.mark.parametrize("numbers", [(0,), (0, 0), (1, 0), (0, 1), (-1, 2), (0, 12), (0, 1, 2), (2**70,)])
def test_other_numbers_draw_other_numbers(numbers):
    drawn = torch.rand(4, generator=generator_of(*numbers))
    assert torch.equal(drawn, torch.rand(4, generator=generator_of(*numbers)))
    for others in ((3,), (*numbers, 0), (*numbers[::-1], 5)):
        assert not torch.equal(drawn, torch.rand(4, generator=generator_of(*others)))
