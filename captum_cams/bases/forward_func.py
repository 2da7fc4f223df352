"""Whether what the user gave as a model is one."""

from typing import Any

from captum.attr import LayerAttribution

from captum_cams.errors import CAMError, brief


def check_forward_func(forward_func: Any) -> None:
    """Check that the first argument of an explainer is a model.

    Args:
        forward_func: what the user gave.

    Raises:
        CAMError: it is an explainer, a class, or nothing that can be called.
    """
    if callable(forward_func) and not isinstance(forward_func, LayerAttribution | type):
        return
    if isinstance(forward_func, LayerAttribution):
        kind = type(forward_func).__name__
        remedy = f"the explainer {kind}; pass the model first, as in FGCAM(model, base={kind}(model))"
    else:
        remedy = brief(forward_func) + (f"; pass {forward_func.__name__}()" if callable(forward_func) else "")
    raise CAMError(f"forward_func must be the model, a module or a function of the inputs, got {remedy}")
