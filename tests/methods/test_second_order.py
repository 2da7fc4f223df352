"""Shapley-CAM, FEM and KPCA-CAM where their definitions have edges."""

import pytest
import timm
import torch
from torch import nn

import captum_cams as cc
from tests.support.networks import NETWORKS, images, seeded


class Curved(nn.Module):
    """A convolution, then a part that is piecewise linear or not."""

    def __init__(self, act: type[nn.Module]) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 6, 3, 2), nn.ReLU())
        self.tail = nn.Sequential(nn.Conv2d(6, 8, 3), act(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10))

    def forward(self, x):
        return self.tail(self.features(x))


@pytest.mark.parametrize("net", ["plain", "residual", "batch norm", "dense"])
def test_behind_relus_shapleycam_is_gradcam(net):
    model, x = NETWORKS[net]().double(), images(2).double()
    layer = {"plain": "features.4", "batch norm": "features.6", "residual": "layer2", "dense": "norm"}[net]
    expected = cc.GradCAM(model, layer).attribute(x, 3)
    assert expected.any()
    torch.testing.assert_close(cc.ShapleyCAM(model, layer).attribute(x, 3), expected, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("act", [nn.GELU, nn.SiLU, nn.Softplus])
def test_behind_smooth_activations_it_is_not(act):
    model, x = seeded(lambda: Curved(act)).double().eval(), images(2).double()
    a = model.features(x).detach().requires_grad_()

    def gradient(factor):
        return torch.autograd.grad(model.tail(a * factor)[:, 3].sum(), a)[0] / factor

    step = 1e-5
    curvature = (gradient(1 + step) - gradient(1 - step)) / (2 * step)
    weights = (gradient(1.0) - curvature / 2).mean((2, 3), keepdim=True)
    expected = (weights * a).sum(1, keepdim=True).detach()
    found = cc.ShapleyCAM(model, "features").attribute(x, 3, relu_attributions=False)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-8 * float(expected.abs().max()))
    gradcam = cc.GradCAM(model, "features").attribute(x, 3, relu_attributions=False)
    assert float((found - gradcam).abs().max()) > 1e-3 * float(gradcam.abs().max())


def test_fused_attention_has_a_second_derivative_here():
    model = seeded(
        lambda: timm.create_model("vit_tiny_patch16_224", img_size=40, patch_size=8, depth=2, num_classes=10)
    ).eval()
    x = images(2)
    found = cc.ShapleyCAM(model, "blocks.0.norm1").attribute(x, 3, relu_attributions=False)
    for block in model.blocks:
        block.attn.fused_attn = False
    by_hand = cc.ShapleyCAM(model, "blocks.0.norm1").attribute(x, 3, relu_attributions=False)
    torch.testing.assert_close(found, by_hand, rtol=0, atol=1e-5 * float(by_hand.abs().max()))
    assert not torch.allclose(found, cc.GradCAM(model, "blocks.0.norm1").attribute(x, 3, relu_attributions=False))


class Once(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**2

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return 2 * x * gradient


@pytest.mark.parametrize("act", [nn.ReLU, nn.GELU])
def test_without_a_second_derivative_it_teaches(act):
    class Net(Curved):
        def forward(self, x):
            return self.tail(Once.apply(self.features(x)))

    model, x = seeded(lambda: Net(act)).eval(), images(1)
    assert cc.GradCAM(model, "features").attribute(x, 1).any()
    with pytest.raises(cc.CAMError, match=r"second derivative at layer features .* got none: OnceBackward is marked"):
        cc.ShapleyCAM(model, "features").attribute(x, 1)


def test_a_constant_channel_does_not_stand_out():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.fc = nn.Identity(), nn.Linear(3, 2)

        def forward(self, x):
            return self.fc(self.layer(x).mean((2, 3)))

    x = torch.rand(1, 3, 7, 7) * 0.1
    x[:, 0], x[0, 1, 2, 2] = 0.3, 1.0
    found = cc.FEM(Net(), "layer").contributions(x)
    assert not found[0, 0].any()
    torch.testing.assert_close(found[0, 1], x[0, 1] / 49)
    with pytest.raises(cc.CAMError, match="deviations must be at least 0, got -1"):
        cc.FEM(Net(), "layer", deviations=-1)


@pytest.mark.parametrize("kernel", ["linear", "poly", "rbf", "sigmoid", "cosine"])
def test_kernels_are_those_of_scikit_learn(kernel):
    from tests.support.formulas import gradient, kpcacam

    model, x = NETWORKS["residual"](), images(2)
    found = cc.KPCACAM(model, "layer4", kernel=kernel).attribute(x, relu_attributions=False)[:, 0]
    for map_, image in zip(found, x, strict=True):
        expected = kpcacam(*gradient(model, "layer4", image, 0), kernel=kernel).float()
        torch.testing.assert_close(map_, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))
    if kernel == "linear":
        torch.testing.assert_close(found[:, None], cc.EigenCAM(model, "layer4").attribute(x, relu_attributions=False))


def test_kernels_that_see_nothing_teach():
    with pytest.raises(cc.CAMError, match="of sample 0 with kernel='sigmoid' and gamma=1e-30; pass gamma="):
        cc.KPCACAM(NETWORKS["residual"](), "layer4", gamma=1e-30).attribute(images(1))
    model = nn.Sequential(nn.Conv2d(3, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(cc.CAMError, match="at most 4096, got 16384"):
        cc.KPCACAM(model, "0").attribute(torch.rand(1, 3, 128, 128))
