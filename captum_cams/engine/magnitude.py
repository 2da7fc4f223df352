"""Keep products of very large or very small numbers exact, or refuse those that the float type cannot hold."""

import torch
from torch import Tensor

from captum_cams.errors import CAMError


def product(left: Tensor, right: Tensor) -> Tensor:
    """Multiply weights and activations to a map, N×….

    Raises:
        CAMError: if all values of a sample are too small for the float type, or one is too large.
    """
    result = left * right
    kind = torch.finfo(result.dtype)
    largest = result.flatten(1).abs().amax(1)
    odd = ~((largest >= kind.tiny) & (largest <= kind.max))
    if odd.any():
        exact = (left.double() * right.double()).flatten(1).abs().amax(1)
        lost = odd & (exact > 0)
        if lost.any():
            sample = int(lost.int().argmax())
            raise CAMError(
                f"the map must have values between {kind.tiny:.0e} and {kind.max:.0e}, which {result.dtype} can hold, "
                f"got {float(exact[sample]):.0e} in sample {sample}; explain model.double() with float64 inputs"
            )
    return result


def levelled(values: Tensor, dims: int | tuple[int, ...]) -> Tensor:
    """Scale values by the power of two that brings the largest magnitude over ``dims`` to between 0.5 and 1.

    The scaling is exact. Afterwards squares and products can neither overflow nor underflow. Zeros stay zeros.
    """
    exponent = values.abs().amax(dims, keepdim=True).frexp().exponent
    half = exponent // 2  # in two steps, because the power of two itself may be out of range
    return values.ldexp(-half).ldexp(half - exponent)
