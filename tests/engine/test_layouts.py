"""Transformers and other layouts, and maps of one and three dimensions."""

import pytest
import torch
import torchvision
from torch import Tensor, nn

import captum_cams as cc
from tests.support.explainers import ANYWHERE, EVERY, SEVERAL_LAYERS, WITHOUT_LAYER, explainer
from tests.support.networks import images, seeded
from tests.support.untouched import same, state

# CAM and relevance say that they do not suit attention; Guided CAM multiplies pixels by a map, which it can do.
RELEVANCE = ("fgcam", "lrp", "clrp", "sglrp", "relevancecam", *WITHOUT_LAYER)  # and biases
SUITED = [name for name in EVERY if name != "cam" and not name.startswith(RELEVANCE)]

# FG-CAM has got a base with reshape=, and noise is drawn for the layer's own shape.
FREE = [n for n in ANYWHERE if n not in ("cam", "random") and not n.startswith(("fgcam", "multilayercam"))]


def vit() -> nn.Module:
    return seeded(lambda: torchvision.models.VisionTransformer(20, 4, 2, 2, 24, 48, num_classes=5))


def swin() -> nn.Module:
    return seeded(lambda: torchvision.models.SwinTransformer([4, 4], 12, [1, 1], [2, 2], [4, 4], num_classes=5))


class Attended(nn.Module):
    """Channels last, and a class token, without attention: what each method gives can be had from a convolution."""

    def __init__(self, token: bool) -> None:
        super().__init__()
        self.conv, self.layer, self.fc, self.token = nn.Conv2d(3, 6, 8, 8), nn.Identity(), nn.Linear(6, 5), token

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x).relu()
        if not self.token:
            return self.fc(self.layer(x.permute(0, 2, 3, 1)).mean((1, 2)))
        x = x.flatten(2).transpose(1, 2)
        return self.fc(self.layer(torch.cat((0 * x[:, :1], x), 1))[:, 1:].mean(1))


class Convolved(Attended):
    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.layer(self.conv(x).relu()).mean((2, 3)))


@pytest.mark.parametrize("name", FREE)
@pytest.mark.parametrize("reshape", ["tokens", "channels_last"])
def test_a_reshaped_layer_gives_the_map_of_the_same_layer_in_place(name, reshape):
    token, plain = seeded(lambda: Attended(reshape == "tokens")), seeded(lambda: Convolved(True))
    plain.load_state_dict(token.state_dict())
    x = images(2)
    cam = explainer(name, token, "layer", reshape=reshape)
    found = cam.attribute(x, [1, 3])
    expected = explainer(name, plain, "layer").attribute(x, [1, 3])
    scale = 1 if isinstance(cam, cc.ReciproCAM) else float(expected.abs().max())
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4 * scale)


@pytest.mark.parametrize("name", [name for name in SUITED if not name.startswith("guidedcam")])  # it has no ReLUs
@pytest.mark.parametrize(("build", "layer", "reshape"), [(vit, "encoder.layers.encoder_layer_1.ln_1", "tokens")])
def test_a_vision_transformer_is_explained(name, build, layer, reshape):
    model, x = build(), torch.nn.functional.interpolate(images(2), (20, 20))
    before = state(model)
    options = {"step": 4} if name.startswith(("cameras", "sess")) else {}
    cam = explainer(name, model, layer, reshape=reshape, **options)
    if name == "cameras":
        assert "of any size, got an error for an image of 24×24" in message(lambda: cam.attribute(x, [1, 3]))
        return
    maps = cam.attribute(x, [1, 3], relu_attributions=False)
    assert maps.shape[:2] == (2, 1)
    assert maps.shape[2] >= 5
    assert torch.isfinite(maps).all()
    assert maps.std() > 0
    assert same(before, state(model))


@pytest.mark.parametrize("name", [n for n in SUITED if "(" not in n and n != "guidedcam"])
def test_a_swin_transformer_is_explained_where_it_was_found_and_where_it_is_channels_last(name):
    model, x = swin(), torch.nn.functional.interpolate(images(2), (32, 32))
    found = explainer(name, model)
    assert found.attribute(x, 1).shape[:2] == (2, 1)
    if name not in (*SEVERAL_LAYERS, "rise"):  # and none
        assert found.layer is model.permute
    by_reshape = explainer(name, model, "norm", reshape="channels_last")
    maps, expected = by_reshape.attribute(x, 1), explainer(name, model, "permute").attribute(x, 1)
    scale = 1 if name == "reciprocam" else float(expected.abs().max())
    torch.testing.assert_close(maps, expected, rtol=0, atol=1e-4 * scale)


def message(action) -> str:
    with pytest.raises(cc.CAMError) as caught:
        action()
    return str(caught.value)


def test_what_does_not_fit_is_explained():
    model, x = vit(), torch.nn.functional.interpolate(images(2), (20, 20))
    last = "encoder.layers.encoder_layer_1"
    assert 'pass reshape= ("tokens" for ViT' in message(lambda: cc.GradCAM(model, "heads.head").attribute(x, 1))
    text = message(lambda: cc.GradCAM(model, "encoder.ln", reshape="tokens").attribute(x, 1))
    assert "the first norm of the last block" in text
    assert "needs a layer" in message(lambda: cc.GradCAM(model, reshape="tokens").attribute(x, 1))
    odd = cc.tokens(prefix=0)
    text = message(lambda: cc.GradCAM(model, f"{last}.ln_1", reshape=odd).attribute(x, 1))
    assert "prefix = 0, got 2×26×24" in text
    wide = cc.GradCAM(model, f"{last}.ln_1", reshape=cc.tokens(height=1)).attribute(x, 1)
    assert wide.shape == (2, 1, 1, 25)
    one_way = cc.AblationCAM(model, f"{last}.ln_1", reshape=cc.tokens().to_map)
    assert "pass reshape=Layout(to_map, to_layer)" in message(lambda: one_way.attribute(x, 1))
    assert "reshape must be one of" in message(lambda: cc.GradCAM(model, "encoder", reshape="grid"))


def test_tokens_fill_the_grid_row_by_row_and_go_back():
    layout, output = cc.tokens(prefix=2, height=2), torch.randn(1, 8, 5)
    maps = layout.to_map(output)
    assert maps.shape == (1, 5, 2, 3)
    for row in range(2):
        for column in range(3):
            assert torch.equal(maps[0, :, row, column], output[0, 2 + 3 * row + column])
    assert torch.equal(layout.replaced(maps, output), output)
    changed = layout.replaced(torch.cat((maps, 2 * maps)), output)
    assert torch.equal(changed[0], output[0])
    assert torch.equal(changed[1], torch.cat((output[0, :2], 2 * output[0, 2:])))
    assert cc.tokens().to_map(torch.randn(3, 2, 5)).shape == (3, 5, 1, 1)


@pytest.mark.parametrize(
    ("prefix", "height", "shape"), [(1, None, (2, 7, 5)), (1, 4, (2, 7, 5)), (3, None, (2, 3, 5)), (0, None, (2, 4))]
)
def test_tokens_that_fill_no_grid_are_refused(prefix, height, shape):
    text = message(lambda: cc.tokens(prefix, height).to_map(torch.zeros(shape)))
    assert f"with prefix = {prefix}, got {'×'.join(map(str, shape))}" in text


def network(dimensions: int) -> nn.Module:
    conv = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[dimensions - 1]
    pool = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)[dimensions - 1]
    head = (pool(1), nn.Flatten(), nn.Linear(8, 5))
    return seeded(lambda: nn.Sequential(conv(2, 6, 3), nn.ReLU(), conv(6, 8, 3, stride=2), nn.ReLU(), *head))


VOLUMES = [name for name in cc.names() if getattr(type(explainer(name, network(2), "3")), "any_dimension", False)]


@pytest.mark.parametrize("name", VOLUMES)
@pytest.mark.parametrize("dimensions", [1, 3])
def test_sequences_and_volumes(name, dimensions):
    assert len(VOLUMES) >= 12
    model, size = network(dimensions), (21, 13, 11)[:dimensions]
    x = torch.randn(2, 2, *size, generator=torch.Generator().manual_seed(0))
    cam = explainer(name, model, "3" if name in SEVERAL_LAYERS else None)
    maps = cam.attribute(x, [1, 3])
    assert cam.layer is (None if cam.at_input_size else model[3])  # RISE needs no layer
    assert maps.shape == (2, 1, *(size if cam.at_input_size else model[:4](x).shape[2:]))
    assert cam.heatmap(x, [1, 3]).shape == (2, *size)
    for n, target in enumerate((1, 3)):
        single = cam.attribute(x[n : n + 1], target)
        torch.testing.assert_close(maps[n : n + 1], single, rtol=0, atol=1e-4 * float(maps.max()))


@pytest.mark.parametrize("name", [name for name in VOLUMES if name != "rise"])  # its grid has cells along each axis
def test_a_sequence_is_an_image_of_one_row(name):
    model, x = network(1), torch.randn(2, 2, 21, generator=torch.Generator().manual_seed(0))
    flat = network(2)
    for i in (0, 2):
        flat[i] = nn.Conv2d(model[i].in_channels, model[i].out_channels, (1, 3), model[i].stride[0])
    weights = model.state_dict()
    flat.load_state_dict({k: v[:, :, None] if k in ("0.weight", "2.weight") else v for k, v in weights.items()})
    found = explainer(name, model, "3" if name in SEVERAL_LAYERS else None).attribute(x, [1, 3])
    expected = explainer(name, flat, "3").attribute(x[:, :, None], [1, 3])[:, :, 0]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4 * float(expected.abs().max()))


def test_a_method_of_the_plane_refuses_a_sequence():
    x = torch.zeros(2, 2, 21)
    assert "CAMERAS needs images N×C×H×W, got 2×2×21" in message(lambda: cc.CAMERAS(network(1)).attribute(x))
    assert "JitterCAM needs images N×C×H×W, got 2×2×21" in message(lambda: cc.JitterCAM(network(1)).attribute(x))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("build", "layer", "reshape"),
    [
        ("vit_b_16", "encoder.layers.encoder_layer_11.ln_1", "tokens"),
        ("swin_t", None, None),
        ("swin_t", "features.7", "channels_last"),
    ],
)
def test_torchvisions_transformers(build, layer, reshape):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = torchvision.models.get_model(build, weights=None, num_classes=10).eval()
    if build == "vit_b_16":  # torchvision begins with a head of zeros
        nn.init.normal_(model.heads.head.weight, generator=torch.Generator().manual_seed(0))
    x = torch.nn.functional.interpolate(images(1), (224, 224), mode="bilinear")
    for name in ("gradcam", "layercam", "eigencam", *(("fdcam", "reciprocam") if build == "swin_t" else ())):
        maps = cc.create(name, model, layer, reshape=reshape).attribute(x, 1, relu_attributions=False)
        assert maps.shape == ((1, 1, 14, 14) if build == "vit_b_16" else (1, 1, 7, 7))
        assert maps.std() > 0
