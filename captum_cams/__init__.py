"""Class activation maps as Captum layer attributions.

This package has the methods, the wrappers, and the base classes that a new method extends. :func:`create` makes an
explainer from its name, and :func:`show` explains one image and draws it. :mod:`captum_cams.metrics` measures maps, and
:mod:`captum_cams.visual` draws them; both have to be imported by their own names.

Example::

    maps = cc.FDCAM(model, "layer4").attribute(images)
    picture = cc.panel(images, {"fdcam": maps})
    explanation = cc.show(model, images[0])  # notebooks show both
"""

from typing import TYPE_CHECKING, Any

from captum_cams import methods as methods
from captum_cams import targets as targets
from captum_cams import wrappers as wrappers
from captum_cams.adapters.captummaps import CaptumMaps as CaptumMaps
from captum_cams.adapters.functionmaps import FunctionMaps as FunctionMaps
from captum_cams.adapters.peermaps import PeerMaps as PeerMaps
from captum_cams.adapters.storedmaps import StoredMaps as StoredMaps
from captum_cams.bases.attribution import CAMAttribution as CAMAttribution
from captum_cams.bases.input_mask import InputMaskCAM as InputMaskCAM
from captum_cams.bases.layered import LayeredCAM as LayeredCAM
from captum_cams.bases.output_relevance import OutputRelevance as OutputRelevance
from captum_cams.bases.perturbed import PerturbedCAM as PerturbedCAM
from captum_cams.bases.principal import PrincipalCAM as PrincipalCAM
from captum_cams.bases.spatial import SpatialCAM as SpatialCAM
from captum_cams.bases.spatial import WeightedCAM as WeightedCAM
from captum_cams.bases.variants import VariantsCAM as VariantsCAM
from captum_cams.bases.wrapped import WrappedCAM as WrappedCAM
from captum_cams.concepts.concepts import Concepts as Concepts
from captum_cams.concepts.find import find_concepts as find_concepts
from captum_cams.cost import Cost as Cost
from captum_cams.engine.image_input import ImageInput as ImageInput
from captum_cams.engine.layout import CHANNELS_LAST as CHANNELS_LAST
from captum_cams.engine.layout import Layout as Layout
from captum_cams.engine.layout import tokens as tokens
from captum_cams.engine.table import layers as layers
from captum_cams.errors import CAMError as CAMError
from captum_cams.export.with_map import with_map as with_map
from captum_cams.losses.explanation_loss import ExplanationLoss as ExplanationLoss
from captum_cams.methods.ablationcam import AblationCAM as AblationCAM
from captum_cams.methods.attentionrollout import AttentionRollout as AttentionRollout
from captum_cams.methods.cam import CAM as CAM
from captum_cams.methods.cameras import CAMERAS as CAMERAS
from captum_cams.methods.centre import Centre as Centre
from captum_cams.methods.chefer import Chefer as Chefer
from captum_cams.methods.clrp import CLRP as CLRP
from captum_cams.methods.constant import Constant as Constant
from captum_cams.methods.eigencam import EigenCAM as EigenCAM
from captum_cams.methods.eigengradcam import EigenGradCAM as EigenGradCAM
from captum_cams.methods.fdcam import FDCAM as FDCAM
from captum_cams.methods.fem import FEM as FEM
from captum_cams.methods.fullgrad import FullGrad as FullGrad
from captum_cams.methods.gradcam import GradCAM as GradCAM
from captum_cams.methods.gradcamelementwise import GradCAMElementWise as GradCAMElementWise
from captum_cams.methods.gradcamplusplus import GradCAMPlusPlus as GradCAMPlusPlus
from captum_cams.methods.groupcam import GroupCAM as GroupCAM
from captum_cams.methods.hirescam import HiResCAM as HiResCAM
from captum_cams.methods.integratedgradcam import IntegratedGradCAM as IntegratedGradCAM
from captum_cams.methods.iscam import ISCAM as ISCAM
from captum_cams.methods.kpcacam import KPCACAM as KPCACAM
from captum_cams.methods.layercam import LayerCAM as LayerCAM
from captum_cams.methods.legrad import LeGrad as LeGrad
from captum_cams.methods.lficam import LFICAM as LFICAM
from captum_cams.methods.liftcam import LIFTCAM as LIFTCAM
from captum_cams.methods.lrp import LRP as LRP
from captum_cams.methods.lrpcam import LRPCAM as LRPCAM
from captum_cams.methods.opticam import OptiCAM as OptiCAM
from captum_cams.methods.polycam import PolyCAM as PolyCAM
from captum_cams.methods.random import Random as Random
from captum_cams.methods.reciprocam import ReciproCAM as ReciproCAM
from captum_cams.methods.relevancecam import RelevanceCAM as RelevanceCAM
from captum_cams.methods.rise import RISE as RISE
from captum_cams.methods.scorecam import ScoreCAM as ScoreCAM
from captum_cams.methods.segeigencam import SegEigenCAM as SegEigenCAM
from captum_cams.methods.sglrp import SGLRP as SGLRP
from captum_cams.methods.shapleycam import ShapleyCAM as ShapleyCAM
from captum_cams.methods.smoothgradcamplusplus import SmoothGradCAMPlusPlus as SmoothGradCAMPlusPlus
from captum_cams.methods.sscam import SSCAM as SSCAM
from captum_cams.methods.vitreciprocam import ViTReciproCAM as ViTReciproCAM
from captum_cams.methods.xgradcam import XGradCAM as XGradCAM
from captum_cams.methods.xrai import XRAI as XRAI
from captum_cams.methods.zoomcam import ZoomCAM as ZoomCAM
from captum_cams.networks.lfinetwork import LFINetwork as LFINetwork
from captum_cams.paper import Paper as Paper
from captum_cams.regions import boxes_from_map as boxes_from_map
from captum_cams.regions import mask_from_map as mask_from_map
from captum_cams.registry import create as create
from captum_cams.registry import names as names
from captum_cams.registry import register as register
from captum_cams.registry import title as title
from captum_cams.relevance.propagation import Propagation as Propagation
from captum_cams.relevance.rules import ZBetaRule as ZBetaRule
from captum_cams.relevance.rules import ZPlusRule as ZPlusRule
from captum_cams.wrappers.augmentedcam import AugmentedCAM as AugmentedCAM
from captum_cams.wrappers.augmentedcam import Transformation as Transformation
from captum_cams.wrappers.blurred import Blurred as Blurred
from captum_cams.wrappers.fgcam import FGCAM as FGCAM
from captum_cams.wrappers.finercam import FinerCAM as FinerCAM
from captum_cams.wrappers.guidedcam import GuidedCAM as GuidedCAM
from captum_cams.wrappers.jittercam import JitterCAM as JitterCAM
from captum_cams.wrappers.multilayercam import MultiLayerCAM as MultiLayerCAM
from captum_cams.wrappers.sess import SESS as SESS
from captum_cams.wrappers.sharpened import Sharpened as Sharpened

if TYPE_CHECKING:
    from captum_cams.visual import overlay as overlay
    from captum_cams.visual import panel as panel
    from captum_cams.visual import show as show

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import what draws when it is asked for, because it needs matplotlib."""
    if name not in ("overlay", "panel", "show"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from captum_cams import visual

    return getattr(visual, name)
