"""How faithful an explanation is to the network: pure functions, and torchmetrics classes over them."""

from captum_cams.blur import blur
from captum_cams.metrics.boxes import box_overlap, energy_inside, localisation_error, pointing_game
from captum_cams.metrics.faithfulness import AverageDrop, AverageIncrease, DeletionAUC, InsertionAUC, OverAll
from captum_cams.metrics.functional import (
    average_drop,
    average_increase,
    curve_area,
    deletion_curve,
    insertion_curve,
)
from captum_cams.metrics.presets import PRESETS, Preset

__all__ = [
    "PRESETS",
    "AverageDrop",
    "AverageIncrease",
    "DeletionAUC",
    "InsertionAUC",
    "OverAll",
    "Preset",
    "average_drop",
    "average_increase",
    "blur",
    "box_overlap",
    "curve_area",
    "deletion_curve",
    "energy_inside",
    "insertion_curve",
    "localisation_error",
    "pointing_game",
]
