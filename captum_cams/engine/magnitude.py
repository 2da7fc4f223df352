"""Numbers near the ends of a float type's range: brought to the middle, or refused where the result does not fit."""

import torch
from torch import Tensor

from captum_cams.errors import CAMError


def product(left: Tensor, right: Tensor) -> Tensor:
    """``left`` times ``right``, N×…, as a map is made of weights and activations.

    Raises:
        CAMError: all of a sample's values, or one that is too large, lie outside the range of the float type.
    """
    found = left * right
    kind = torch.finfo(found.dtype)
    largest = found.flatten(1).abs().amax(1)
    odd = ~((largest >= kind.tiny) & (largest <= kind.max))
    if odd.any():
        exact = (left.double() * right.double()).flatten(1).abs().amax(1)
        lost = odd & (exact > 0)
        if lost.any():
            sample = int(lost.int().argmax())
            raise CAMError(
                f"the map must have values between {kind.tiny:.0e} and {kind.max:.0e}, which {found.dtype} can hold, "
                f"got {float(exact[sample]):.0e} in sample {sample}; explain model.double() on inputs in float64"
            )
    return found


def levelled(values: Tensor, dims: int | tuple[int, ...]) -> Tensor:
    """``values`` times the power of two that brings the largest over ``dims`` between a half and one.

    No digit changes, and squares and products can neither overflow nor underflow; zeros stay zeros.
    """
    exponent = values.abs().amax(dims, keepdim=True).frexp().exponent
    half = exponent // 2  # in two steps, since one power of two may itself be out of range
    return values.ldexp(-half).ldexp(half - exponent)
