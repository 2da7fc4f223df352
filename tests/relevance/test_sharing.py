"""The backward passes that carry relevance, each against its sum."""

import pytest
import torch

from captum_cams import CAMError
from captum_cams.relevance.sharing import Passed, Reading, shared


def test_relevance_is_shared_in_proportion_to_the_strengths():
    first, second = (torch.tensor(v, requires_grad=True) for v in ([1.0, 2.0, 0.0], [3.0, -2.0, 0.0]))
    kept = [Reading([first.detach(), first.detach() * 2]), Reading([second.detach()])]
    output = shared(list(zip((first, second), kept, strict=True)), lambda a, b, c: a + b + c, torch.full((3,), 7.0))
    assert output.tolist() == [7.0] * 3
    output.backward(torch.tensor([12.0, 4.0, 5.0]))  # of totals 6, 4 and 0
    assert first.grad.tolist() == [6.0, 6.0, 0.0]
    assert second.grad.tolist() == [6.0, -2.0, 0.0]


def test_another_divisor_takes_the_place_of_the_total():
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    output = shared([(x, Reading([x.detach()]))], lambda a: a, x.detach(), torch.tensor([4.0, 0.0]))
    output.backward(torch.tensor([12.0, 5.0]))
    assert x.grad.tolist() == [3.0, 0.0]


@pytest.mark.parametrize("value", [torch.inf, torch.nan, 3e38])
def test_a_total_that_is_not_finite_is_refused(value):
    x = torch.tensor([value, value], requires_grad=True)
    with pytest.raises(CAMError, match=r"contributions that torch\.float32 can hold"):
        shared([(x, Reading([x.detach()]))], lambda a: a + a, x.detach())


def test_finite_totals_whose_sum_is_not_finite_are_taken():
    x = torch.tensor([3e38, 3e38], requires_grad=True)
    shared([(x, Reading([x.detach()]))], lambda a: a, x.detach()).backward(torch.tensor([1.0, 2.0]))
    torch.testing.assert_close(x.grad, torch.tensor([1.0, 2.0]))


def test_what_passes_is_added_up_where_it_was_repeated():
    x = torch.zeros(2, 1, requires_grad=True)
    Passed.apply(x, [torch.zeros(2, 3)]).backward(torch.tensor([[1.0, 2.0, 4.0], [8.0, 16.0, 32.0]]))
    assert x.grad.tolist() == [[7.0], [56.0]]


def test_tensors_are_kept_as_they_were_read():
    x = torch.zeros(2)
    kept, copied = Reading([x]), Reading([x])
    copied.copy()
    x.add_(1)
    assert copied.tensors()[0].tolist() == [0.0, 0.0]
    with pytest.raises(RuntimeError, match="changed in place"):
        kept.tensors()
