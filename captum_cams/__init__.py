"""Class activation maps as Captum layer attributions."""

from captum_cams import methods
from captum_cams.attribution import CAMAttribution, SpatialCAM, WeightedCAM
from captum_cams.errors import CAMError
from captum_cams.methods.cam import CAM
from captum_cams.methods.fdcam import FDCAM
from captum_cams.methods.gradcam import GradCAM
from captum_cams.methods.gradcamplusplus import GradCAMPlusPlus
from captum_cams.methods.hirescam import HiResCAM
from captum_cams.methods.layercam import LayerCAM
from captum_cams.methods.xgradcam import XGradCAM
from captum_cams.registry import create, names, register

__version__ = "0.1.0"

__all__ = [
    "CAM",
    "FDCAM",
    "CAMAttribution",
    "CAMError",
    "GradCAM",
    "GradCAMPlusPlus",
    "HiResCAM",
    "LayerCAM",
    "SpatialCAM",
    "WeightedCAM",
    "XGradCAM",
    "create",
    "methods",
    "names",
    "register",
]
