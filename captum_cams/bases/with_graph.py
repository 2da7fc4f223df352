"""Which explainers give maps that a loss can go back through."""

from typing import Any

from captum_cams.engine.later_backward import check_recording
from captum_cams.engine.untouched import modules_of
from captum_cams.errors import CAMError
from captum_cams.registry import lookup, names


def check_differentiable(explainer: Any, given: Any) -> None:
    """Check before a call that its maps can keep the autograd graph.

    Args:
        explainer: the explainer, whose class declares whether its maps can.
        given: all that the model is given.

    Raises:
        CAMError: the class does not declare it, or there would be no graph.
    """
    if not explainer.differentiable:
        able = ", ".join(name for name in names() if lookup(name).differentiable)
        raise CAMError(
            f"differentiable=True needs a method whose map torch can differentiate, got {type(explainer).__name__}; "
            f"such methods are {able}"
        )
    check_recording(modules_of(explainer.forward_func), given)
