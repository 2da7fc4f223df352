"""What an explained image is, and how the shares of several processes become one list."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from torch import Tensor

from captum_cams.metrics.annotation import Annotation

TRUE = ", true class"
"""What follows a method's name where the annotated class is explained in place of the predicted one."""


@dataclass
class Explained:
    """One explained image: on the CPU, and with what a process can send to another one."""

    image: Tensor
    annotation: Annotation
    predicted: int
    probabilities: Tensor
    maps: dict[str, Tensor]
    values: dict[str, dict[str, Tensor]]
    curves: dict[str, Tensor]


def interleaved(parts: Sequence[Sequence[Any]], count: int) -> list[Any]:
    """The images of all processes in the order of the data set, of which each process has every n-th."""
    return [one for turn in zip_longest(*parts) for one in turn if one is not None][:count]
