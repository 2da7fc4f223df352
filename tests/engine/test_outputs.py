"""Outputs that a layer or a model may have: a named tuple of one tensor, and classes that are switched off."""

from collections import namedtuple

import pytest
import torch
from torch import Tensor, nn

import captum_cams as cc

Features = namedtuple("Features", "map")


class Named(nn.Module):
    """Returns its map as the only field of a named tuple, or as it is."""

    def __init__(self, named: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.named = nn.Conv2d(3, 4, 3), named

    def forward(self, x: Tensor) -> Features:
        return Features(self.conv(x)) if self.named else self.conv(x)


class Net(nn.Module):
    """Sets the logit of its last class, as a model does that switches classes off."""

    def __init__(self, named: bool = False, last: float = -100.0) -> None:
        super().__init__()
        self.layer, self.fc, self.last = Named(named), nn.Linear(4, 3), last

    def forward(self, x: Tensor) -> Tensor:
        features = self.layer(x)
        features = features.map if isinstance(features, Features) else features
        logits = self.fc(features.relu().mean((2, 3)))
        return torch.where(torch.tensor([True, True, False]), logits, self.last)


def of(net: Net, name: str) -> Tensor:
    return cc.create(name, net.eval(), "layer").attribute(torch.linspace(0, 1, 384).view(2, 3, 8, 8), 1)


@pytest.mark.parametrize("name", ["gradcam", "fdcam"])
def test_a_layer_may_return_a_named_tuple_of_one_tensor(name):
    assert torch.equal(of(Net(named=True), name), of(Net(), name))


@pytest.mark.parametrize("name", ["fdcam", "ablationcam"])
def test_a_model_may_set_the_logits_of_other_classes_to_minus_infinity(name):
    expected = of(Net(), name)
    assert expected.any()
    torch.testing.assert_close(of(Net(last=-torch.inf), name), expected)
