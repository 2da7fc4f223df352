"""How faithful an explanation is to the network: pure functions, and torchmetrics classes over them."""

from captum_cams.blur import blur
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
    "curve_area",
    "deletion_curve",
    "insertion_curve",
]
