"""The abstract class of all explainers around code of others."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from captum_cams.adapters.foreign_code import foreign_code, random_state
from captum_cams.bases.attribution import CAMAttribution
from captum_cams.cost import Cost, named
from captum_cams.engine.call import Call
from captum_cams.engine.scores import Task
from captum_cams.errors import CAMError, check_at_least, check_finite, shape_of


class Adapter(CAMAttribution):
    """Explains with maps that code of others makes; a subclass writes :meth:`foreign`.

    The maps are used as they are, without a ReLU. They are checked: one map N×1×h×w for each image, without NaN or Inf.
    If random numbers are drawn, each image is explained alone, so that its map does not depend on the batch.

    Args:
        forward_func: the model.
        seed: the seed of torch's, NumPy's and Python's random numbers, the same for each image.
        task: as in :class:`CAMAttribution`.

    Raises:
        CAMError: the model is not callable, or the seed or the task is unknown.
    """

    rectifies = False
    cost = Cost(whole=named("unknown"))

    def __init__(self, forward_func: Callable[..., Any], *, seed: int = 0, task: Task = "multiclass") -> None:
        super().__init__(forward_func, task=task)
        check_at_least("seed", seed, 0)
        self.seed = seed

    @abstractmethod
    def foreign(self, call: Call, images: Tensor, classes: Tensor) -> Any:
        """Compute the maps, N×1×h×w or N×h×w.

        Args:
            call: the user's call.
            images: a copy of the images, as the model takes them.
            classes: the class to explain in each image, N integers on the device of the images.
        """

    def explain(self, call: Call) -> Tensor:
        name = type(self).__name__
        if len(call.inputs) > 1 or call.extra.values() or call.at_input:
            raise CAMError(
                f"{name} explains a model that takes images alone, got further inputs; put the model into "
                "a module that holds them"
            )
        target = call.resolved().target
        if any(len(index) != 1 for index in target):
            raise CAMError(
                f"{name} needs the index of a class as the target, got another target; pass an integer, or "
                "one integer for each image"
            )
        images = call.form.as_taken(call.inputs[0])
        classes = torch.tensor([index[0] for index in target], device=images.device)
        return self._maps(call, images, classes)

    def _maps(self, call: Call, images: Tensor, classes: Tensor) -> Tensor:
        with foreign_code(call.modules or [], self.seed), call.autocast():
            before = random_state()
            found = self.foreign(call, images.clone(), classes)
            alone = len(images) == 1 or random_state() == before
        if alone:
            return self._checked(found, images)
        each = zip(images.split(1), classes.split(1), strict=True)
        return torch.cat([self._maps(call, image, index) for image, index in each])

    def _checked(self, found: Any, images: Tensor) -> Tensor:
        """The maps as a tensor N×1×h×w, without a graph, on the device of the images."""
        name = f"the maps of {self}"
        if not isinstance(found, Tensor) and not hasattr(found, "__array_interface__"):
            raise CAMError(
                f"{name} must be a tensor N×1×h×w, got {type(found).__name__}; return a tensor with one map "
                "for each image"
            )
        maps = torch.as_tensor(found).detach().to(images.device)
        maps = maps if maps.is_floating_point() else maps.float() if not maps.is_complex() else maps
        form = "×".join(["N", "1", *{3: "t", 4: "hw", 5: "dhw"}.get(images.ndim, "…")])
        if maps.ndim == images.ndim - 1:
            maps = maps[:, None]
        if maps.ndim != images.ndim or maps.shape[1] != 1 or maps.is_complex() or not maps.numel():
            raise CAMError(
                f"{name} must be real numbers {form}, got {shape_of(maps)} ({maps.dtype}) for images "
                f"{shape_of(images)}; reduce the channels, for example by maps.abs().sum(1, keepdim=True)"
            )
        if len(maps) != len(images):
            raise CAMError(
                f"{name} must have one map for each of {len(images)} images, got {shape_of(maps)}; return "
                "the maps of the whole batch, in its order"
            )
        check_finite(name, maps)
        return maps.clone()


def check_class_scores(call: Call, classes: Tensor, name: str) -> None:
    """Raise a CAMError unless each class is a column of the model's own output, which code of others reads.

    Args:
        call: the user's call.
        classes: the class to explain in each image.
        name: the explainer, for the message.
    """
    if call.task == "binary" or callable(call.task):
        raise CAMError(
            f"{name} reads the output of the model itself, which has no column for each class under this task; explain "
            "a module that returns N×classes scores, or write a function with FunctionMaps that reads the output"
        )
