"""Explain images during training with PyTorch Lightning, and measure methods over a whole data set."""

from captum_cams.metrics.catalogue import METRICS
from captum_cams.metrics.protocols import PROTOCOLS, Protocol
from lightning_callbacks.batches import images_and_labels
from lightning_callbacks.callback.cam_callback import CAMCallback
from lightning_callbacks.callback.explained import Explained
from lightning_callbacks.evaluation.compare_tables import SideBySide, compare_tables
from lightning_callbacks.evaluation.evaluate import evaluate
from lightning_callbacks.evaluation.merge_tables import merge_tables
from lightning_callbacks.evaluation.module import CAMEvaluation
from lightning_callbacks.evaluation.records import Compared, Ranking
from lightning_callbacks.evaluation.report import write_report
from lightning_callbacks.evaluation.table import Cell, Table
from lightning_callbacks.evaluation.trial import trial
from lightning_callbacks.evaluation.verdicts import Trial

__all__ = [
    "METRICS",
    "PROTOCOLS",
    "CAMCallback",
    "CAMEvaluation",
    "Cell",
    "Compared",
    "Explained",
    "Protocol",
    "Ranking",
    "SideBySide",
    "Table",
    "Trial",
    "compare_tables",
    "evaluate",
    "images_and_labels",
    "merge_tables",
    "trial",
    "write_report",
]
