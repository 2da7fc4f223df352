"""Explain images during training with PyTorch Lightning, and measure methods over a whole data set."""

from captum_cams.metrics.catalogue import METRICS
from captum_cams.metrics.protocols import PROTOCOLS, Protocol
from lightning_callbacks.batches import images_and_labels
from lightning_callbacks.callback.cam_callback import CAMCallback
from lightning_callbacks.callback.explained import Explained
from lightning_callbacks.evaluation.evaluate import evaluate
from lightning_callbacks.evaluation.module import CAMEvaluation
from lightning_callbacks.evaluation.table import Cell, Table
from lightning_callbacks.evaluation.trial import trial
from lightning_callbacks.evaluation.verdicts import Trial

__all__ = [
    "METRICS",
    "PROTOCOLS",
    "CAMCallback",
    "CAMEvaluation",
    "Cell",
    "Explained",
    "Protocol",
    "Table",
    "Trial",
    "evaluate",
    "images_and_labels",
    "trial",
]
