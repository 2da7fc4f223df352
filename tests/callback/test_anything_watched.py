"""Whatever makes maps, watched in a training run that does not notice."""

import torch
from captum.attr import LayerGradCam

from lightning_callbacks import CAMCallback
from tests.support.lightning_modules import Net
from tests.support.training import fit


def brightness(model, images, target):
    assert hasattr(model, "features")  # the user's own module
    images.requires_grad_()
    model(images).gather(1, target[:, None]).sum().backward()
    return images.grad.abs().sum(1)


def test_functions_and_captum_are_watched(tmp_path):
    _, model = fit(tmp_path / "plain", logger=False)
    run, watched = fit(tmp_path / "watched", CAMCallback(brightness, num_images=2, metrics="complexity"), logger=False)
    assert "cam/brightness/complexity" in run.callback_metrics
    for one, other in zip(model.parameters(), watched.parameters(), strict=True):
        assert torch.equal(one, other)


def test_an_attribution_of_the_trained_model_is_watched(tmp_path):
    net = Net()
    callback = CAMCallback({"of captum": LayerGradCam(net, net.features)}, num_images=2, metrics="complexity")
    run, _ = fit(tmp_path, callback, logger=False, model=net)
    assert "cam/of captum/complexity" in run.callback_metrics
