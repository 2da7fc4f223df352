"""A network of the zoo."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class Entry:
    """A network that the zoo explains.

    Args:
        library: "timm", "torchvision" or "transformers".
        family: the architecture that it belongs to.
        name: its name in the library.
        make: builds it; the weights are random.
        oblong: whether it is also shown images that are not square.
    """

    library: str
    family: str
    name: str
    make: Callable[[], nn.Module]
    oblong: bool = True

    def network(self) -> nn.Module:
        """The network with its seeded weights, ready to be explained.

        A classifier that begins with zero weights, as in ResMLP, answers the same for all images: it gets random ones.
        """
        torch.manual_seed(0)
        model = self.make().eval()
        for weights in model.parameters():
            if weights.ndim > 1 and not weights.any():
                nn.init.normal_(weights, std=0.02)
        return model
