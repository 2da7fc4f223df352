"""Class activation maps as Captum layer attributions."""

from captum_cams import methods, wrappers
from captum_cams.bases.attribution import CAMAttribution
from captum_cams.bases.input_mask import InputMaskCAM
from captum_cams.bases.output_relevance import OutputRelevance
from captum_cams.bases.perturbed import PerturbedCAM
from captum_cams.bases.spatial import SpatialCAM, WeightedCAM
from captum_cams.bases.variants import VariantsCAM
from captum_cams.bases.wrapped import WrappedCAM
from captum_cams.cost import Cost
from captum_cams.engine.layout import CHANNELS_LAST, Layout, tokens
from captum_cams.errors import CAMError
from captum_cams.methods.ablationcam import AblationCAM
from captum_cams.methods.cam import CAM
from captum_cams.methods.cameras import CAMERAS
from captum_cams.methods.centre import Centre
from captum_cams.methods.clrp import CLRP
from captum_cams.methods.constant import Constant
from captum_cams.methods.eigencam import EigenCAM
from captum_cams.methods.fdcam import FDCAM
from captum_cams.methods.gradcam import GradCAM
from captum_cams.methods.gradcamplusplus import GradCAMPlusPlus
from captum_cams.methods.groupcam import GroupCAM
from captum_cams.methods.hirescam import HiResCAM
from captum_cams.methods.integratedgradcam import IntegratedGradCAM
from captum_cams.methods.iscam import ISCAM
from captum_cams.methods.layercam import LayerCAM
from captum_cams.methods.liftcam import LIFTCAM
from captum_cams.methods.lrp import LRP
from captum_cams.methods.lrpcam import LRPCAM
from captum_cams.methods.random import Random
from captum_cams.methods.reciprocam import ReciproCAM
from captum_cams.methods.relevancecam import RelevanceCAM
from captum_cams.methods.rise import RISE
from captum_cams.methods.scorecam import ScoreCAM
from captum_cams.methods.sglrp import SGLRP
from captum_cams.methods.smoothgradcamplusplus import SmoothGradCAMPlusPlus
from captum_cams.methods.sscam import SSCAM
from captum_cams.methods.xgradcam import XGradCAM
from captum_cams.paper import Paper
from captum_cams.registry import create, names, register
from captum_cams.relevance.propagation import Propagation
from captum_cams.relevance.rules import ZBetaRule, ZPlusRule
from captum_cams.wrappers.augmentedcam import AugmentedCAM, Transformation
from captum_cams.wrappers.fgcam import FGCAM
from captum_cams.wrappers.guidedcam import GuidedCAM
from captum_cams.wrappers.jittercam import JitterCAM
from captum_cams.wrappers.multilayercam import MultiLayerCAM
from captum_cams.wrappers.sess import SESS

__version__ = "0.1.0"

__all__ = [
    "CAM",
    "CAMERAS",
    "CHANNELS_LAST",
    "CLRP",
    "FDCAM",
    "FGCAM",
    "ISCAM",
    "LIFTCAM",
    "LRP",
    "LRPCAM",
    "RISE",
    "SESS",
    "SGLRP",
    "SSCAM",
    "AblationCAM",
    "AugmentedCAM",
    "CAMAttribution",
    "CAMError",
    "Centre",
    "Constant",
    "Cost",
    "EigenCAM",
    "GradCAM",
    "GradCAMPlusPlus",
    "GroupCAM",
    "GuidedCAM",
    "HiResCAM",
    "InputMaskCAM",
    "IntegratedGradCAM",
    "JitterCAM",
    "LayerCAM",
    "Layout",
    "MultiLayerCAM",
    "OutputRelevance",
    "Paper",
    "PerturbedCAM",
    "Propagation",
    "Random",
    "ReciproCAM",
    "RelevanceCAM",
    "ScoreCAM",
    "SmoothGradCAMPlusPlus",
    "SpatialCAM",
    "Transformation",
    "VariantsCAM",
    "WeightedCAM",
    "WrappedCAM",
    "XGradCAM",
    "ZBetaRule",
    "ZPlusRule",
    "create",
    "methods",
    "names",
    "register",
    "tokens",
    "wrappers",
]
