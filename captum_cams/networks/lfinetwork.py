"""The network of LFI-CAM, which learns its own map while it learns to classify."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from captum_cams.errors import CAMError, check_at_least, shape_of
from captum_cams.images import minmax


class LFINetwork(nn.Module):
    """A classifier with a trained branch that makes a map, and that reads its features more where the map is large.

    Lee et al. 2021 (LFI-CAM). The branch learns one importance for each channel of the last features, and the map M in
    [0, 1] is their weighted sum, see :class:`LFIBranch`. The head is linear and reads the mean of A ∘ (1 + M) over the
    positions. It is trained with cross-entropy alone, as any classifier. The map is the same for every class;
    :class:`LFICAM` returns it.

    Args:
        features: the backbone, any module that takes images N×C×H×W and returns features N×K×h×w.
        channels: K, at least 1. The branch has four 3×3 convolutions, and so 36 K² weights.
        classes: number of scores, at least 1.

    Raises:
        CAMError: ``channels`` or ``classes`` is not a positive integer; in a call, if the images are not N×C×H×W, or
            the features are not N×K×h×w.

    Example::

        backbone = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, stride=2), torch.nn.ReLU())
        network = cc.LFINetwork(backbone, channels=8, classes=10)
        torch.nn.functional.cross_entropy(network(images), labels).backward()
        maps = cc.LFICAM(network).attribute(images)
    """

    def __init__(self, features: nn.Module, channels: int, classes: int) -> None:
        super().__init__()
        check_at_least("channels", channels, 1)
        check_at_least("classes", classes, 1)
        self.features, self.channels = features, channels
        self.branch = LFIBranch(channels)
        self.classifier = nn.Linear(channels, classes)

    def forward(self, images: Tensor) -> Tensor:
        if images.ndim != 4:
            raise CAMError(f"LFINetwork needs images N×C×H×W, got {shape_of(images)}")
        activation = self.features(images)
        if activation.ndim != 4 or activation.shape[1] != self.channels:
            raise CAMError(
                f"the features of LFINetwork must be N×{self.channels}×h×w, got {shape_of(activation)}; pass a "
                "backbone without its pooling and its head, and its number of channels as channels="
            )
        return self.classifier((activation * (1 + self.branch(activation, images))).mean((2, 3)))


class LFIBranch(nn.Module):
    """The branch of :class:`LFINetwork`: from features and images it makes the map M.

    Â_k is A_k scaled to [0, 1] over its positions, with 1 everywhere if A_k is constant and not zero. x̄ is the mean of
    the image over its channels, resized to the features. Four blocks of a 3×3 convolution without bias, batch
    normalisation and ReLU read Â ∘ x̄; the mean over the positions and a softmax over the channels give the weights w.
    M = minmax(ReLU(Σ_k w_k A_k)), and zero if that is constant.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        blocks = [
            (nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU())
            for _ in range(4)
        ]
        self.importance = nn.Sequential(*(layer for block in blocks for layer in block))

    def forward(self, activation: Tensor, images: Tensor) -> Tensor:
        grey = images.mean(1, keepdim=True).to(activation.dtype)
        grey = F.interpolate(grey, activation.shape[2:], mode="bilinear", align_corners=False)
        weights = self.importance(_scaled(activation) * grey).mean((2, 3)).softmax(1)
        return minmax((weights[:, :, None, None] * activation).sum(1, keepdim=True).relu())


def _scaled(activation: Tensor) -> Tensor:
    """Scale each channel to [0, 1] over its positions; a constant channel is 1, and a zero channel 0."""
    scaled = minmax(activation)
    constant = scaled.amax((2, 3), keepdim=True) == 0
    return torch.where(constant, (activation != 0).to(scaled.dtype), scaled)
