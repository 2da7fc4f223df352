"""What has no rule is named; the identity rule at zeros; parts beside the way; activations of every size."""

import pytest
import torch
from torch import Tensor, nn

import captum_cams as cc
from tests.support.networks import seeded
from tests.support.written import FIRST, POOL, K, Written

REFUSED = {
    "pow": lambda x: x.pow(2),
    "square": lambda x: x * x,
    "exp": lambda x: x.exp(),
    "abs": lambda x: x.abs(),
    "cumsum": lambda x: x.cumsum(2),
    "fft": lambda x: torch.fft.fft2(x).abs(),
    "rounded division": lambda x: torch.div(x, 2, rounding_mode="floor"),
    "two rectified maps": lambda x: x.relu() * x.flip(2).clamp(min=0),
    "two gates": lambda x: x.sigmoid() * x.flip(2).sigmoid(),
    "quotient": lambda x: x / (x.relu() + 1),
    "three factors": lambda x: torch.einsum("nchw,nchw,nchw->nchw", x, x.sigmoid(), x.sigmoid()),
    "an einsum without an arrow": lambda x: torch.einsum("abcd", x),
    "write": lambda x: x.clone().exp_(),
}


PRODUCTS = {"pow", "square", "two rectified maps"}
"""Products of two maps, which get half of the relevance each, but not products of pixels."""


@pytest.mark.parametrize(
    ("name", "place"),
    [*((name, "pixels") for name in REFUSED), *((name, "map") for name in REFUSED if name not in PRODUCTS)],
)
def test_what_has_no_rule_is_named_on_pixels_and_on_maps(name, place):
    step, conv = (lambda n, x: REFUSED[name](x)), (lambda n, x: n.first(x))
    net = seeded(lambda: Written([*((step, conv) if place == "pixels" else (conv, step)), POOL["sum"][0]]))
    with pytest.raises(cc.CAMError, match="relevance cannot pass"):
        cc.LRP(net).contributions(torch.rand(2, 3, 8, 8), 1)


class BeforeTheConvolution(nn.Module):
    """ReLU, an operation with the identity rule, convolution."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.stem, self.relu, self.norm = nn.Conv2d(3, K, 3), nn.ReLU(), norm
        self.conv, self.head = nn.Conv2d(K, K, 3), nn.Linear(K, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.conv(self.norm(self.relu(self.stem(x)))).relu().mean((2, 3)))


NORMS = {
    "batch": lambda: nn.BatchNorm2d(K),
    "group": lambda: nn.GroupNorm(2, K),
    "layer": lambda: nn.LayerNorm((K, 8, 8)),
    "sigmoid": nn.Sigmoid,
    "softplus": nn.Softplus,
}


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", ["lrp", "clrp", "sglrp", "fgcam"])
def test_identity_passes_relevance_where_the_input_is_zero(norm, name):
    net, x = seeded(lambda: BeforeTheConvolution(NORMS[norm]())), torch.rand(2, 3, 10, 10)
    options = {"layer": "conv"} if name == "fgcam" else {}
    at = {place: cc.create(name, net, **options, **end(name, place)).contributions(x, 1) for place in ("norm", "relu")}
    assert (net.relu(net.stem(x)) == 0).float().mean() > 0.05
    torch.testing.assert_close(at["relu"], at["norm"], rtol=1e-5, atol=1e-7 * float(at["norm"].abs().max()))


def end(name: str, place: str) -> dict[str, str]:
    return {"to": place} if name == "fgcam" else {"layer": place}


def test_a_part_beside_the_way_takes_its_share():
    """A skip around the layer is no constant, also where relevance goes to the layer alone."""
    net = seeded(lambda: Written([FIRST["bias"][0], lambda n, x: x + n.conv(x), POOL["sum"][0]]))
    x = torch.rand(2, 3, 8, 8)
    first = net.first(x).detach()
    whole, part = first + net.conv(first).detach(), net.conv(first).detach()
    share = cc.LRP(net, "conv").contributions(x, 1)
    net.steps = [FIRST["bias"][0], lambda n, x: n.gate(x), POOL["sum"][0]]
    net.gate.forward = lambda x: whole  # the sum as the output of a layer
    expected = cc.LRP(net, "gate").contributions(x, 1) * part / whole
    torch.testing.assert_close(share, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("scale", [1e-30, 1e-15, 1.0, 1e15, 1e30])
@pytest.mark.parametrize("name", ["lrp", "fgcam", "relevancecam"])
def test_the_size_of_the_activations_changes_nothing(scale, name):
    """Weights scaled up and down again leave the function as it is; a dead sample stays zero."""
    x = torch.rand(2, 3, 8, 8)
    x[1] = 0
    layers = [nn.Conv2d(3, K, 3, bias=False), nn.ReLU(), nn.Conv2d(K, K, 3, bias=False), nn.ReLU()]
    net = seeded(lambda: nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(K, 5, bias=False)))
    cam = cc.create(name, net, layer="3")
    expected = cam.contributions(x, 1) * (scale if name == "relevancecam" else 1)  # whose map is of activations
    with torch.no_grad():
        net[0].weight *= scale
        net[6].weight /= scale
    found = cam.contributions(x, 1)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-6 * float(expected.abs().max()))
    assert not found[1].any()
