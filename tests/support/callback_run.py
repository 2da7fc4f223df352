"""python callback_run.py OUT WATCHED DEVICES [RAISING_RANK]: a training run that tests start as its own processes."""

import sys
import warnings
from pathlib import Path

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import TensorBoardLogger

import captum_cams as cc
from lightning_callbacks import CAMCallback
from tests.support.lightning_modules import Net, loaders


class FailingOn(cc.GradCAM):
    """Raises on one of the processes."""

    rank = -1

    def weights(self, seen):
        if torch.distributed.get_rank() == self.rank:
            raise ZeroDivisionError("a broken explainer")
        return super().weights(seen)


def main() -> None:
    out, watched, devices, *failing = sys.argv[1:]
    pl.seed_everything(7)
    model = Net()
    method = "gradcam"
    if failing:
        FailingOn.rank, method = int(failing[0]), FailingOn(model)
    callback = CAMCallback(method, num_images=5, choose="hardest" if watched == "hardest" else "first")
    trainer = pl.Trainer(
        max_epochs=3,
        accelerator="cpu",
        devices=int(devices),
        strategy="ddp" if int(devices) > 1 else "auto",
        logger=TensorBoardLogger(out),
        callbacks=[callback] if watched != "no" else [],
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer.fit(model, *loaders(4))
    result = {
        "weights": model.state_dict(),
        "optimizer": trainer.optimizers[0].state_dict()["state"],
        "metrics": dict(trainer.callback_metrics),
        "random": torch.get_rng_state(),
        "explained": [row.image for row in callback.explained.get("validation", [])],
        "warned": [str(one.message) for one in caught if "CAMCallback" in str(one.message)],
    }
    torch.save(result, Path(out) / f"rank{trainer.global_rank}.pt")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
