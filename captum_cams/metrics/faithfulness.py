"""The functions of :mod:`captum_cams.metrics.functional.faithfulness` as torchmetrics classes.

They keep sums and counts only. Keyword arguments that are not named below go to ``torchmetrics.Metric``.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, get_args

from torch import Tensor

from captum_cams.engine.scores import Task, check_task
from captum_cams.errors import CAMError, check_choice
from captum_cams.metrics.functional.adcc import Explain, adcc
from captum_cams.metrics.functional.faithfulness import (
    Masking,
    average_drop,
    average_increase,
    curve_area,
    deletion_curve,
    insertion_curve,
)
from captum_cams.metrics.image_mean import ImageMean
from captum_cams.metrics.presets import Preset, find_preset


class _Faithfulness(ImageMean, ABC):
    def __init__(self, *, task: Task = "multiclass", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.task = check_task(task)

    @abstractmethod
    def values(self, forward_func: Callable[..., Any], inputs: Tensor, maps: Tensor, target: Any) -> Tensor:
        """One value per image, N."""

    def update(self, forward_func: Callable[..., Any], inputs: Tensor, maps: Tensor, target: Any = None) -> None:
        """Measure a batch of images and their maps.

        Args:
            forward_func: the model; its state is left as it was.
            inputs: N×C×H×W.
            maps: the explanations, N×h×w or N×1×h×w, of any size.
            target: the explained classes in any of Captum's forms; None is the predicted class of each image.

        Raises:
            CAMError: shapes, target or task do not fit, the batch is empty, or maps or scores hold NaN or Inf.
        """
        self.add(self.values(forward_func, inputs, maps, target))


class _CurveMetric(_Faithfulness):
    def __init__(self, preset: str | Preset = "rise", *, perturbations_per_eval: int = 8, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.options: dict[str, Any] = {
            "preset": find_preset(preset),
            "perturbations_per_eval": perturbations_per_eval,
            "task": self.task,
        }


class DeletionAUC(_CurveMetric):
    """Mean area under the deletion curve, 0 to 1, lower is better; see ``deletion_curve``.

    Args:
        preset: steps and replacement of a paper by name, or a :class:`Preset`.
        perturbations_per_eval: changed images in one run of the model.
        task: what the model's output means, "multiclass" if nothing is said.

    Raises:
        CAMError: an unknown preset or task.

    Example::

        deletion = DeletionAUC("jittercam")
        for images, labels in loader:
            deletion.update(model, images, GradCAM(model).attribute(images))
        print(deletion.compute())
    """

    higher_is_better = False

    def values(self, forward_func: Callable[..., Any], inputs: Tensor, maps: Tensor, target: Any) -> Tensor:
        return curve_area(deletion_curve(forward_func, inputs, maps, target, **self.options))


class InsertionAUC(_CurveMetric):
    """Mean area under the insertion curve, 0 to 1, higher is better; arguments as :class:`DeletionAUC`."""

    higher_is_better = True

    def values(self, forward_func: Callable[..., Any], inputs: Tensor, maps: Tensor, target: Any) -> Tensor:
        return curve_area(insertion_curve(forward_func, inputs, maps, target, **self.options))


class OverAll(_CurveMetric):
    """Mean of insertion minus deletion area, −1 to 1, higher is better (Zhang et al., "Group-CAM", 2021)."""

    higher_is_better = True
    plot_lower_bound = -1.0

    def values(self, forward_func: Callable[..., Any], inputs: Tensor, maps: Tensor, target: Any) -> Tensor:
        insertion = curve_area(insertion_curve(forward_func, inputs, maps, target, **self.options))
        return insertion - curve_area(deletion_curve(forward_func, inputs, maps, target, **self.options))


class _MaskingMetric(_Faithfulness):
    plot_upper_bound = 100.0

    def __init__(self, masking: Masking = "multiply", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_choice("masking", masking, get_args(Masking))
        self.masking = masking


class AverageDrop(_MaskingMetric):
    """Mean loss of probability when only the explained part is shown, 0 to 100 %, lower is better.

    Args:
        masking: "multiply" or "fgcam", see ``average_drop``.
        task: what the model's output means; "regression" is refused in ``update``.

    Raises:
        CAMError: an unknown masking or task.
    """

    higher_is_better = False

    def values(self, forward_func: Callable[..., Any], inputs: Tensor, maps: Tensor, target: Any) -> Tensor:
        return average_drop(forward_func, inputs, maps, target, masking=self.masking, task=self.task)


class AverageIncrease(_MaskingMetric):
    """Share of images whose explained part alone has a higher probability, 0 to 100 %, higher is better.

    Arguments as :class:`AverageDrop`.
    """

    higher_is_better = True

    def values(self, forward_func: Callable[..., Any], inputs: Tensor, maps: Tensor, target: Any) -> Tensor:
        return average_increase(forward_func, inputs, maps, target, masking=self.masking, task=self.task)


def _left_out(inputs: Tensor, target: Any) -> Tensor:
    raise CAMError(
        "ADCC explains images anew, but the explainer is not part of a pickled metric; "
        "set metric.explain = cam.attribute after loading"
    )


class _Shared:
    """A function that copies of a metric hold in common and that no pickle takes along."""

    def __init__(self, function: Explain = _left_out) -> None:
        self.function = function

    def __deepcopy__(self, memo: Any) -> "_Shared":
        return self

    def __reduce__(self) -> tuple[type["_Shared"], tuple[()]]:
        return _Shared, ()


class ADCC(_Faithfulness):
    """Mean ADCC, 0 to 1, higher is better; see ``adcc``.

    Args:
        explain: images and target to maps, the ``attribute`` of the explainer that is measured. Copies of the metric
            share it, with the model behind it; a pickled metric leaves it out, so set ``explain`` anew after loading.
        task: what the model's output means; "regression" is refused in ``update``.

    Raises:
        CAMError: an unknown task; and in ``update``, if ``explain`` was not set after loading.
    """

    higher_is_better = True

    def __init__(self, explain: Explain, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._explain = _Shared(explain)

    @property
    def explain(self) -> Explain:
        """Images and target to maps."""
        return self._explain.function

    @explain.setter
    def explain(self, explain: Explain) -> None:
        self._explain = _Shared(explain)

    def values(self, forward_func: Callable[..., Any], inputs: Tensor, maps: Tensor, target: Any) -> Tensor:
        return adcc(forward_func, inputs, maps, target, explain=self.explain, task=self.task)
