"""Stability and sanity checks as torchmetrics classes, which keep only a sum and a count."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from captum_cams.errors import check_at_least
from captum_cams.metrics.faithfulness import ExplainingMetric, FaithfulnessMetric
from captum_cams.metrics.functional.adcc import Explain
from captum_cams.metrics.functional.randomisation import random_logit, randomisation
from captum_cams.metrics.functional.similarity import Similarity, check_similarity
from captum_cams.metrics.functional.stability import check_radius, infidelity, sensitivity
from captum_cams.metrics.presets import Preset, find_preset


class Sensitivity(ExplainingMetric):
    """The mean largest change of the map under small noise, 0 or greater, lower is better; see ``sensitivity``.

    Args:
        explain: the ``attribute`` method of the explainer that is measured, kept as in :class:`ADCC`.
        radius: the largest change of a value, as a share of the range of the image.
        samples: number of changed images for each image.
        seed: another seed gives other noise.
        perturbations_per_eval: changed images that are explained together.
        task: meaning of the model's output; only compared with that of the explainer.
        **kwargs: passed to ``torchmetrics.Metric``.

    Raises:
        CAMError: an argument does not fit, the explainer has another task, or ``update`` is called without ``explain``
            after loading, or without a target.

    Example::

        cam = cc.GradCAM(model)
        stable = metrics.Sensitivity(cam.attribute)
        stable.update(model, images, cam.attribute(images, labels), labels)
        print(stable.compute())
    """

    higher_is_better = False
    plot_upper_bound = None

    def __init__(
        self,
        explain: Explain,
        *,
        radius: float = 0.02,
        samples: int = 10,
        seed: int = 0,
        perturbations_per_eval: int = 8,
        **kwargs: Any,
    ) -> None:
        super().__init__(explain, **kwargs)
        check_radius(radius)
        check_at_least("samples", samples, 1)
        check_at_least("perturbations_per_eval", perturbations_per_eval, 1)
        self.options: dict[str, Any] = {
            "radius": radius,
            "samples": samples,
            "seed": seed,
            "perturbations_per_eval": perturbations_per_eval,
        }

    def values(self, forward_func: Callable[..., Any], inputs: Tensor, maps: Tensor, target: Any) -> Tensor:
        return sensitivity(inputs, maps, self.explain, target, **self.options)


class Infidelity(FaithfulnessMetric):
    """The mean infidelity of the maps, in squared units of the score, lower is better; see ``infidelity``.

    Args:
        preset: what replaces the pixels of a box: a name from ``PRESETS`` or a :class:`Preset`.
        samples: number of boxes.
        seed: another seed gives other boxes.
        perturbations_per_eval: changed images in one forward pass.
        task: meaning of the model's output; see :class:`Conditions`.
        **kwargs: passed to ``torchmetrics.Metric``.

    Raises:
        CAMError: an argument does not fit.

    Example::

        wrong = metrics.Infidelity("quick")
        wrong.update(model, images, cc.GradCAM(model).attribute(images, labels), labels)
        print(wrong.compute())
    """

    higher_is_better = False
    plot_upper_bound = None

    def __init__(
        self,
        preset: str | Preset = "rise",
        *,
        samples: int = 50,
        seed: int = 0,
        perturbations_per_eval: int = 8,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_at_least("samples", samples, 1)
        check_at_least("perturbations_per_eval", perturbations_per_eval, 1)
        self.options: dict[str, Any] = {
            "preset": find_preset(preset),
            "samples": samples,
            "seed": seed,
            "perturbations_per_eval": perturbations_per_eval,
            "task": self.task,
        }

    def values(self, forward_func: Callable[..., Any], inputs: Tensor, maps: Tensor, target: Any) -> Tensor:
        return infidelity(forward_func, inputs, maps, target, **self.options)


class _SanityCheck(ExplainingMetric):
    """The mean similarity of the map to maps that should differ from it."""

    higher_is_better = False
    plot_lower_bound = -1.0

    def __init__(self, explain: Explain, *, similarity: Similarity = "spearman", seed: int = 0, **kwargs: Any) -> None:
        super().__init__(explain, **kwargs)
        check_similarity(similarity)
        self.options: dict[str, Any] = {"similarity": similarity, "seed": seed, "task": self.task}


class Randomisation(_SanityCheck):
    """The mean similarity of the map after the model is re-initialised, −1 to 1, lower is better.

    See ``randomisation``.

    Args:
        explain: the ``attribute`` method of the explainer that is measured, kept as in :class:`ADCC`.
        similarity: how the maps are compared: "spearman" or "ssim"; see ``randomisation``.
        seed: another seed gives other weights.
        task: meaning of the model's output; see :class:`Conditions`.
        **kwargs: passed to ``torchmetrics.Metric``.

    Raises:
        CAMError: an argument is unknown, the explainer has another task, or ``update`` is called without ``explain``
            after loading.

    Example::

        cam = cc.GradCAM(model)
        check = metrics.Randomisation(cam.attribute)
        check.update(model, images, cam.attribute(images, labels), labels)
        print(check.compute())
    """

    def values(self, forward_func: Callable[..., Any], inputs: Tensor, maps: Tensor, target: Any) -> Tensor:
        return randomisation(forward_func, inputs, maps, target, explain=self.explain, **self.options)


class RandomLogit(_SanityCheck):
    """The mean similarity of the map to the map of another class, −1 to 1, lower is better; see ``random_logit``.

    Args:
        explain: the ``attribute`` method of the explainer that is measured, kept as in :class:`ADCC`.
        similarity: how the maps are compared: "spearman" or "ssim"; see ``randomisation``.
        seed: another seed gives other classes.
        task: meaning of the model's output; see :class:`Conditions`.
        **kwargs: passed to ``torchmetrics.Metric``.

    Raises:
        CAMError: an argument is unknown, the explainer has another task, or ``update`` is called without ``explain``
            after loading.

    Example::

        cam = cc.GradCAM(model)
        check = metrics.RandomLogit(cam.attribute)
        check.update(model, images, cam.attribute(images, labels), labels)
        print(check.compute())
    """

    def values(self, forward_func: Callable[..., Any], inputs: Tensor, maps: Tensor, target: Any) -> Tensor:
        return random_logit(forward_func, inputs, maps, target, explain=self.explain, **self.options)
