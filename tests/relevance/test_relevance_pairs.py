"""Networks that compute the same function, written in two ways, give the same relevance."""

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import captum_cams as cc
from tests.support.networks import seeded
from tests.support.written import FIRST, MAP, PIXELS, POOL, Written


def agree(pairs, seed: int, kinds=("identity",)) -> None:
    """The same output and the same relevance of the pixels."""
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(seed)).double() + 0.3
    nets = [seeded(lambda way=way: Written([pair[way] for pair in pairs]), seed).double() for way in (0, 1)]
    with torch.no_grad():
        for net in nets:
            net.norm.weight[0] *= -1
    previous = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        torch.testing.assert_close(nets[1](x), nets[0](x))
        for batch_norm in kinds:
            found = [cc.LRP(net, batch_norm=batch_norm).contributions(x, 1) for net in nets]
            largest = float(found[0].abs().max())
            torch.testing.assert_close(found[1], found[0], rtol=1e-6, atol=1e-8 * largest)
    finally:
        torch.set_default_dtype(previous)


EVERY = [
    (kind, name)
    for kind, pairs in (("pixels", PIXELS), ("first", FIRST), ("map", MAP), ("pool", POOL))
    for name in pairs
]
PLAIN = {"first": FIRST["bias"][:1] * 2, "map": (lambda n, x: n.conv(x.relu()),) * 2, "pool": POOL["sum"][:1] * 2}


@pytest.mark.parametrize(("kind", "name"), EVERY)
def test_each_pair_agrees(kind, name):
    pair = {"pixels": PIXELS, "first": FIRST, "map": MAP, "pool": POOL}[kind][name]
    chosen = {**PLAIN, kind: pair}
    agree([chosen[part] for part in ("pixels", "first", "map", "pool") if part in chosen], 1, ("identity", "fold"))


@settings(max_examples=25, deadline=None)
@given(
    pixels=st.lists(st.sampled_from(sorted(PIXELS)), max_size=2),
    first=st.sampled_from(sorted(FIRST)),
    maps=st.lists(st.sampled_from(sorted(MAP)), max_size=3),
    pool=st.sampled_from(sorted(POOL)),
    seed=st.integers(0, 1000),
)
def test_compositions_of_pairs_agree(pixels, first, maps, pool, seed):
    # Behind a relu6, both factors of a hard swish in plain operations are as sure to be a gate, which is refused.
    later = maps[maps.index("relu6") + 1 :] if "relu6" in maps else []
    assume(not any(name.startswith("hard swish") for name in later))
    agree([*(PIXELS[p] for p in pixels), FIRST[first], *(MAP[m] for m in maps), POOL[pool]], seed)
