"""What pytorch-grad-cam and TorchCAM return."""

import contextlib
import io

import numpy as np
import torch

from captum_cams.images import minmax, upsample
from tests.support.networks import SIDE

NETS = {"plain": "features.10", "batch norm": "features.14", "residual": "layer4"}


def positive(model, x) -> list[int]:
    """The predicted classes, whose logits are positive here."""
    scores = model(x)
    assert (scores.amax(1) > 0).all()
    return scores.argmax(1).tolist()


def grad_cam(name: str, model, layer, x, target) -> np.ndarray:
    """What pytorch-grad-cam returns: at the image's size, in [0, 1]."""
    import pytorch_grad_cam
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    with contextlib.redirect_stderr(io.StringIO()):
        cam = getattr(pytorch_grad_cam, name)(model=model, target_layers=[model.get_submodule(layer)])
        return cam(x, [ClassifierOutputTarget(c) for c in target])


def torch_cam(name: str, model, layer, x, target, **options) -> torch.Tensor:
    """What TorchCAM returns: at the layer's size, in [0, 1]."""
    import torchcam.methods

    with getattr(torchcam.methods, name)(model, model.get_submodule(layer), **options) as cam:
        return cam(target, model(x))[0]


def full_size(maps: torch.Tensor) -> np.ndarray:
    return minmax(upsample(minmax(maps), (SIDE, SIDE)))[:, 0].numpy()
