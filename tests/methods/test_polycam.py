"""Poly-CAM against a plain loop over layers and channels."""

import pytest
import torch
import torch.nn.functional as F

import captum_cams as cc
from tests.support.formulas import run
from tests.support.networks import NETWORKS, images

LAYERS = ["layer1", "layer2", "layer4"]


def resized(values, size):
    return F.interpolate(values[None, None], size, mode="bilinear")[0, 0]


def probability(model, image, c):
    with torch.no_grad():
        return float(model(image[None])[0].softmax(0)[c])


def one_layer(model, layer, x, c, form):
    a = run(model, layer, x)[1][0].detach()
    whole, total = probability(model, x, c), torch.zeros_like(a[0])
    for channel in a:
        spread = channel.max() - channel.min()
        mask = (channel - channel.min()) / spread if spread > 0 else torch.zeros_like(channel)
        mask = resized(mask, x.shape[1:])
        kept, lost = probability(model, x * mask, c), whole - probability(model, x * (1 - mask), c)
        weight = {"plus": kept, "minus": max(lost, 0.0), "plus_minus": max(kept + lost, 0.0)}[form]
        total += weight * channel
    return total.relu()


@pytest.mark.parametrize("form", ["plus", "minus", "plus_minus"])
def test_the_map_is_its_formula(form):
    model, x = NETWORKS["residual"]().double(), images(2).double()
    found = cc.PolyCAM(model, layers=LAYERS, form=form).attribute(x, [3, 7])
    for n, c in enumerate((3, 7)):
        expected = None
        for layer in reversed(LAYERS):
            map_ = one_layer(model, layer, x[n], c, form)
            if expected is not None:
                around = resized(resized(map_, expected.shape), map_.shape)
                map_ = torch.where(around > 0, map_ / around, 0) * resized(expected, map_.shape)
            expected = map_
        torch.testing.assert_close(found[n, 0], expected, rtol=1e-6, atol=1e-9 * float(expected.abs().max()))


def test_one_layer_and_layers_in_the_wrong_order():
    model, x = NETWORKS["residual"](), images(1)
    alone = cc.PolyCAM(model, "layer4").attribute(x, 1)
    assert torch.equal(alone, cc.PolyCAM(model, layers=["layer4"]).attribute(x, 1))
    found = cc.PolyCAM(model, form="plus")
    assert found.attribute(x, 1).shape[2:] > alone.shape[2:]
    assert found.found_layers[-1] in list(model.layer4.modules())
    with pytest.raises(cc.CAMError, match="in the order of the network, and maps must not grow, got 5×5 before 20×20"):
        cc.PolyCAM(model, layers=["layer4", "layer1"]).attribute(x, 1)
    for layers, words in (("layer4", "must be a list"), ([], "at least one layer"), (["layer9"], "layer9")):
        with pytest.raises(cc.CAMError, match=words):
            cc.PolyCAM(model, layers=layers)
