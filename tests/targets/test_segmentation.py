"""Segmenters of three libraries: Grad-CAM of a set of pixels is a hook and a gradient."""

import pytest
import torch
import torch.nn.functional as F

import captum_cams as cc
from captum_cams.targets import Segmentation
from tests.support.independent import gradcam

LAYERS = {
    "fcn": "backbone.layer4",
    "deeplab": "backbone.16",
    "lraspp": "backbone.16",
    "unet": "encoder.layer4",
    "segformer": "decode_head.linear_fuse",
}


def pixels(output):
    """The scores of all pixels N×C×H×W at the size of the image, as each library says."""
    if isinstance(output, torch.Tensor):
        return output
    if "out" in output:
        return output["out"]
    return F.interpolate(output.logits, scale_factor=4, mode="bilinear", align_corners=False)


@pytest.mark.parametrize("name", LAYERS)
def test_gradcam_of_the_predicted_pixels_is_a_hook_and_a_gradient(name, network, x):
    model, x = network(name), x[..., :64, :]  # not square
    with torch.no_grad():
        predicted = pixels(model(x)).argmax(1)
    labels = [int(one.mode().values.mode().values) for one in predicted]
    layer = model.get_submodule(LAYERS[name])
    for n, label in enumerate(labels):
        image, mask = x[n : n + 1], predicted[n] == label
        expected = gradcam(
            lambda image=image: model(image), layer, lambda out, c=label, m=mask: pixels(out)[0, c][m].mean()
        )
        found = cc.GradCAM(model, LAYERS[name]).attribute(image, Segmentation(label), relu_attributions=False)
        assert expected.abs().max() > 0
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


def test_the_sum_of_the_paper_is_the_mean_but_for_a_constant(network, x):
    model, mask = network("unet"), torch.zeros(96, 96, dtype=torch.bool)
    mask[20:50, 30:80] = True
    layer = model.get_submodule(LAYERS["unet"])
    summed = gradcam(lambda: model(x), layer, lambda output: output[:, 1, mask].sum(1))
    for given in (mask, mask.float(), (30, 20, 80, 50)):
        found = cc.GradCAM(model, LAYERS["unet"]).attribute(x, Segmentation(1, given), relu_attributions=False)
        torch.testing.assert_close(found, summed / mask.sum(), rtol=1e-3, atol=1e-4 * float(found.abs().max()))


def test_each_image_of_a_batch_has_pixels_of_its_own(network, x):
    model = network("lraspp")
    cam = cc.HiResCAM(model, LAYERS["lraspp"])
    both = cam.attribute(x, Segmentation(1))
    alone = torch.cat([cam.attribute(image[None], Segmentation(1)) for image in x])
    torch.testing.assert_close(both, alone)
    listed = cam.attribute(x, [Segmentation(1), Segmentation(1, (8, 8, 40, 60))])
    torch.testing.assert_close(listed[:1], alone[:1])
    assert not torch.allclose(listed[1:], alone[1:])
