"""A small dense network for volumes, and volumes with a bright ball, with a Lightning module that trains on them."""

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset


class DenseBlock(nn.Module):
    """Layers that each read the concatenation of everything before them."""

    def __init__(self, inside: int, growth: int, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(nn.BatchNorm3d(width), nn.ReLU(True), nn.Conv3d(width, growth, 3, padding=1, bias=False))
            for width in range(inside, inside + layers * growth, growth)
        )

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.cat((x, layer(x)), 1)
        return x


class DenseNet3d(nn.Module):
    """The plan of MONAI's DenseNet: stem, dense block, transition, dense block, norm, pooling and a linear layer."""

    def __init__(self, channels: int = 1, classes: int = 4) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *(nn.Conv3d(channels, 6, 3, 2, 1, bias=False), nn.BatchNorm3d(6), nn.ReLU(True)),
            DenseBlock(6, 4, 2),
            *(nn.BatchNorm3d(14), nn.ReLU(True), nn.Conv3d(14, 8, 1, bias=False), nn.AvgPool3d(2)),
            DenseBlock(8, 4, 2),
            *(nn.BatchNorm3d(16), nn.ReLU(True)),
        )
        self.pool, self.out = nn.AdaptiveAvgPool3d(1), nn.Linear(16, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.pool(self.features(x)).flatten(1))


def seeded_densenet() -> nn.Module:
    """A dense network with seeded weights and running statistics, in eval mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = DenseNet3d()
        for module in network.modules():
            if isinstance(module, nn.Conv3d | nn.Linear):  # so that scores differ by more than rounding
                nn.init.kaiming_normal_(module.weight)
            if isinstance(module, nn.BatchNorm3d):
                nn.init.uniform_(module.running_mean, -0.3, 0.3)
                nn.init.uniform_(module.running_var, 0.5, 1.5)
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.uniform_(module.bias, -0.3, 0.3)
    return network.eval()


SIZE = (12, 16, 20)  # depth, height and width, all different, so that no axis can stand for another


def volumes(count: int = 2, seed: int = 1) -> Tensor:
    """Smooth random volumes, N×1×12×16×20."""
    coarse = torch.randn(count, 1, 4, 4, 5, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(coarse, SIZE, mode="trilinear")


def balls(count: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Noise with a ball: volumes N×1×D×H×W, labels (0: faint, 1: bright), and masks N×D×H×W of the balls."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 2
    axes = torch.meshgrid(*(torch.arange(side) for side in SIZE), indexing="ij")
    centres = 4 + torch.rand(count, 3, generator=generator) * (torch.tensor(SIZE) - 8)
    masks = torch.stack([sum((axis - at) ** 2 for axis, at in zip(axes, c, strict=True)) < 9 for c in centres])
    noise = 0.1 * torch.randn(count, 1, *SIZE, generator=generator)
    return noise + masks[:, None] * (0.5 + labels.float()).reshape(-1, 1, 1, 1, 1), labels, masks


class VolumeNet(pl.LightningModule):
    """Trains the dense network on the labels of the balls."""

    def __init__(self) -> None:
        super().__init__()
        self.network = DenseNet3d(classes=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        return F.cross_entropy(self(batch[0] + 0.01 * torch.randn_like(batch[0])), batch[1])

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self.log("val_loss", F.cross_entropy(self(batch[0]), batch[1]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=1e-2)


def loaders() -> tuple[DataLoader, DataLoader]:
    """Balls for training, shuffled, and for validation."""
    train, validation = TensorDataset(*balls(12)[:2]), TensorDataset(*balls(6, seed=1)[:2])
    return DataLoader(train, 4, shuffle=True), DataLoader(validation, 4)
