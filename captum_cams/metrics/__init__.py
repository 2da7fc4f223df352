"""Measure how good the maps are: pure functions, and torchmetrics classes that use them."""

from captum_cams.images import blur
from captum_cams.metrics.annotation import Annotation
from captum_cams.metrics.case import Case, Conditions
from captum_cams.metrics.catalogue import METRICS, Summary
from captum_cams.metrics.entry import MetricEntry, register_metric
from captum_cams.metrics.faithfulness import ADCC, AverageDrop, AverageIncrease, DeletionAUC, InsertionAUC, OverAll
from captum_cams.metrics.functional.adcc import adcc, adcc_of_parts, coherency, complexity
from captum_cams.metrics.functional.consistency import consistency
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
from captum_cams.metrics.functional.randomisation import random_logit, randomisation, randomisation_curve
from captum_cams.metrics.functional.relevance import relevance_mass, relevance_rank, top_k_intersection
from captum_cams.metrics.functional.removal import average_gain, calibration, calibration_of_curve, single_deletion
from captum_cams.metrics.functional.road import arcc, arcc_of_parts, road, road_curves
from captum_cams.metrics.functional.shape import entropy, sparseness
from captum_cams.metrics.functional.stability import infidelity, sensitivity
from captum_cams.metrics.localisation import (
    EnergyPointingGame,
    LocalisationError,
    PointingGame,
    RelevanceMass,
    RelevanceRank,
    TopKIntersection,
)
from captum_cams.metrics.presets import PRESETS, Imputation, Preset
from captum_cams.metrics.protocols import PROTOCOLS, Protocol
from captum_cams.metrics.removal import ARCC, ROAD, AverageGain, Calibration, SingleDeletion
from captum_cams.metrics.replacements import REPLACEMENTS, Noise, mean_colour
from captum_cams.metrics.shape import Consistency, Entropy, Sparseness
from captum_cams.metrics.stability import Infidelity, Randomisation, RandomLogit, Sensitivity

__all__ = [
    "ADCC",
    "ARCC",
    "METRICS",
    "PRESETS",
    "PROTOCOLS",
    "REPLACEMENTS",
    "ROAD",
    "Annotation",
    "AverageDrop",
    "AverageGain",
    "AverageIncrease",
    "Calibration",
    "Case",
    "Conditions",
    "Consistency",
    "DeletionAUC",
    "EnergyPointingGame",
    "Entropy",
    "Imputation",
    "Infidelity",
    "InsertionAUC",
    "LocalisationError",
    "MetricEntry",
    "Noise",
    "OverAll",
    "PointingGame",
    "Preset",
    "Protocol",
    "RandomLogit",
    "Randomisation",
    "RelevanceMass",
    "RelevanceRank",
    "Sensitivity",
    "SingleDeletion",
    "Sparseness",
    "Summary",
    "TopKIntersection",
    "adcc",
    "adcc_of_parts",
    "arcc",
    "arcc_of_parts",
    "average_drop",
    "average_gain",
    "average_increase",
    "blur",
    "calibration",
    "calibration_of_curve",
    "coherency",
    "complexity",
    "consistency",
    "curve_area",
    "deletion_curve",
    "drop_and_increase",
    "energy_inside",
    "entropy",
    "infidelity",
    "insertion_curve",
    "is_difficult",
    "localisation_error",
    "mean_colour",
    "noisy_linear_imputation",
    "pointing_game",
    "random_logit",
    "randomisation",
    "randomisation_curve",
    "region_mask",
    "region_overlap",
    "register_metric",
    "relevance_mass",
    "relevance_rank",
    "road",
    "road_curves",
    "sensitivity",
    "single_deletion",
    "sparseness",
    "telea_inpainting",
    "top_k_intersection",
]
