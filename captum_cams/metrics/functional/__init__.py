"""Metrics as pure functions on tensors; the folder above holds the torchmetrics classes that use them."""

from captum_cams.metrics.functional.adcc import adcc as adcc
from captum_cams.metrics.functional.adcc import adcc_of_parts as adcc_of_parts
from captum_cams.metrics.functional.adcc import coherency as coherency
from captum_cams.metrics.functional.adcc import complexity as complexity
from captum_cams.metrics.functional.faithfulness import average_drop as average_drop
from captum_cams.metrics.functional.faithfulness import average_increase as average_increase
from captum_cams.metrics.functional.faithfulness import curve_area as curve_area
from captum_cams.metrics.functional.faithfulness import deletion_curve as deletion_curve
from captum_cams.metrics.functional.faithfulness import drop_and_increase as drop_and_increase
from captum_cams.metrics.functional.faithfulness import insertion_curve as insertion_curve
from captum_cams.metrics.functional.imputation import noisy_linear_imputation as noisy_linear_imputation
from captum_cams.metrics.functional.localisation import energy_inside as energy_inside
from captum_cams.metrics.functional.localisation import is_difficult as is_difficult
from captum_cams.metrics.functional.localisation import localisation_error as localisation_error
from captum_cams.metrics.functional.localisation import pointing_game as pointing_game
from captum_cams.metrics.functional.localisation import region_mask as region_mask
from captum_cams.metrics.functional.localisation import region_overlap as region_overlap
