"""Models that take images N×H×W×C, or as bytes: each method against the same network with images of the usual form."""

import pytest
import torch
from torch import Tensor, nn

import captum_cams as cc
from captum_cams import metrics, visual
from tests.support.explainers import ANYWHERE, explainer
from tests.support.networks import images
from tests.support.tasks import small

pytestmark = pytest.mark.filterwarnings("ignore:the inputs range from")


class Taking(nn.Module):
    """A network that prepares its images itself."""

    def __init__(self, prepare) -> None:
        super().__init__()
        self.prepare, self.network = prepare, small("multiclass")
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        return self.network(self.prepare(x))


BYTES = (images(2) * 40 + 100).clamp(0, 255).byte()[..., :32]  # N×3×40×32
FLOATS = BYTES.float() / 255
LAST = FLOATS.permute(0, 2, 3, 1).contiguous()
PIXELS = ("lrp", "clrp", "sglrp", "relevancecam", "fgcam", "guidedcam", "opticam", "fullgrad", "xrai")


def normal(x):
    return (x - 0.4) / 0.2


def channels_last(x):
    assert x.shape[3] == 3
    assert x.view(len(x), -1).shape[1] == x[0].numel()  # as contiguous as the user's own images
    return normal(x.permute(0, 3, 1, 2))


def of_bytes(x):
    assert x.dtype == torch.uint8
    return normal(x.float() / 255)


def of_bytes_last(x):
    return of_bytes(x.permute(0, 3, 1, 2))


def rounding(x):
    """What a network of bytes sees of floating-point images from 0 to 255."""
    return normal(x.round().clamp(0, 255) / 255)


def close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=2e-4 * float(expected.abs().max()) + 1e-7)


def method(name, model):
    return explainer(
        name, model, None if name in ("lrp", "clrp", "sglrp", "multilayercam", "fullgrad", "xrai") else "network.last"
    )


@pytest.mark.parametrize("name", [name for name in ANYWHERE if "(" not in name and name != "cam"])
def test_a_method_explains_networks_that_take_images_in_their_own_form(name):
    given, usual = method(name, Taking(channels_last)), method(name, Taking(normal))
    close(given.attribute(LAST, 1), usual.attribute(FLOATS, 1))
    assert given.heatmap(LAST, 1).shape == (2, 40, 32)
    for prepare, inputs in ((of_bytes, BYTES), (of_bytes_last, BYTES.permute(0, 2, 3, 1))):
        explain = method(name, Taking(prepare)).attribute
        if name in PIXELS:
            with pytest.raises(cc.CAMError, match="need floating-point images"):
                explain(inputs, 1)
        else:
            close(explain(inputs, 1), method(name, Taking(rounding)).attribute(BYTES.float(), 1))


def test_metrics_of_images_in_another_form():
    maps = torch.rand(2, 1, 5, 4, generator=torch.Generator().manual_seed(0))
    for prepare, inputs, usual, standard in (
        (channels_last, LAST, normal, FLOATS),
        (of_bytes, BYTES, rounding, BYTES.float()),
        (of_bytes_last, BYTES.permute(0, 2, 3, 1), rounding, BYTES.float()),
    ):
        model, same = Taking(prepare), Taking(usual)
        for curve in (metrics.deletion_curve, metrics.insertion_curve):
            close(curve(model, inputs, maps, 1, preset="quick"), curve(same, standard, maps, 1, preset="quick"))
        for masking in ("multiply", "fgcam"):
            found = metrics.average_drop(model, inputs, maps, 1, masking=masking)
            close(found, metrics.average_drop(same, standard, maps, 1, masking=masking))
        explain, expected = cc.GradCAM(model, "network.last").attribute, cc.GradCAM(same, "network.last").attribute
        found = metrics.adcc(model, inputs, maps, 1, explain=explain)
        close(found, metrics.adcc(same, standard, maps, 1, explain=expected))


def test_pictures_of_images_with_channels_last():
    shown = visual.displayable(LAST, (0.1, 0.2, 0.3), (1.0, 1.0, 2.0))
    assert torch.equal(shown, visual.displayable(FLOATS, (0.1, 0.2, 0.3), (1.0, 1.0, 2.0)))
    assert visual.overlay(shown, torch.rand(2, 5, 4)).shape == FLOATS.shape


def test_the_order_of_the_axes_is_what_the_first_convolution_reads():
    many = torch.rand(2, 6, 6, 13)  # no axis looks like colours

    class Spectral(nn.Module):
        def __init__(self, order) -> None:
            super().__init__()
            self.late, self.conv, self.fc, self.order = nn.Conv2d(6, 4, 1), nn.Conv2d(13, 6, 1), nn.Linear(4, 3), order

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.late(self.conv(x.permute(self.order)).relu()).relu().mean((2, 3)))

    torch.manual_seed(0)
    last, first = Spectral((0, 3, 1, 2)).eval(), Spectral((0, 1, 2, 3)).eval()
    first.load_state_dict(last.state_dict())
    heat = cc.GradCAM(last, "late").heatmap(many, 0)
    assert torch.equal(heat, cc.GradCAM(first, "late").heatmap(many.permute(0, 3, 1, 2), 0))
    narrow = torch.rand(2, 13, 50, 1)  # a sequence of 13 channels, and no grey image
    assert cc.GradCAM(first, "late").heatmap(narrow, 0).shape == (2, 50, 1)


class Patches(nn.Module):
    """Reads images N×H×W×C without a convolution before the head."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.mix, self.fc = nn.Linear(3, 8), nn.Conv2d(8, 8, 3), nn.Linear(8, 3)

    def forward(self, x: Tensor, scale: float = 1.0) -> Tensor:
        return self.fc(self.mix(self.embed(x * scale).permute(0, 3, 1, 2)).relu().mean((2, 3)))


def test_an_order_that_cannot_be_decided_is_declared():
    torch.manual_seed(0)
    model = Patches().eval()
    with pytest.raises(cc.CAMError, match=r"ImageInput\(model, channels_last=True\)"):
        cc.GradCAM(model, "mix").heatmap(LAST, 1)
    declared = cc.ImageInput(model, channels_last=True)
    heat = cc.GradCAM(declared, "mix").heatmap(FLOATS, 1, {"scale": 2.0})
    assert heat.shape == (2, 40, 32)
    assert torch.equal(heat, cc.GradCAM(declared, "model.mix").heatmap(FLOATS * 2, 1))
