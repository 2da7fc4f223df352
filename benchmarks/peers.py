"""The same methods in other libraries, and as a plain loop; each function returns a call without arguments."""

import contextlib
import io
from collections.abc import Callable
from importlib.util import find_spec

import torch
from captum.attr import LayerGradCam
from torch import Tensor, nn

Call = Callable[[], object]
GRAD_CAM = {
    "gradcam": "GradCAM",
    "gradcamplusplus": "GradCAMPlusPlus",
    "xgradcam": "XGradCAM",
    "layercam": "LayerCAM",
    "hirescam": "HiResCAM",
    "eigencam": "EigenCAM",
    "ablationcam": "AblationCAM",
    "scorecam": "ScoreCAM",
    "gradcamelementwise": "GradCAMElementWise",
    "eigengradcam": "EigenGradCAM",
    "kpcacam": "KPCA_CAM",
    "fem": "FEM",
    "shapleycam": "ShapleyCAM",
    "finercam(gradcam)": "FinerCAM",
    "fullgrad": "FullGrad",
}
TORCHCAM = {
    "cam": "CAM",
    "gradcam": "GradCAM",
    "gradcamplusplus": "GradCAMpp",
    "xgradcam": "XGradCAM",
    "layercam": "LayerCAM",
    "scorecam": "ScoreCAM",
}


def grad_cam(method: str, model: nn.Module, layer: nn.Module, images: Tensor, target: int) -> Call | None:
    """Make the method of pytorch-grad-cam, if this is installed and has it."""
    if method not in GRAD_CAM or find_spec("pytorch_grad_cam") is None:
        return None
    import pytorch_grad_cam
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    cam = _quietly(lambda: getattr(pytorch_grad_cam, GRAD_CAM[method])(model=model, target_layers=[layer]))
    cam.batch_size = 16
    targets = [ClassifierOutputTarget(target)] * len(images)
    return lambda: _quietly(lambda: cam(images, targets))


def torchcam(method: str, model: nn.Module, layer: nn.Module, images: Tensor, target: int) -> Call | None:
    """Make the method of TorchCAM, if this is installed and has it."""
    if method not in TORCHCAM or find_spec("torchcam") is None:
        return None
    import torchcam.methods

    options = {"batch_size": 16} if method == "scorecam" else {}

    def call() -> object:
        with getattr(torchcam.methods, TORCHCAM[method])(model, layer, **options) as cam:
            scores = model(images)
            return cam([target] * len(images), scores)

    return lambda: _quietly(call)


def captum(method: str, model: nn.Module, layer: nn.Module, images: Tensor, target: int) -> Call | None:
    """Make Captum's Grad-CAM; Captum has no other method."""
    cam = LayerGradCam(model, layer)
    return (lambda: cam.attribute(images, target)) if method == "gradcam" else None


def loop(method: str, model: nn.Module, layer: nn.Module, images: Tensor, target: int) -> Call | None:
    """Make a plain loop: one run of the whole model for every masked channel or position, 16 at a time."""
    if method not in ("ablationcam", "reciprocam"):
        return None

    def call() -> object:
        kept: list[Tensor] = []
        with torch.no_grad():
            hook = layer.register_forward_hook(lambda m, a, out: kept.append(out))
            model(images)
            hook.remove()
            for image, activation in zip(images, kept[0], strict=True):
                channels, height, width = activation.shape
                if method == "ablationcam":
                    masks = (1 - torch.eye(channels, device=images.device))[..., None, None]
                else:
                    masks = torch.eye(height * width, device=images.device).view(-1, 1, height, width)
                for part in masks.split(16):
                    hook = layer.register_forward_hook(lambda m, a, out, rows=part * activation: rows)
                    model(image.expand(len(part), *image.shape))
                    hook.remove()
        return None

    return call


def _quietly(call: Call) -> object:
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        return call()
