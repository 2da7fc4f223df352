"""What the model says after pixels are removed, as torchmetrics classes, which keep only a sum and a count."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from captum_cams.metrics.faithfulness import CurveMetric, ExplainingMetric, FaithfulnessMetric, MaskingMetric
from captum_cams.metrics.functional.removal import average_gain, calibration, single_deletion
from captum_cams.metrics.functional.road import PERCENTAGES, arcc, road


class ROAD(FaithfulnessMetric):
    """The mean ROAD of the images, −½ to ½, higher is better; see ``road``.

    Args:
        percentages: how many percent of the pixels are removed, integers from 1 to 99.
        noise: standard deviation of the noise on the replaced pixels, in the units of the images.
        seed: seed of the noise.
        perturbations_per_eval: changed images in one forward pass.
        task: meaning of the model's output; see :class:`Conditions`.
        **kwargs: passed to ``torchmetrics.Metric``.

    Raises:
        CAMError: task is unknown.

    Example::

        score = metrics.ROAD((20, 80))
        maps = cc.GradCAM(model).attribute(images, labels)
        score.update(model, images, maps, labels)
        print(score.compute())
    """

    higher_is_better = True
    plot_lower_bound = -0.5
    plot_upper_bound = 0.5

    def __init__(
        self,
        percentages: Sequence[int] = PERCENTAGES,
        *,
        noise: float = 0.01,
        seed: int = 0,
        perturbations_per_eval: int = 8,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.options: dict[str, Any] = {
            "percentages": percentages,
            "noise": noise,
            "seed": seed,
            "perturbations_per_eval": perturbations_per_eval,
            "task": self.task,
        }

    def values(self, forward_func: Callable[..., Any], inputs: Tensor, maps: Tensor, target: Any) -> Tensor:
        return road(forward_func, inputs, maps, target, **self.options)


class ARCC(ExplainingMetric):
    """The mean ARCC of the images, 0 to 1, higher is better; see ``arcc``.

    Args:
        explain: the ``attribute`` method of the explainer that is measured, as for :class:`ADCC`.
        task: meaning of the model's output; ``update`` refuses "regression".
        **kwargs: passed to ``torchmetrics.Metric``.

    Raises:
        CAMError: the task is unknown or not that of the explainer, or ``update`` is called without ``explain`` after
            loading.

    Example::

        cam = cc.GradCAM(model)
        score = metrics.ARCC(cam.attribute)
        score.update(model, images, cam.attribute(images, labels), labels)
        print(score.compute())
    """

    higher_is_better = True

    def values(self, forward_func: Callable[..., Any], inputs: Tensor, maps: Tensor, target: Any) -> Tensor:
        return arcc(forward_func, inputs, maps, target, explain=self.explain, task=self.task)


class AverageGain(MaskingMetric):
    """The mean gain of probability if only the explained part is shown, 0 to 100 %, higher is better.

    Args:
        masking: how the explained part of an image is made: "multiply" or "fgcam"; see ``average_drop``.
        task: meaning of the model's output; ``update`` refuses "regression".
        **kwargs: passed to ``torchmetrics.Metric``.

    Raises:
        CAMError: masking or task is unknown.

    Example::

        gain = metrics.AverageGain()
        maps = cc.GradCAM(model).attribute(images, labels)
        gain.update(model, images, maps, labels)
        print(gain.compute())
    """

    higher_is_better = True

    def values(self, forward_func: Callable[..., Any], inputs: Tensor, maps: Tensor, target: Any) -> Tensor:
        return average_gain(forward_func, inputs, maps, target, masking=self.masking, task=self.task)


class SingleDeletion(FaithfulnessMetric):
    """The mean rank correlation of the map with the drops without one patch, −1 to 1, higher is better.

    See ``single_deletion``. Images whose score no deletion changes are left out of the mean.

    Args:
        patches: number of patches along each axis.
        deleted: function from images to images whose pixels replace those of the deleted patch.
        perturbations_per_eval: changed images in one forward pass.
        task: meaning of the model's output; see :class:`Conditions`.
        **kwargs: passed to ``torchmetrics.Metric``.

    Raises:
        CAMError: task is unknown.

    Example::

        single = metrics.SingleDeletion(patches=3)
        maps = cc.GradCAM(model).attribute(images, labels)
        single.update(model, images, maps, labels)
        print(single.compute())
    """

    higher_is_better = True
    plot_lower_bound = -1.0

    def __init__(
        self,
        patches: int = 4,
        *,
        deleted: Callable[[Tensor], Tensor] = torch.zeros_like,
        perturbations_per_eval: int = 8,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.options: dict[str, Any] = {
            "patches": patches,
            "deleted": deleted,
            "perturbations_per_eval": perturbations_per_eval,
            "task": self.task,
        }

    def values(self, forward_func: Callable[..., Any], inputs: Tensor, maps: Tensor, target: Any) -> Tensor:
        return _defined(single_deletion(forward_func, inputs, maps, target, **self.options))


class Calibration(CurveMetric):
    """The mean correlation of map values with the drops in the steps of the deletion curve, −1 to 1, higher is better.

    See ``calibration``. Images whose curve is constant are left out of the mean.

    Args:
        preset: number of steps and replacement of the pixels: a name from ``PRESETS`` or a :class:`Preset`.
        perturbations_per_eval: changed images in one forward pass.
        task: meaning of the model's output; see :class:`Conditions`.
        **kwargs: passed to ``torchmetrics.Metric``.

    Raises:
        CAMError: preset or task is unknown.

    Example::

        calibration = metrics.Calibration("quick")
        maps = cc.GradCAM(model).attribute(images, labels)
        calibration.update(model, images, maps, labels)
        print(calibration.compute())
    """

    higher_is_better = True
    plot_lower_bound = -1.0

    def values(self, forward_func: Callable[..., Any], inputs: Tensor, maps: Tensor, target: Any) -> Tensor:
        return _defined(calibration(forward_func, inputs, maps, target, **self.options))


def _defined(values: Tensor) -> Tensor:
    """The values of the images for which the metric is defined."""
    return values[~values.isnan()]
