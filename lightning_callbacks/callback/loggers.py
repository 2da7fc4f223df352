"""Send pictures and texts to the usual loggers."""

from pathlib import Path

import numpy as np
from PIL import Image
from pytorch_lightning.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger


def log_picture(logger: Logger, tag: str, picture: np.ndarray, step: int) -> None:
    """Log a picture H×W×3: in TensorBoard, W&B or MLflow, otherwise as a PNG file in the log folder."""
    if isinstance(logger, TensorBoardLogger):
        logger.experiment.add_image(tag, np.ascontiguousarray(picture), step, dataformats="HWC")
    elif isinstance(logger, WandbLogger):
        logger.log_image(tag, [picture], step=step)
    elif isinstance(logger, MLFlowLogger):
        logger.experiment.log_image(logger.run_id, picture, key=tag.replace("/", "."), step=step)
    elif (folder := _folder(logger)) is not None:
        file = folder / tag / f"{step}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(file)


def log_text(logger: Logger, tag: str, text: str, step: int) -> None:
    """Log a Markdown text; W&B gets a table with one cell."""
    if isinstance(logger, TensorBoardLogger):
        logger.experiment.add_text(tag, text, step)
    elif isinstance(logger, WandbLogger):
        logger.log_text(tag, columns=["card"], data=[[text]], step=step)
    elif isinstance(logger, MLFlowLogger):
        logger.experiment.log_text(logger.run_id, text, f"{tag}.md")
    elif (folder := _folder(logger)) is not None:
        file = folder / f"{tag}.md"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n")


def _folder(logger: Logger) -> Path | None:
    """The folder of a logger, or None."""
    folder = logger.log_dir or logger.save_dir
    return None if folder is None else Path(folder)
