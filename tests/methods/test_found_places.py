"""Every method on transformers whose layer or layout is found: the map is that of a given layer and layout."""

import re
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import timm
import torch
import torchvision
import transformers
from torch import Tensor, nn

import captum_cams as cc
from captum_cams.bases import spatial
from captum_cams.registry import lookup
from tests.support.explainers import SEVERAL_LAYERS, explainer
from tests.support.networks import seeded

SIDE, TARGET = 32, [1, 3]
TOKENS = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2}
HF = {"image_size": SIDE, "num_labels": 10, "initializer_range": 0.1}
SWIN = {"embed_dim": 16, "depths": (2, 2), "num_heads": (2, 4), "window_size": 2}


@dataclass(frozen=True)
class Net:
    """A network, the layer that is found in it, the layout of this layer, and its last norm."""

    build: Callable[[], nn.Module]
    layer: str
    layout: cc.Layout | None
    last: str

    def model(self) -> nn.Module:
        return seeded(self.build).double()


def torchvision_vit() -> nn.Module:
    model = torchvision.models.VisionTransformer(SIDE, 8, 3, 2, 32, 64, num_classes=10)
    nn.init.normal_(model.heads.head.weight, std=0.3)  # torchvision begins with zeros
    return model


def convnext() -> nn.Module:
    blocks = [torchvision.models.convnext.CNBlockConfig(*sizes) for sizes in ((16, 32, 1), (32, None, 2))]
    return torchvision.models.ConvNeXt(blocks, num_classes=10, layer_scale=1.0)


def timm_net(name: str, **options: object) -> Callable[[], nn.Module]:
    return lambda: timm.create_model(name, img_size=SIDE, num_classes=10, **options)


def hugging_face(name: str, **options: object) -> Callable[[], nn.Module]:
    config = getattr(transformers, f"{name}Config")(**HF, **options)
    return lambda: getattr(transformers, f"{name}ForImageClassification")(config)


NETS = {
    "torchvision ViT": Net(torchvision_vit, "encoder.layers.encoder_layer_2.ln_1", cc.tokens(), "encoder.ln"),
    "timm ViT": Net(
        timm_net("vit_tiny_patch16_224", patch_size=8, depth=3, embed_dim=32, num_heads=2),
        "blocks.2.norm1",
        cc.tokens(),
        "norm",
    ),
    "timm Swin": Net(timm_net("swin_tiny_patch4_window7_224", **SWIN), "norm", cc.CHANNELS_LAST, "norm"),
    "HF ViT": Net(
        hugging_face("ViT", **TOKENS, intermediate_size=64, patch_size=8),
        "vit.layers.2.layernorm_before",
        cc.tokens(),
        "vit.layernorm",
    ),
    "HF DINOv2": Net(
        hugging_face("Dinov2", **TOKENS, patch_size=8), "dinov2.layernorm", cc.tokens(), "dinov2.layernorm"
    ),
    "HF Swin": Net(hugging_face("Swin", patch_size=4, **SWIN), "swin.layernorm", cc.tokens(0), "swin.layernorm"),
    "ConvNeXt": Net(convnext, "features.3.1", None, "features.3.1"),
}
FROM_PIXELS = [name for name in cc.names() if issubclass(lookup(name), cc.OutputRelevance)]


def pictures() -> Tensor:
    return torch.rand(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def assert_same(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


# Each method meets one network, in turn; those that need the layout outside of the first run meet two more.
IN_TURN = [(name, list(NETS)[place % len(NETS)]) for place, name in enumerate(cc.names())]
IN_TURN += [(name, net) for name in (*FROM_PIXELS, "fgcam", "chefer") for net in ("timm ViT", "timm Swin")]


@pytest.mark.parametrize(("name", "net"), sorted({*IN_TURN}))
def test_a_found_layer_gives_the_map_of_a_given_layer_and_layout(name, net):
    given, x = NETS[net], pictures()
    model = given.model()
    # First, as the model is new then and its layouts are not known.
    named = explainer(name, model, given.layer)
    written = explainer(name, model, given.layer, reshape=given.layout)
    found = named if name in FROM_PIXELS else explainer(name, model)
    try:
        maps = named.attribute(x, TARGET, relu_attributions=False)
    except cc.CAMError as error:
        # A layout that is found holds for one size of images; reshape="tokens" also for the other sizes of CAMERAS.
        for cam in (found,) if name == "cameras" else (found, written):
            with pytest.raises(cc.CAMError, match=re.escape(str(error))):
                cam.attribute(x, TARGET)
        return
    assert maps.any()
    assert_same(written.attribute(x, TARGET, relu_attributions=False), maps)
    assert_same(named.attribute(x[1:], TARGET[1], relu_attributions=False), maps[1:])
    if name not in SEVERAL_LAYERS:
        assert_same(found.attribute(x, TARGET, relu_attributions=False), maps)


@pytest.mark.parametrize("net", ["timm Swin", "HF Swin"])
def test_several_found_layers_are_read_by_their_layouts(net):
    given, x = NETS[net], pictures()
    found = cc.MultiLayerCAM(given.model())
    maps = found.attribute(x, TARGET)
    assert len(found.found_layers) == 2
    assert found.found_layers[-1] is found.forward_func.get_submodule(given.layer)
    written = cc.MultiLayerCAM(found.forward_func, layers=found.found_layers, reshape=given.layout)
    assert_same(maps, written.attribute(x, TARGET))
    with pytest.raises(cc.CAMError, match="needs its layers"):
        cc.MultiLayerCAM(found.forward_func, reshape=given.layout).attribute(x, TARGET)


@pytest.mark.parametrize("name", ["augmentedcam", "sess"])
def test_wrappers_that_change_images_find_the_layer_on_the_image_itself(name, monkeypatch):
    model, x, seen = NETS["ConvNeXt"].model(), pictures(), []
    searched = spatial.find_layer
    monkeypatch.setattr(spatial, "find_layer", lambda call: seen.append(call.inputs[0]) or searched(call))
    explainer(name, model).attribute(x, TARGET)
    assert len(seen) == 1
    assert torch.equal(seen[0], x)


@pytest.mark.parametrize("to", ["patch_embed.norm", "patch_embed.proj", "layers.0.blocks.1"])
def test_fine_grained_maps_are_read_by_the_layout_of_their_own_layer(to):
    model, x = NETS["timm Swin"].model(), pictures()
    cam = cc.FGCAM(model, "norm", to=to)
    shares = cam.contributions(x, TARGET)
    assert shares.shape == (2, 16, 8, 8)
    if to == "patch_embed.norm":  # the same values, with the channels last
        layout = cc.Layout(lambda output: output.movedim(-1, 1))
        assert_same(cc.LRP(model, to).contributions(x, 1), cc.LRP(model, to, reshape=layout).contributions(x, 1))


# At the last norm of a ViT the head reads the class token alone.
UNREAD = [
    name
    for name in cc.names()
    if getattr(lookup(name), "needs_resume", False) or getattr(lookup(name), "needs_gradient", False)
]


@pytest.mark.parametrize("name", [*UNREAD, *FROM_PIXELS, "relevancecam", "fgcam", "multilayercam"])
def test_tokens_that_the_head_does_not_read_are_refused(name):
    given = NETS["timm ViT"]
    for reshape in (None, given.layout):
        cam = explainer(name, given.model().float(), given.last, reshape=reshape)
        with pytest.raises(cc.CAMError, match="choose a layer before the last attention"):
            cam.attribute(pictures().float(), TARGET)


def test_maps_with_the_channels_last_are_no_tokens():
    with pytest.raises(cc.CAMError, match=r"tokens N×T×K"):
        cc.ViTReciproCAM(NETS["timm Swin"].model(), "norm").attribute(pictures(), TARGET)


@pytest.mark.parametrize("name", ["gradcam", "fdcam", "relevancecam", "chefer", "augmentedcam"])
def test_a_method_of_a_model_is_searched_as_the_model(name):
    options = {"image_size": SIDE, "patch_size": 8, "layers": 3, "width": 64, "head_width": 32}
    text = {"context_length": 8, "vocab_size": 50, "width": 32, "heads": 2, "layers": 1}
    open_clip = pytest.importorskip("open_clip")
    clip = seeded(lambda: open_clip.model.CLIP(16, options, text))
    x, layer = pictures().float(), "visual.transformer.resblocks.2.ln_1"
    cam = explainer(name, clip.encode_image)
    maps = cam.attribute(x, TARGET)
    assert cam.layer is clip.get_submodule(layer)
    assert_same(explainer(name, clip.encode_image, layer).attribute(x, TARGET), maps)
    assert_same(explainer(name, clip.visual, layer.removeprefix("visual.")).attribute(x, TARGET), maps)


def test_the_layers_of_a_method_are_listed():
    model = NETS["torchvision ViT"].model()
    # Not the depth: the class token is a weight of the model itself, which does not run as a module here.
    listed, expected = (
        [(row.name, row.shape, row.layout, row.chosen) for row in cc.layers(forward, pictures())]
        for forward in (model.forward, model)
    )
    assert listed == expected
