"""FullGrad against a loop, and its completeness."""

import pytest
import timm
import torch
from torch import nn

import captum_cams as cc
from captum_cams.engine.call import Call
from captum_cams.images import upsample
from tests.support.networks import NETWORKS, images, seeded


@pytest.mark.parametrize("net", NETWORKS)
def test_the_products_add_up_to_the_score(net):
    model, x, target = NETWORKS[net]().double(), images(3).double(), [1, 5, 9]
    with torch.no_grad():
        for module in model.modules():  # so that each bias and each mean counts
            for value in (getattr(module, "bias", None), getattr(module, "running_mean", None)):
                if value is not None:
                    value.add_(torch.rand_like(value))
    products = cc.FullGrad(model).products(Call.of(model, x, target))
    found = sum(product.flatten(1).sum(1) for product in products)
    torch.testing.assert_close(found, model(x).detach()[range(3), target], rtol=0, atol=1e-10)
    assert len(products) > 2


def scaled(values):
    low, high = values.min(), values.max()
    return (values - low) / (high - low) if high > low else torch.zeros_like(values)


def test_the_map_is_its_formula():
    model = seeded(lambda: nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.Conv2d(4, 5, 3), nn.ReLU())).double()
    head = seeded(lambda: nn.Linear(5, 10)).double()
    whole, x = nn.Sequential(model, nn.AdaptiveAvgPool2d(1), nn.Flatten(), head), images(2).double()
    found = cc.FullGrad(whole).attribute(x, [3, 7])
    for n, c in enumerate((3, 7)):
        image = x[n : n + 1].clone().requires_grad_()
        first = model[0](image)
        second = model[2](first.relu())
        score = head(second.relu().mean((2, 3)))[0, c]
        at_image, at_first, at_second = torch.autograd.grad(score, [image, first, second])
        expected = scaled((image * at_image)[0].detach().abs()).sum(0)
        for layer, gradient in ((model[0], at_first), (model[2], at_second)):
            product = scaled((layer.bias[:, None, None] * gradient[0]).detach().abs()).sum(0)
            expected = expected + upsample(product[None, None], x.shape[2:])[0, 0]
        torch.testing.assert_close(found[n, 0], expected)


def test_what_has_no_positions_is_refused():
    model, x = NETWORKS["residual"](), images(1)
    for options, given in (({"layer": "layer4"}, "a layer"), ({"reshape": "tokens"}, "reshape=")):
        with pytest.raises(cc.CAMError, match=f"explains with all layers, got {given}; leave it out"):
            cc.FullGrad(model, **options).attribute(x)
    small = {"img_size": 40, "patch_size": 8, "depth": 1, "num_classes": 5}
    vit = seeded(lambda: timm.create_model("vit_tiny_patch16_224", **small)).eval()
    with pytest.raises(cc.CAMError, match=r"needs layers that give maps, got tokens .* use LRP for transformers"):
        cc.FullGrad(vit).attribute(x, 1)
    bare = nn.Sequential(nn.Conv2d(3, 2, 3, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 3))
    with pytest.raises(cc.CAMError, match="needs layers with positions and a bias, got none"):
        cc.FullGrad(bare).attribute(x, 1)


def test_a_bias_of_several_axes_is_refused():
    layers = nn.Conv2d(3, 4, 3), nn.LayerNorm([4, 6, 6]), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    model = seeded(lambda: nn.Sequential(*layers, nn.Linear(4, 3)))
    with pytest.raises(cc.CAMError, match="one number for each channel, got one of 4×6×6"):
        cc.FullGrad(model).attribute(torch.rand(2, 3, 8, 8), 1)
