"""New weights for the layers of a network, from the top down."""

import threading

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from captum_cams.engine.random_state import DrawnFrom
from captum_cams.engine.reinitialise import from_the_top, reinitialise
from tests.support.networks import NETWORKS, images


class Reversed(nn.Module):
    """Its layers run in another order than they are made in, and a parameter belongs to no layer."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.shift = nn.Linear(4, 3), nn.Parameter(torch.randn(4))
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.first, self.spare = nn.Linear(5, 4), nn.Linear(2, 2)

    def forward(self, x):
        x = self.first(x) + self.shift
        return self.head(self.attention(x, x, x)[0].mean(1))


def test_layers_come_in_the_order_of_the_run():
    net = Reversed().eval()
    found = from_the_top(net, lambda: net(torch.rand(1, 6, 5)))
    assert [*found] == ["head", "attention.out_proj", "attention", "first", "spare", ""]
    assert all(found[name] is module for name, module in net.named_modules() if name in found)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_parameter_belongs_to_one_layer(name):
    net = NETWORKS[name]()
    found = from_the_top(net, lambda: net(images(1)))
    own = [parameter for module in found.values() for parameter in module.parameters(recurse=False)]
    assert sorted(map(id, own)) == sorted(map(id, net.parameters()))


def test_reset_parameters_is_used_with_the_seed_alone():
    expected, first, second = (nn.Conv2d(3, 5, 3) for _ in range(3))
    state = torch.get_rng_state()
    reinitialise(first, 7)
    torch.rand(5)
    reinitialise(second, 7)
    torch.set_rng_state(state)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        expected.reset_parameters()
    assert torch.equal(first.weight, expected.weight)
    assert torch.equal(second.bias, expected.bias)
    reinitialise(second, 8)
    assert not torch.equal(first.weight, second.weight)


def test_the_random_state_does_not_change():
    layer, state = nn.Linear(5, 5), torch.get_rng_state()
    reinitialise(layer, 0)
    reinitialise(Holder(), 0)
    assert torch.equal(state, torch.get_rng_state())


class Interrupted(nn.Linear):
    """While it gets new weights, another thread draws random numbers."""

    def reset_parameters(self):
        super().reset_parameters()
        if hasattr(self, "drawn"):
            thread = threading.Thread(target=lambda: self.drawn.append(torch.rand(4)))
            thread.start()
            thread.join()
            nn.init.normal_(self.bias)


def test_other_threads_draw_as_if_nothing_happened():
    layer = Interrupted(3, 2)
    layer.drawn = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        expected = [torch.rand(4), torch.rand(4)]
        torch.manual_seed(5)
        reinitialise(layer, 1)
        assert torch.equal(torch.cat([*layer.drawn, torch.rand(4)]), torch.cat(expected))
        torch.manual_seed(1)
        same, bias = nn.Linear(3, 2), torch.empty(2).normal_()
    assert torch.equal(layer.weight, same.weight)
    assert torch.equal(layer.bias, bias)


def drawn() -> list[torch.Tensor]:
    """What many functions draw."""
    full = torch.ones(4, 5)
    found = [torch.rand(3), torch.randn(2, 2), torch.randint(0, 9, (4,)), torch.randperm(5), torch.rand_like(full)]
    found += [torch.randn_like(full), torch.bernoulli(full / 2), torch.multinomial(full[0], 2), full.clone().uniform_()]
    found += [torch.normal(full), full.clone().exponential_(), F.dropout(full), F.dropout(full, training=False)]
    for name in ("kaiming_uniform_", "kaiming_normal_", "xavier_uniform_", "orthogonal_", "trunc_normal_", "normal_"):
        found.append(getattr(nn.init, name)(torch.empty(4, 5)))
    return [*found, nn.init.sparse_(torch.empty(4, 5), 0.5), nn.init.zeros_(torch.empty(4))]


def test_all_functions_draw_what_they_would_draw_from_the_seed():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        expected = drawn()
        torch.manual_seed(4)
        state = torch.get_rng_state()
        with DrawnFrom(torch.Generator().manual_seed(3)):
            found = drawn()
            own = torch.rand(2, generator=torch.Generator().manual_seed(8))
        assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
    assert torch.equal(own, torch.rand(2, generator=torch.Generator().manual_seed(8)))


class Holder(nn.Module):
    """Parameters without ``reset_parameters``: spread, constant, in half precision, and of integers."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        spread = 3 + 0.5 * torch.randn(40_000, generator=generator)
        self.spread, self.low = nn.Parameter(spread), nn.Parameter(spread.bfloat16())
        self.constant, self.scalar = nn.Parameter(torch.full((3,), 2.0)), nn.Parameter(torch.tensor(4.0))
        self.whole = nn.Parameter(torch.arange(3), requires_grad=False)


def test_other_parameters_keep_their_mean_and_spread():
    before, after = Holder(), Holder()
    reinitialise(after, 3)
    for old, new in ((before.spread.data, after.spread.data), (before.low.data, after.low.data)):
        assert old.dtype == new.dtype
        assert float((old == new).float().mean()) < 0.05
        assert abs(float(old.float().mean() - new.float().mean())) < 0.02
        assert abs(float(old.float().std() - new.float().std())) < 0.02
    assert not torch.equal(after.spread.bfloat16(), after.low)
    for name in ("constant", "scalar", "whole"):
        assert torch.equal(getattr(before, name), getattr(after, name)), name


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated")
@pytest.mark.parametrize("norm", [nn.utils.weight_norm, nn.utils.parametrizations.weight_norm])
def test_a_computed_weight_changes_through_its_parameters(norm):
    net = nn.Sequential(norm(nn.Linear(6, 5)))
    x = torch.rand(2, 6)
    before = net(x)
    for number, module in enumerate(from_the_top(net, lambda: net(x)).values()):
        reinitialise(module, number)
    assert float((net(x) - before).detach().abs().amax()) > 0.01
