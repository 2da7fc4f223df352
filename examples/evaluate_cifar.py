"""Measure how faithful methods are on CIFAR-10, with a residual network of He et al. (2015), section 4.2.

    python examples/evaluate_cifar.py --data DIR [--methods gradcam fdcam ...] [--depth 56] [--out FOLDER]

DIR must hold:
    cifar10_resnet56.th   the weights, a state dict (cifar10_resnet20.th for --depth 20)
    cifar10_samples.npz   arrays "images", N×32×32×3 with values from 0 to 255, and "labels", N
"""

import argparse
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset, TensorDataset

from lightning_callbacks import Protocol, evaluate

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
METRICS = ("deletion_auc", "insertion_auc", "over_all", "average_drop", "average_increase", "adcc")


class Block(nn.Module):
    """Two convolutions, and a shortcut without parameters: every other pixel, and zeros for new channels."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.new = (outside - inside) // 2
        stride = 2 if self.new else 1
        self.conv1, self.bn1 = nn.Conv2d(inside, outside, 3, stride, 1, bias=False), nn.BatchNorm2d(outside)
        self.conv2, self.bn2 = nn.Conv2d(outside, outside, 3, 1, 1, bias=False), nn.BatchNorm2d(outside)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.new, self.new)) if self.new else x
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))) + shortcut)


class ResNet(nn.Module):
    """The residual network of depth 6n + 2: three layers of n blocks, with 16, 32 and 64 channels."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        blocks = (depth - 2) // 6
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(*(Block(16, 16) for _ in range(blocks)))
        self.layer2 = nn.Sequential(*(Block(32 if i else 16, 32) for i in range(blocks)))
        self.layer3 = nn.Sequential(*(Block(64 if i else 32, 64) for i in range(blocks)))
        self.linear = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer3(self.layer2(self.layer1(F.relu(self.bn1(self.conv1(x))))))
        return self.linear(x.mean((2, 3)))


def load(data: Path, depth: int) -> tuple[ResNet, TensorDataset]:
    """Load the trained network, and the normalised images with their labels."""
    model = ResNet(depth)
    state = torch.load(data / f"cifar10_resnet{depth}.th", map_location="cpu", weights_only=True)
    model.load_state_dict(state)
    samples = np.load(data / "cifar10_samples.npz")
    images = torch.from_numpy(samples["images"]).permute(0, 3, 1, 2) / 255
    images = (images - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    return model.eval(), TensorDataset(images, torch.from_numpy(samples["labels"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder with weights and images")
    parser.add_argument("--methods", nargs="+", default=["random", "centre", "gradcam", "layercam", "fdcam"])
    parser.add_argument("--depth", type=int, choices=(20, 56), default=56, help="of the network (default: %(default)s)")
    parser.add_argument("--limit", type=int, default=200, help="number of images (default: %(default)s)")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="folder for the table, its rows and the curves")
    args = parser.parse_args()

    model, whole = load(args.data, args.depth)
    data = Subset(whole, range(min(args.limit, len(whole))))
    with torch.no_grad():
        right = torch.cat([model(x).argmax(1) == y for x, y in DataLoader(data, 100)])
    print(f"accuracy {float(right.float().mean()):.1%} on {len(data)} images")
    protocol = Protocol(METRICS, preset="jittercam")
    evaluate(model, DataLoader(data, 50), args.methods, protocol=protocol, out=args.out)


if __name__ == "__main__":
    main()
