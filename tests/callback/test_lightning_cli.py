"""The callback from LightningCLI."""

import pytest
import torch
from pytorch_lightning.cli import LightningCLI
from torch.utils.data import DataLoader

from lightning_callbacks import CAMCallback
from tests.support.lightning_modules import Net, data


class WithData(Net):
    def train_dataloader(self):
        return DataLoader(data(), 8)

    def val_dataloader(self):
        return DataLoader(data(12, seed=1), 8)


QUIET = ["--trainer.max_epochs=1", "--trainer.logger=false", "--trainer.enable_checkpointing=false"]
QUIET += ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]


@pytest.mark.filterwarnings("ignore:.*")
def test_the_callback_and_its_arguments_come_from_the_command_line(tmp_path):
    typed = ["fit", *QUIET, f"--trainer.default_root_dir={tmp_path}"]
    typed += ["--trainer.callbacks+=lightning_callbacks.CAMCallback", "--trainer.callbacks.methods=fdcam"]
    typed += ["--trainer.callbacks.num_images=3", "--trainer.callbacks.metrics=[over_all,drift]"]
    cli = LightningCLI(WithData, args=typed, save_config_callback=None)
    (callback,) = [one for one in cli.trainer.callbacks if isinstance(one, CAMCallback)]
    assert list(callback.methods) == ["fdcam"]
    assert callback.num_images == 3
    assert torch.isfinite(cli.trainer.callback_metrics["cam/fdcam/over_all"])


@pytest.mark.filterwarnings("ignore:.*")
def test_several_methods_and_choices_come_from_the_command_line(capsys):
    typed = ["--trainer.callbacks+=lightning_callbacks.CAMCallback", "--trainer.callbacks.methods=[fdcam,gradcam]"]
    cli = LightningCLI(WithData, args=[*QUIET, *typed, "--trainer.callbacks.choose=random"], run=False)
    (callback,) = [one for one in cli.trainer.callbacks if isinstance(one, CAMCallback)]
    assert list(callback.methods) == ["fdcam", "gradcam"]
    assert callback.choose == "random"
    with pytest.raises(SystemExit):
        LightningCLI(WithData, args=[*QUIET, *typed, "--trainer.callbacks.choose=some"], run=False)
    assert "per_class" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore:.*")
def test_its_help_is_the_docstring(capsys):
    with pytest.raises(SystemExit):
        LightningCLI(WithData, args=["fit", "--trainer.callbacks.help=lightning_callbacks.CAMCallback"], run=False)
    said = capsys.readouterr().out
    assert "how many images of each data loader are explained" in " ".join(said.split())
