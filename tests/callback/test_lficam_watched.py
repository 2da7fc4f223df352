"""A network of LFI-CAM in training, with its own map in the callback."""

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import captum_cams as cc
from lightning_callbacks import CAMCallback
from tests.support.lightning_modules import Net, loaders
from tests.support.untouched import assert_equal

pytestmark = [
    pytest.mark.filterwarnings("ignore:The .*dataloader.* does not have many workers"),
    pytest.mark.filterwarnings("ignore:The number of training batches"),
]


class Branched(Net):
    """The network as a part of the module."""

    def __init__(self) -> None:
        super().__init__()
        self.network = cc.LFINetwork(self.features, 8, 3)
        del self.fc

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.network(x)


def trained(path, *callbacks) -> pl.LightningModule:
    pl.seed_everything(7)
    module, (train, validation) = Branched(), loaders()
    logger = TensorBoardLogger(path)
    pl.Trainer(
        max_epochs=2,
        accelerator="cpu",
        logger=logger,
        callbacks=[*callbacks],
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    ).fit(module, train, validation)
    module.folder = logger.log_dir
    return module


def test_its_map_is_logged_and_the_training_is_the_same_bit_by_bit(tmp_path):
    plain = trained(tmp_path / "plain")
    callback = CAMCallback("lficam", on_error="raise")
    watched = trained(tmp_path / "watched", callback)
    assert_equal(plain.state_dict(), watched.state_dict(), "weights")
    board = EventAccumulator(watched.folder, size_guidance={"images": 0}).Reload()
    assert len(board.Images("cam/validation")) == 2
    images = torch.stack([row.image for row in callback.explained["validation"]])
    expected = cc.LFICAM(watched.eval()).attribute(images)
    for row, map_ in zip(callback.explained["validation"], expected, strict=True):
        torch.testing.assert_close(row.maps["lficam"]["predicted"], map_, rtol=0, atol=1e-5)
