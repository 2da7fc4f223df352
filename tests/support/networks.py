"""Small networks of every kind that the methods must serve."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class TinyVGG(nn.Module):
    """The VGG of the golden vectors; parameter names are those of the stored state."""

    def __init__(self, batch_norm: bool) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for width in (8, 0, 16, 0, 32, 32, 0):
            if width == 0:
                layers.append(nn.MaxPool2d(2, 2))
                continue
            layers.append(nn.Conv2d(channels, width, 3, padding=1))
            if batch_norm:
                layers.append(nn.BatchNorm2d(width))
            layers.append(nn.ReLU())
            channels = width
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d((3, 3))
        self.classifier = nn.Sequential(
            nn.Linear(288, 48),
            nn.ReLU(),
            nn.Dropout(),
            nn.Linear(48, 40),
            nn.ReLU(),
            nn.Dropout(),
            nn.Linear(40, 10),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


class Residual(nn.Module):
    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outside)
        self.conv2 = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outside)
        self.downsample = None
        if stride != 1 or inside != outside:
            self.downsample = nn.Sequential(nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside))

    def forward(self, x: Tensor) -> Tensor:
        skip = self.downsample(x) if self.downsample else x
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))) + skip)


class TinyRes(nn.Module):
    """The residual network of the golden vectors."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.layer1 = nn.Sequential(Residual(8, 8, 1))
        self.layer2 = nn.Sequential(Residual(8, 16, 2))
        self.layer3 = nn.Sequential(Residual(16, 24, 1))
        self.layer4 = nn.Sequential(Residual(24, 32, 2))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(self.avgpool(x).flatten(1))


class DenseLike(nn.Module):
    """Concatenations, and a functional ReLU between the last layer and the head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, 1)
        self.dense = nn.ModuleList(nn.Conv2d(8 + 6 * i, 6, 3, 1, 1) for i in range(3))
        self.norm = nn.BatchNorm2d(26)
        self.classifier = nn.Linear(26, 10)

    def forward(self, x: Tensor) -> Tensor:
        maps = [self.stem(x)]
        for conv in self.dense:
            maps.append(conv(F.relu(torch.cat(maps, 1))))
        x = F.relu(self.norm(torch.cat(maps, 1)))
        return self.classifier(F.adaptive_avg_pool2d(x, 1).flatten(1))


class FunctionalReLU(nn.Module):
    """Functional activations and pooling, and dropout, around a non-linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 12, 3, padding=1)
        self.fc1, self.fc2 = nn.Linear(12 * 16, 20), nn.Linear(20, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.adaptive_max_pool2d(F.relu(self.conv2(x)), 4).flatten(1)
        return self.fc2(F.dropout(F.relu(self.fc1(x)), training=self.training))


class AddInPlace(nn.Module):
    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        x += skip
        return F.relu_(x)


class InPlaceReLU(nn.Module):
    """In-place activations as modules and as functions, right behind convolutions and additions."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(inplace=True))
        self.conv, self.bn, self.add = nn.Conv2d(8, 8, 3, 1, 1), nn.BatchNorm2d(8), AddInPlace()
        self.fc = nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        skip = self.stem(x)
        return self.fc(self.add(self.bn(self.conv(skip)), skip).mean((2, 3)))


def seeded(build, seed: int = 0) -> nn.Module:
    """A network with seeded weights and running statistics, in eval mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = build()
        for module in net.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):  # so that scores differ by more than rounding
                nn.init.kaiming_normal_(module.weight)
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.running_mean, -0.3, 0.3)
                nn.init.uniform_(module.running_var, 0.5, 1.5)
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.uniform_(module.bias, -0.3, 0.3)
    return net.eval()


def seeded_residual() -> nn.Module:
    return seeded(TinyRes)


NETWORKS = {
    "plain": lambda: seeded(lambda: TinyVGG(batch_norm=False)),
    "batch norm": lambda: seeded(lambda: TinyVGG(batch_norm=True)),
    "residual": seeded_residual,
    "dense": lambda: seeded(DenseLike),
    "functional ReLU": lambda: seeded(FunctionalReLU),
    "in-place ReLU": lambda: seeded(InPlaceReLU),
}

SIDE = 40  # pixels of the test images: no layer's map is larger than the image or 1×1


def images(count: int = 3, seed: int = 1) -> Tensor:
    """Smooth random images, N×3×40×40."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(count, 3, 8, 8, generator=generator)
    return F.interpolate(coarse, (SIDE, SIDE), mode="bilinear")
