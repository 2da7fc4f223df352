"""Measure how good the maps are: pure functions, and torchmetrics classes that use them."""

from captum_cams.images import blur
from captum_cams.metrics.annotation import Annotation
from captum_cams.metrics.case import Case, Conditions
from captum_cams.metrics.catalogue import METRICS, Summary
from captum_cams.metrics.entry import MetricEntry, register_metric
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
from captum_cams.metrics.functional.imputation import noisy_linear_imputation
from captum_cams.metrics.functional.inpainting import telea_inpainting
from captum_cams.metrics.functional.localisation import (
    energy_inside,
    is_difficult,
    localisation_error,
    pointing_game,
    region_mask,
    region_overlap,
)
from captum_cams.metrics.localisation import EnergyPointingGame, LocalisationError, PointingGame
from captum_cams.metrics.presets import PRESETS, Imputation, Preset
from captum_cams.metrics.protocols import PROTOCOLS, Protocol
from captum_cams.metrics.replacements import REPLACEMENTS, Noise, mean_colour

__all__ = [
    "ADCC",
    "METRICS",
    "PRESETS",
    "PROTOCOLS",
    "REPLACEMENTS",
    "Annotation",
    "AverageDrop",
    "AverageIncrease",
    "Case",
    "Conditions",
    "DeletionAUC",
    "EnergyPointingGame",
    "Imputation",
    "InsertionAUC",
    "LocalisationError",
    "MetricEntry",
    "Noise",
    "OverAll",
    "PointingGame",
    "Preset",
    "Protocol",
    "Summary",
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
    "mean_colour",
    "noisy_linear_imputation",
    "pointing_game",
    "region_mask",
    "region_overlap",
    "register_metric",
    "telea_inpainting",
]
