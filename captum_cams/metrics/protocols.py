"""How the papers measure: which metrics, of which classes, on which images."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from captum_cams.engine.scores import Task, check_task
from captum_cams.errors import CAMError, lookup
from captum_cams.metrics.presets import Preset


@dataclass(frozen=True)
class Protocol:
    """What :func:`evaluate` computes.

    Args:
        metrics: names from ``METRICS``.
        classes: "predicted" explains the predicted class of each image, "annotated" every class of its labels.
        preset: steps and replacement of the deletion and insertion curve.
        masking: of average drop and increase, "multiply" or "fgcam".
        margin: of the pointing game, in pixels.
        images: how many are drawn at random, the same ones in every run; None takes all.
        single_small_box: only images with exactly one box or mask, of at most half of the image.
        whole: whether the command line squeezes the whole image into the network's input, or resizes its shorter side
            and crops the centre.
        task: what the model's output means: "multiclass", "multilabel", "binary", "regression", or a function of the
            output that gives scores; see :data:`captum_cams.engine.scores.Task`.

    Raises:
        CAMError: an unknown task, or metrics that compare probabilities for a regression, which has none.
    """

    metrics: tuple[str, ...]
    classes: str = "predicted"
    preset: str | Preset = "rise"
    masking: str = "multiply"
    margin: float = 0.0
    images: int | None = None
    single_small_box: bool = False
    whole: bool = False
    task: Task = "multiclass"

    def __post_init__(self) -> None:
        probable = [one for one in self.metrics if one in ("average_drop", "average_increase", "adcc")]
        if check_task(self.task) == "regression" and probable:
            raise CAMError(
                f'{", ".join(probable)} compare probabilities, of which task="regression" has none; pass other '
                'metrics, as ("deletion_auc", "insertion_auc", "over_all")'
            )


_CURVES = ("deletion_auc", "insertion_auc", "over_all")

PROTOCOLS: dict[str, Protocol] = {
    # Li et al., ICPR 2022, table I: 2,000 images of the ILSVRC validation set, 3.6 % a step.
    "fdcam-faithfulness": Protocol(_CURVES, preset="fdcam", images=2000, whole=True),
    # Table II: every class in every image of the VOC 2007 validation set.
    "fdcam-discriminability": Protocol(("pointing_game",), classes="annotated", whole=True),
    # Qiu et al., AAAI 2024, tables 1, 2, 4 and 5: 448 pixels a step, the best half of the pixels over a blurred image.
    "fgcam-faithfulness": Protocol(
        ("average_drop", "average_increase", *_CURVES), preset="fgcam", masking="fgcam", images=2000, whole=True
    ),
    # Tables 3 and 6: the energy ("proportion") of 500 images with a single box of at most half of the pixels.
    "fgcam-localisation": Protocol(("energy",), classes="annotated", images=500, single_small_box=True, whole=True),
    # Hartley et al., BMVC 2021, table 2: all 50,000 images of the ILSVRC validation set.
    "jittercam-accuracy": Protocol(_CURVES, preset="jittercam"),
    # Tables 3 and 4.
    "jittercam-localisation": Protocol(
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


def find_protocol(protocol: str | Protocol, metrics: Sequence[str] | None = None, task: Task | None = None) -> Protocol:
    """The protocol itself or the one with this name, with other metrics or for another task if these are given.

    Raises:
        CAMError: unknown name; near ones are listed.
    """
    found = protocol if isinstance(protocol, Protocol) else lookup("protocol", protocol, PROTOCOLS)
    wanted = found.metrics if metrics is None else tuple(metrics)
    return replace(found, metrics=wanted, task=found.task if task is None else task)
