"""Average drop and increase beside pytorch-grad-cam's; TorchCAM scores another map than the one it shows."""

import pytest
import torch

import captum_cams as cc
from captum_cams.images import minmax, upsample
from captum_cams.metrics import average_drop, average_increase
from tests.support.networks import NETWORKS, SIDE, images, seeded

pytest.importorskip("pytorch_grad_cam", reason="pip install '.[conformance]'")
pytestmark = pytest.mark.filterwarnings("ignore")  # the peers' own


@pytest.mark.parametrize("net", ["plain", "batch norm", "residual"])
def test_pytorch_grad_cams_drop_is_ours_times_the_probability(net):
    from pytorch_grad_cam.metrics.cam_mult_image import DropInConfidence, IncreaseInConfidence
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputSoftmaxTarget

    model, x = seeded(NETWORKS[net]), images(6)
    classes = model(x).argmax(1).tolist()
    maps = cc.GradCAM(model).attribute(x, classes)
    heat = minmax(upsample(maps, (SIDE, SIDE)))[:, 0].numpy()
    given = (x, heat, [ClassifierOutputSoftmaxTarget(c) for c in classes], model)
    before = model(x).softmax(1).amax(1).detach()
    drop = average_drop(model, x, maps, classes) / 100 * before  # theirs is absolute, the paper's relative
    torch.testing.assert_close(torch.from_numpy(DropInConfidence()(*given)), drop, rtol=1e-4, atol=1e-6)
    increase = average_increase(model, x, maps, classes) / 100
    assert torch.equal(torch.from_numpy(IncreaseInConfidence()(*given)), increase)
