"""Which networks a method refuses by design, and what is said where something is refused."""

import pytest

import captum_cams as cc
from tests.support.explainers import EVERY
from tests.support.networks import NETWORKS

NOT_LINEAR = ("plain", "batch norm", "dense", "functional ReLU")  # the head, right behind the layer
RELU_AS_FUNCTION = ("residual", "dense", "functional ReLU", "in-place ReLU")
REFUSED = {("cam", net): "use Grad-CAM" for net in NOT_LINEAR} | {
    (name, net): "replace it by nn.ReLU" for name in EVERY if name.startswith("guidedcam") for net in RELU_AS_FUNCTION
}
"""(method, network) → words of the refusal."""
SUITED = [(name, net) for name in EVERY for net in NETWORKS if (name, net) not in REFUSED]
"""Every other pair, which must be explained."""


def said(action, *args) -> str:
    """The message, which never prints the whole of what came."""
    with pytest.raises(cc.CAMError) as caught:
        action(*args)
    text = str(caught.value)
    assert len(text) < 420, text
    return text
