"""What each paper measures: which metrics, for which classes, on which images."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal, get_args

from captum_cams.engine.scores import Task
from captum_cams.errors import CAMError, check_choice, lookup
from captum_cams.metrics.case import Conditions
from captum_cams.metrics.catalogue import METRICS

Classes = Literal["predicted", "annotated"]


def as_names(metrics: str | Iterable[str]) -> tuple[str, ...]:
    """One name or several names as a tuple."""
    return (metrics,) if isinstance(metrics, str) else tuple(metrics)


@dataclass(frozen=True)
class Protocol(Conditions):
    """A complete description of what ``evaluate`` measures.

    Args:
        metrics: one or more names from ``METRICS``.
        classes: "predicted" explains the predicted class of each image; "annotated" explains every annotated class.
        images: number of images, sampled at random, the same images in every run; None takes all images.
        single_small_box: take only images with exactly one box or mask, which covers at most half of the image.
        whole: True if the paper resizes the whole image to the input size of the network, False if it resizes the
            shorter side and crops the centre. Only the command line reads this; ``evaluate`` takes images as they are.
        preset: see :class:`Conditions`.
        masking: see :class:`Conditions`.
        margin: see :class:`Conditions`.
        task: see :class:`Conditions`.

    Raises:
        CAMError: an argument is unknown, or a metric needs probabilities and the task is "regression".

    Example::

        quick = metrics.Protocol(("deletion_auc", "insertion_auc"), preset="quick", images=500)
        print(metrics.PROTOCOLS["adcc"].metrics)
    """

    metrics: tuple[str, ...]
    classes: Classes = "predicted"
    images: int | None = None
    single_small_box: bool = False
    whole: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "metrics", as_names(self.metrics))
        check_choice("classes", self.classes, get_args(Classes))
        needs = {metric: lookup("metric", metric, METRICS).needs for metric in self.metrics}
        probable = [metric for metric in self.metrics if "probabilities" in needs[metric]]
        if self.task == "regression" and probable:
            raise CAMError(
                f'{", ".join(probable)} need probabilities, got task="regression", which has none; pass other metrics, '
                'for example ("deletion_auc", "insertion_auc", "over_all")'
            )

    @property
    def reads_labels(self) -> bool:
        """Whether the numbers depend on the labels of the images."""
        return self.classes == "annotated" or any({"labels", "regions"} & METRICS[name].needs for name in self.metrics)

    @property
    def draws_curves(self) -> bool:
        """Whether a metric needs the deletion and insertion curves."""
        return any("curves" in METRICS[name].needs for name in self.metrics)


_CURVES = ("deletion_auc", "insertion_auc", "over_all")
_FAITHFULNESS = ("insertion_auc", "deletion_auc", "over_all", "average_drop", "average_increase")

PROTOCOLS: dict[str, Protocol] = {
    # The default of evaluate and of the command line: the five numbers that most papers report, for every image. They
    # need no labels and no boxes. 28 steps, as in two of the papers below, cost an eighth of the 224 steps of RISE.
    "default": Protocol(_FAITHFULNESS, preset="jittercam"),
    # The default of the callback: the same numbers with 10 steps, because a validation must be short.
    "training": Protocol(_FAITHFULNESS, preset="quick"),
    # Li et al., ICPR 2022, table I: 2,000 images of the ILSVRC validation set, 3.6 % in each step.
    "fdcam_faithfulness": Protocol(_CURVES, preset="fdcam", images=2000, whole=True),
    # Table II: every class in every image of the VOC 2007 validation set.
    "fdcam_discriminability": Protocol(("pointing_game",), classes="annotated", whole=True),
    # Qiu et al., AAAI 2024, tables 1, 2, 4 and 5: 448 pixels in each step; average drop keeps half of the pixels.
    "fgcam_faithfulness": Protocol(
        ("average_drop", "average_increase", *_CURVES), preset="fgcam", masking="fgcam", images=2000, whole=True
    ),
    # Tables 3 and 6: the energy ("proportion") of 500 images with one box that covers at most half of the image.
    "fgcam_localisation": Protocol(("energy",), classes="annotated", images=500, single_small_box=True, whole=True),
    # Hartley et al., BMVC 2021, table 2: all 50,000 images of the ILSVRC validation set.
    "jittercam_accuracy": Protocol(_CURVES, preset="jittercam"),
    # Tables 3 and 4.
    "jittercam_localisation": Protocol(
        (
            "localisation_error_value",
            "localisation_error_mean",
            "localisation_error_energy",
            "pointing_game",
            "pointing_game_difficult",
        ),
        classes="annotated",
        margin=15.0,
        whole=True,
    ),
    # Poppi et al., CVPRW 2021.
    "adcc": Protocol(("adcc", "coherency", "complexity", "average_drop")),
}


def find_protocol(
    protocol: str | Protocol = "default", metrics: str | Iterable[str] | None = None, task: Task | None = None
) -> Protocol:
    """Find a protocol by its name, and replace its metrics or its task if these are given.

    Raises:
        CAMError: the name is unknown (similar names are listed), or metrics and task do not fit together.
    """
    found = protocol if isinstance(protocol, Protocol) else lookup("protocol", protocol, PROTOCOLS)
    wanted = found.metrics if metrics is None else as_names(metrics)
    return replace(found, metrics=wanted, task=found.task if task is None else task)
