"""Explain with a function of the user."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from captum_cams.adapters.adapter import Adapter
from captum_cams.engine.call import Call
from captum_cams.engine.scores import Task
from captum_cams.errors import CAMError, brief


class FunctionMaps(Adapter):
    """Explains with your own function ``(model, images, target) -> maps``.

    ``evaluate`` and the callback make it themselves from a function. The function runs in eval mode and with gradients.
    Whatever it changes in the model is undone: weights, gradients, flags and hooks. It should use the model that it is
    given, because some metrics explain a copy of the model with other weights. If it draws random numbers, it is called
    again with each image of the batch alone, so that no map depends on the other images.

    Args:
        forward_func: the model; the function gets the eager network in it.
        function: function from the model, the images N×C×H×W and the classes (N integers on the device of the images)
            to maps N×1×h×w or N×h×w, as a tensor or a NumPy array. Higher values say that a place matters more. For
            ``task="binary"``, the classes are 0 and 1, although the model returns one logit.
        seed: the seed of the random numbers of torch, NumPy and Python, the same for each image.
        task: as in :class:`CAMAttribution`.

    Raises:
        CAMError: the function is not callable; when it is called: the maps are not N×1×h×w, or contain NaN or Inf.

    Example::

        def brightness(model, images, target):
            return images.mean(1, keepdim=True)

        maps = cc.FunctionMaps(model, function=brightness).attribute(images, labels)
        assert maps.shape == (2, 1, 64, 64)
    """

    def __init__(
        self,
        forward_func: Callable[..., Any],
        *,
        function: Callable[[Any, Tensor, Tensor], Any],
        seed: int = 0,
        task: Task = "multiclass",
    ) -> None:
        super().__init__(forward_func, seed=seed, task=task)
        if not callable(function):
            raise CAMError(f"function must be a function (model, images, target) -> maps, got {brief(function)}")
        self.function = function

    def foreign(self, call: Call, images: Tensor, classes: Tensor) -> Any:
        return self.function(call.network, images, classes)
