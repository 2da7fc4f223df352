"""Explain with the objects of pytorch-grad-cam and TorchCAM, without importing these libraries."""

from typing import Any

from torch import Tensor

from captum_cams.adapters.adapter import Adapter, check_class_scores
from captum_cams.engine.call import Call
from captum_cams.engine.scores import Task
from captum_cams.errors import CAMError, brief, shape_of


class PeerMaps(Adapter):
    """Explains with an object of pytorch-grad-cam or of TorchCAM.

    ``evaluate`` and the callback make it themselves from such an object. The hooks that the object has set on the model
    stay there, because it needs them; what they collect is dropped after each call. They run in every forward pass, so
    remove them when you are done: ``cam.activations_and_grads.release()`` in pytorch-grad-cam, ``cam.remove_hooks()``
    in TorchCAM.

    The maps are those that the library returns: pytorch-grad-cam's have the size of the image and are scaled to [0, 1],
    TorchCAM's have the size of the layer and are not scaled.

    Args:
        cam: for example ``pytorch_grad_cam.GradCAM(model=model, target_layers=[layer])``, or
            ``torchcam.methods.GradCAM(model, layer)``, with its hooks enabled and one layer.
        seed: the seed of the random numbers of torch, NumPy and Python, the same for each image. An object that draws
            random numbers explains each image of a batch alone, after a first try with the whole batch.
        task: as in :class:`CAMAttribution`. Both libraries read the output of the model itself, so "binary" and
            functions are refused.

    Raises:
        CAMError: the object is of another library, or TorchCAM's has several layers.

    Example::

        try:
            cc.PeerMaps(model)
        except cc.CAMError as error:
            print(error)  # cam must be an object of pytorch-grad-cam or TorchCAM …
    """

    def __init__(self, cam: Any, *, seed: int = 0, task: Task = "multiclass") -> None:
        if not is_peer(cam):
            raise CAMError(
                f"cam must be an object of pytorch-grad-cam or TorchCAM that explains a model, got {brief(cam)}"
            )
        super().__init__(cam.model, seed=seed, task=task)
        self.cam = cam

    def foreign(self, call: Call, images: Tensor, classes: Tensor) -> Any:
        check_class_scores(call, classes, type(self.cam).__name__)
        if _library(self.cam) != "pytorch_grad_cam":
            return _torchcam(self.cam, images, classes.tolist())
        if call.form.channels_last:
            raise CAMError(
                f"{type(self.cam).__name__} of pytorch-grad-cam needs images N×C×H×W, because it takes the size of its "
                f"maps from the last two axes, got {shape_of(images)}; use TorchCAM or a method of captum_cams"
            )
        return _pytorch_grad_cam(self.cam, images, classes.tolist())

    def _plain(self, value: Any) -> Any:
        """Describe the object by its class, its layers and its plain options."""
        if value is not self.cam:
            return super()._plain(value)
        options = {name: one for name, one in vars(value).items() if isinstance(one, bool | int | float | str)}
        names = {"layers": getattr(value, "target_layers", None) or getattr(value, "target_names", None)}
        reshape = {
            name: one for name in ("reshape_transform", "_reshape_transform") if (one := getattr(value, name, None))
        }
        kind = {"class": f"{type(value).__module__}.{type(value).__qualname__}"}
        return kind | {name: super(PeerMaps, self)._plain(one) for name, one in (options | names | reshape).items()}


def is_peer(value: Any) -> bool:
    """Tell whether a value is an object of pytorch-grad-cam or TorchCAM that explains a model."""
    return not isinstance(value, type) and _library(value) is not None and callable(value) and hasattr(value, "model")


def _library(cam: Any) -> str | None:
    """The library of the classes of an object, which may be a subclass of the user's."""
    tops = [cls.__module__.split(".")[0] for cls in type(cam).__mro__]
    return next((top for top in tops if top in ("pytorch_grad_cam", "torchcam")), None)


def _pytorch_grad_cam(cam: Any, images: Tensor, classes: list[int]) -> Any:
    try:
        # Its ClassifierOutputTarget reads the same number from one row of the output.
        return cam(images, [lambda row, index=index: row[index] for index in classes])
    finally:
        recorder = cam.activations_and_grads
        recorder.activations, recorder.gradients = [], []
        vars(cam).pop("outputs", None)  # it holds the graph of the last forward pass


def _torchcam(cam: Any, images: Tensor, classes: list[int]) -> Tensor:
    if len(cam.target_names) != 1:
        raise CAMError(
            f"{type(cam).__name__} must have one layer, got {', '.join(cam.target_names)}; make it with one, or fuse "
            "the maps in a function (model, images, target) -> maps"
        )
    try:
        return cam(classes, cam.model(images), normalized=False)[0]
    finally:
        cam.reset_hooks()
