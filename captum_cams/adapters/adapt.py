"""Make an explainer from whatever makes maps."""

from collections.abc import Callable
from typing import Any

from captum.attr import Attribution

from captum_cams.adapters.adapter import Adapter
from captum_cams.adapters.captummaps import CaptumMaps
from captum_cams.adapters.functionmaps import FunctionMaps
from captum_cams.adapters.peermaps import PeerMaps, is_peer
from captum_cams.bases.attribution import CAMAttribution
from captum_cams.engine.scores import Task


def makes_maps(value: Any) -> bool:
    """Tell whether :func:`adapt` can make an explainer from a value.

    It can from an object of Captum, of pytorch-grad-cam or of TorchCAM, from stored maps, and from any other function.
    It cannot from a class or a model.
    """
    if isinstance(value, type | CAMAttribution) or hasattr(value, "named_modules"):
        return False
    return isinstance(value, Attribution) or callable(value)


def adapt(value: Any, forward_func: Callable[..., Any], task: Task) -> Adapter:
    """Make an explainer from a value that makes maps.

    Args:
        value: see :func:`makes_maps`.
        forward_func: the model that a function explains; the other objects hold their own.
        task: what the model's output means.
    """
    if isinstance(value, Attribution):
        return CaptumMaps(value, task=task)
    return PeerMaps(value, task=task) if is_peer(value) else FunctionMaps(forward_func, function=value, task=task)
