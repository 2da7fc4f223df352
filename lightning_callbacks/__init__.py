"""Explanations inside the training loop of PyTorch Lightning."""

from lightning_callbacks.cam_callback import CAMCallback

__all__ = ["CAMCallback"]
