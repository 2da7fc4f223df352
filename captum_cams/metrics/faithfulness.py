"""Faithfulness as torchmetrics classes, which keep only a sum and a count."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, get_args

from torch import Tensor

from captum_cams.engine.scores import Task, check_task
from captum_cams.errors import CAMError, check_choice
from captum_cams.metrics.functional.adcc import Explain, adcc, check_same_task
from captum_cams.metrics.functional.faithfulness import (
    average_drop,
    average_increase,
    curve_area,
    deletion_curve,
    insertion_curve,
)
from captum_cams.metrics.functional.scoring import Masking
from captum_cams.metrics.image_mean import ImageMean
from captum_cams.metrics.presets import Preset, find_preset


class FaithfulnessMetric(ImageMean, ABC):
    """The mean of a faithfulness function over images."""

    def __init__(self, *, task: Task = "multiclass", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.task = check_task(task)

    @abstractmethod
    def values(self, forward_func: Callable[..., Any], inputs: Tensor, maps: Tensor, target: Any) -> Tensor:
        """One value for each image, N."""

    def update(self, forward_func: Callable[..., Any], inputs: Tensor, maps: Tensor, target: Any = None) -> None:
        """Measure a batch of images with their maps, and add the values to the mean.

        Args:
            forward_func: the model, which returns N×classes; its state does not change.
            inputs: images, N×C×H×W.
            maps: explanations of the images, N×h×w or N×1×h×w.
            target: the explained classes in any form that Captum accepts; None means the predicted class of each image.

        Raises:
            CAMError: shapes, target or task do not fit, the batch is empty, or the maps or the scores contain NaN or
                Inf.
        """
        self.add(self.values(forward_func, inputs, maps, target))


class CurveMetric(FaithfulnessMetric):
    """A metric of the deletion or the insertion curve."""

    def __init__(self, preset: str | Preset = "rise", *, perturbations_per_eval: int = 8, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.options: dict[str, Any] = {
            "preset": find_preset(preset),
            "perturbations_per_eval": perturbations_per_eval,
            "task": self.task,
        }


class DeletionAUC(CurveMetric):
    """The mean area under the deletion curve, 0 to 1, lower is better; see ``deletion_curve``.

    Args:
        preset: number of steps and replacement of the pixels: a name from ``PRESETS`` or a :class:`Preset`.
        perturbations_per_eval: changed images in one forward pass.
        task: meaning of the model's output; see :class:`Conditions`.
        **kwargs: passed to ``torchmetrics.Metric``.

    Raises:
        CAMError: preset or task is unknown.

    Example::

        deletion = metrics.DeletionAUC("quick")
        maps = cc.GradCAM(model).attribute(images, labels)
        deletion.update(model, images, maps, labels)
        print(deletion.compute())
    """

    higher_is_better = False

    def values(self, forward_func: Callable[..., Any], inputs: Tensor, maps: Tensor, target: Any) -> Tensor:
        return curve_area(deletion_curve(forward_func, inputs, maps, target, **self.options))


class InsertionAUC(CurveMetric):
    """The mean area under the insertion curve, 0 to 1, higher is better; see ``insertion_curve``.

    Args:
        preset: number of steps and replacement of the pixels: a name from ``PRESETS`` or a :class:`Preset`.
        perturbations_per_eval: changed images in one forward pass.
        task: meaning of the model's output; see :class:`Conditions`.
        **kwargs: passed to ``torchmetrics.Metric``.

    Raises:
        CAMError: preset or task is unknown.

    Example::

        insertion = metrics.InsertionAUC("quick")
        maps = cc.GradCAM(model).attribute(images, labels)
        insertion.update(model, images, maps, labels)
        print(insertion.compute())
    """

    higher_is_better = True

    def values(self, forward_func: Callable[..., Any], inputs: Tensor, maps: Tensor, target: Any) -> Tensor:
        return curve_area(insertion_curve(forward_func, inputs, maps, target, **self.options))


class OverAll(CurveMetric):
    """The mean of insertion area minus deletion area, −1 to 1, higher is better (Zhang et al., "Group-CAM", 2021).

    Args:
        preset: number of steps and replacement of the pixels: a name from ``PRESETS`` or a :class:`Preset`.
        perturbations_per_eval: changed images in one forward pass.
        task: meaning of the model's output; see :class:`Conditions`.
        **kwargs: passed to ``torchmetrics.Metric``.

    Raises:
        CAMError: preset or task is unknown.

    Example::

        over_all = metrics.OverAll("quick")
        maps = cc.GradCAM(model).attribute(images, labels)
        over_all.update(model, images, maps, labels)
        print(over_all.compute())
    """

    higher_is_better = True
    plot_lower_bound = -1.0

    def values(self, forward_func: Callable[..., Any], inputs: Tensor, maps: Tensor, target: Any) -> Tensor:
        insertion = curve_area(insertion_curve(forward_func, inputs, maps, target, **self.options))
        return insertion - curve_area(deletion_curve(forward_func, inputs, maps, target, **self.options))


class MaskingMetric(FaithfulnessMetric):
    """A metric that shows the model only the explained part of an image."""

    plot_upper_bound = 100.0

    def __init__(self, masking: Masking = "multiply", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_choice("masking", masking, get_args(Masking))
        self.masking = masking


class AverageDrop(MaskingMetric):
    """The mean loss of probability if only the explained part is shown, 0 to 100 %, lower is better.

    Args:
        masking: how the explained part of an image is made: "multiply" or "fgcam"; see ``average_drop``.
        task: meaning of the model's output; ``update`` refuses "regression".
        **kwargs: passed to ``torchmetrics.Metric``.

    Raises:
        CAMError: masking or task is unknown.

    Example::

        drop = metrics.AverageDrop()
        maps = cc.GradCAM(model).attribute(images, labels)
        drop.update(model, images, maps, labels)
        print(drop.compute())
    """

    higher_is_better = False

    def values(self, forward_func: Callable[..., Any], inputs: Tensor, maps: Tensor, target: Any) -> Tensor:
        return average_drop(forward_func, inputs, maps, target, masking=self.masking, task=self.task)


class AverageIncrease(MaskingMetric):
    """The share of images whose explained part alone has a higher probability, 0 to 100 %, higher is better.

    Args:
        masking: how the explained part of an image is made: "multiply" or "fgcam"; see ``average_drop``.
        task: meaning of the model's output; ``update`` refuses "regression".
        **kwargs: passed to ``torchmetrics.Metric``.

    Raises:
        CAMError: masking or task is unknown.

    Example::

        increase = metrics.AverageIncrease("fgcam")
        maps = cc.GradCAM(model).attribute(images, labels)
        increase.update(model, images, maps, labels)
        print(increase.compute())
    """

    higher_is_better = True

    def values(self, forward_func: Callable[..., Any], inputs: Tensor, maps: Tensor, target: Any) -> Tensor:
        return average_increase(forward_func, inputs, maps, target, masking=self.masking, task=self.task)


def _missing(inputs: Tensor, target: Any) -> Tensor:
    """Raise, because the explainer is missing after a metric was loaded."""
    raise CAMError(
        "the metric needs the explainer, got a metric that was loaded from a file, which does not contain it; "
        "set metric.explain = cam.attribute"
    )


class _Shared:
    """A function that all copies of a metric share, and that is not pickled."""

    def __init__(self, function: Explain = _missing) -> None:
        self.function = function

    def __deepcopy__(self, memo: Any) -> "_Shared":
        return self

    def __reduce__(self) -> tuple[type["_Shared"], tuple[()]]:
        return _Shared, ()


class ExplainingMetric(FaithfulnessMetric):
    """A metric that explains changed images, or by a changed model."""

    def __init__(self, explain: Explain, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.explain = explain

    @property
    def explain(self) -> Explain:
        """The function from images and target to maps."""
        return self._explain.function

    @explain.setter
    def explain(self, explain: Explain) -> None:
        check_same_task(explain, self.task)
        self._explain = _Shared(explain)


class ADCC(ExplainingMetric):
    """The mean ADCC of the images, 0 to 1, higher is better; see ``adcc``.

    Args:
        explain: the ``attribute`` method of the explainer that is measured. Copies of the metric share it. It is not
            pickled: after you load a metric from a file, set ``metric.explain`` again.
        task: meaning of the model's output; ``update`` refuses "regression".
        **kwargs: passed to ``torchmetrics.Metric``.

    Raises:
        CAMError: the task is unknown or not that of the explainer, or ``update`` is called without ``explain`` after
            loading.

    Example::

        cam = cc.GradCAM(model)
        score = metrics.ADCC(cam.attribute)
        score.update(model, images, cam.attribute(images, labels), labels)
        print(score.compute())
    """

    higher_is_better = True

    def values(self, forward_func: Callable[..., Any], inputs: Tensor, maps: Tensor, target: Any) -> Tensor:
        return adcc(forward_func, inputs, maps, target, explain=self.explain, task=self.task)
