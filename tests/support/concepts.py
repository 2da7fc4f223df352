"""Networks whose concepts are known, or that have none."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CHANNELS = 8


def planted() -> tuple[nn.Module, Tensor, Tensor, Tensor]:
    """A network, images, and the maps 2×3×6×6 and directions 3×8 of their concepts, the largest share first.

    Each concept has channels and places of its own, so that no other factorisation is exact. The first is half as
    strong in the second image, and the third is in the second image alone.
    """
    maps = torch.zeros(2, 3, 6, 6)
    maps[0, 0, :4, :3] = torch.linspace(0.25, 1, 3)
    maps[1, 0] = maps[0, 0] / 2
    maps[0, 1, :2, 3:], maps[1, 1, 2:4, 4:] = 0.5, 1.0
    maps[1, 2, 4:] = 1.0
    directions = torch.zeros(3, CHANNELS)
    directions[0, :3], directions[1, 3:6], directions[2, 6:] = torch.tensor([8.0, 4.0, 2.0]), 3.0, 2.0
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        head = nn.Linear(CHANNELS, 5)
    network = nn.Sequential(nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)
    return network.eval(), torch.einsum("nkhw,kc->nchw", maps, directions), maps, directions


class Around(nn.Module):
    """A skip connection goes around the ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.relu, self.fc = nn.Conv2d(3, CHANNELS, 3), nn.ReLU(), nn.Linear(CHANNELS, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return self.fc((self.relu(x) + x).mean((2, 3)))


class Dense(nn.Module):
    """A score for each class and each pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.relu, self.head = nn.Conv2d(3, CHANNELS, 3), nn.ReLU(), nn.Conv2d(CHANNELS, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.relu(self.conv(x)))


class Tokens(nn.Module):
    """Tokens with a ReLU behind them, read by their mean or by a class token alone."""

    def __init__(self, reads_class_token: bool) -> None:
        super().__init__()
        self.patches, self.relu, self.fc = nn.Conv2d(3, CHANNELS, 8, 8), nn.ReLU(), nn.Linear(CHANNELS, 5)
        self.reads_class_token = reads_class_token

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = F.pad(tokens, (0, 0, 1, 0)) + tokens.mean(1, keepdim=True)
        tokens = self.relu(tokens)
        return self.fc(tokens[:, 0] + tokens[:, 1:].mean(1) if self.reads_class_token else tokens[:, 1:].mean(1))
