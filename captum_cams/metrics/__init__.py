"""How faithful an explanation is to the network: pure functions, and torchmetrics classes over them."""

from captum_cams.images import blur
from captum_cams.metrics.faithfulness import ADCC, AverageDrop, AverageIncrease, DeletionAUC, InsertionAUC, OverAll
from captum_cams.metrics.functional.adcc import adcc, adcc_of_parts, coherency, complexity
from captum_cams.metrics.functional.faithfulness import (
    average_drop,
    average_increase,
    curve_area,
    deletion_curve,
    drop_and_increase,
    insertion_curve,
)
from captum_cams.metrics.functional.localisation import (
    energy_inside,
    is_difficult,
    localisation_error,
    pointing_game,
    region_mask,
    region_overlap,
)
from captum_cams.metrics.localisation import EnergyPointingGame, LocalisationError, PointingGame
from captum_cams.metrics.presets import PRESETS, Preset

__all__ = [
    "ADCC",
    "PRESETS",
    "AverageDrop",
    "AverageIncrease",
    "DeletionAUC",
    "EnergyPointingGame",
    "InsertionAUC",
    "LocalisationError",
    "OverAll",
    "PointingGame",
    "Preset",
    "adcc",
    "adcc_of_parts",
    "average_drop",
    "average_increase",
    "blur",
    "coherency",
    "complexity",
    "curve_area",
    "deletion_curve",
    "drop_and_increase",
    "energy_inside",
    "insertion_curve",
    "is_difficult",
    "localisation_error",
    "pointing_game",
    "region_mask",
    "region_overlap",
]
