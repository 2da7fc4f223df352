"""Small Lightning modules for the tests of the callback."""

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Net(pl.LightningModule):
    """Batch normalisation, dropout and in-place ReLU; trains on shuffled batches."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 6, 3, 2, 1),
            nn.BatchNorm2d(6),
            nn.ReLU(True),
            nn.Conv2d(6, 8, 3, 2, 1),
            nn.ReLU(True),
        )
        self.dropout, self.fc = nn.Dropout(0.3), nn.Linear(8, classes)

    def forward(self, x):
        return self.fc(self.dropout(self.features(x).mean((2, 3))))

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = F.cross_entropy(self(x + 0.01 * torch.randn_like(x)), y)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", F.cross_entropy(self(batch[0]), batch[1]))

    def test_step(self, batch, batch_idx):
        self.validation_step(batch, batch_idx)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-2)


class WithInnerModel(Net):
    """No forward of its own; the network is ``self.model`` and returns a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        inner = Net()
        self.model = Dictionary(inner.features, inner.fc)
        del self.features, self.fc, self.dropout

    forward = pl.LightningModule.forward

    def training_step(self, batch, batch_idx):
        return F.cross_entropy(self.model(batch[0])["logits"], batch[1])

    def validation_step(self, batch, batch_idx):
        self.model(batch[0])


class Dictionary(nn.Module):
    def __init__(self, features, fc):
        super().__init__()
        self.features, self.fc = features, fc

    def forward(self, x):
        x = self.features(x)
        return {"features": x, "logits": self.fc(x.mean((2, 3)))}


def data(count: int = 24, seed: int = 0, classes: int = 3) -> TensorDataset:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % classes
    images = 0.3 * torch.randn(count, 3, 24, 24, generator=generator)
    for i, label in enumerate(labels):
        images[i, label, 6:18, 6:18] += 1.5
    return TensorDataset(images, labels)


def loaders(batch: int = 8):
    return DataLoader(data(), batch, shuffle=True), DataLoader(data(12, seed=1), batch)


def trainer(path, **options):
    options = {
        "max_epochs": 2,
        "accelerator": "cpu",
        "devices": 1,
        "default_root_dir": path,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "log_every_n_steps": 1,
        **options,
    }
    return pl.Trainer(**options)
