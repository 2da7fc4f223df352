"""The error of methods that are defined in the plane, for inputs that are not images."""

from torch import Tensor

from captum_cams.errors import CAMError, shape_of


def check_plane(kind: str, images: Tensor) -> None:
    """Raise unless the inputs are images.

    Args:
        kind: the name of the class that explains them.
        images: N×C×H×W.

    Raises:
        CAMError: they have another number of axes.
    """
    if images.ndim == 4:
        return
    if images.ndim == 5:
        remedy = f"{kind} works in the plane, so explain volumes and clips with another method, such as Grad-CAM"
    elif images.ndim == 3:
        remedy = f"is the batch axis missing? {kind} works in the plane; Grad-CAM, say, also explains signals N×C×T"
    else:
        remedy = "is the batch axis missing?"
    raise CAMError(f"{kind} needs images N×C×H×W, got {shape_of(images)}; {remedy}")
