"""Zoom-CAM against the wrapper that computes the same, a plain loop, and its choice of layers."""

import pytest
import torch
import torch.nn.functional as F

import captum_cams as cc
from tests.support.networks import NETWORKS, images

LAYERS = ["layer2", "layer3", "layer4"]


def looped(model, x, target):
    """Each layer, sample, and position by itself."""
    found = []
    for layer in LAYERS:
        kept = []
        handle = model.get_submodule(layer).register_forward_hook(lambda _, __, output, kept=kept: kept.append(output))
        scores = model(x)
        handle.remove()
        total = sum(scores[n, target[n]] for n in range(len(x)))
        (gradient,) = torch.autograd.grad(total, kept[0])
        activation = kept[0].detach()
        maps = torch.zeros(len(x), 1, *activation.shape[2:], dtype=x.dtype)
        for n in range(len(x)):
            for i in range(activation.shape[2]):
                for j in range(activation.shape[3]):
                    maps[n, 0, i, j] = max(0, sum(gradient[n, :, i, j] * activation[n, :, i, j]))
            if maps[n].max() > maps[n].min():  # a layer may have no positive value at all
                maps[n] = (maps[n] - maps[n].min()) / (maps[n].max() - maps[n].min())
        found.append(maps)
    size = max(maps.shape[2:] for maps in found)
    return torch.stack([F.interpolate(maps, size, mode="bilinear") for maps in found]).amax(0)


def test_the_map_is_that_of_a_plain_loop():
    model, x, target = NETWORKS["residual"]().double(), images(2).double(), [3, 7]
    found = cc.ZoomCAM(model, layers=LAYERS).attribute(x, target)
    torch.testing.assert_close(found, looped(model, x, target))
    assert found.min() >= 0
    assert found.amax((1, 2, 3)).tolist() == [1, 1]


@pytest.mark.parametrize("net", ["residual", "plain"])
def test_the_map_is_that_of_hirescam_in_several_layers(net):
    model, x = NETWORKS[net](), images(2)
    zoom = cc.ZoomCAM(model)
    found = zoom.attribute(x, [3, 7])
    same = cc.MultiLayerCAM(model, base="hirescam", fusion="max", layers=zoom.found_layers)
    torch.testing.assert_close(found, same.attribute(x, [3, 7]))
    assert len(zoom.found_layers) > 1


@pytest.mark.parametrize("method", [cc.ZoomCAM, cc.PolyCAM, cc.MultiLayerCAM])
def test_layers_that_are_no_list_of_some_are_refused(method):
    model = NETWORKS["residual"]()
    for layers, said in (("layer4", "put it in a list"), ([], "at least one layer"), (["layer9"], "layer9")):
        with pytest.raises(cc.CAMError, match=said):
            method(model, layers=layers)
    with pytest.raises(cc.CAMError, match=f"{method.__name__} with reshape= needs its layers"):
        method(model, reshape="tokens").attribute(images(1), 1)


@pytest.mark.parametrize("method", [cc.ZoomCAM, cc.MultiLayerCAM])
def test_one_layer_stands_for_a_list_of_it(method):
    model, x = NETWORKS["residual"](), images(2)
    assert torch.equal(method(model, "layer3").attribute(x, 1), method(model, layers=["layer3"]).attribute(x, 1))
