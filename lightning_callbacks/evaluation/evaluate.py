"""The papers' table, methods × metrics, over a data set and on as many devices as a Trainer has."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import pytorch_lightning as pl
from pytorch_lightning.utilities import rank_zero_only
from pytorch_lightning.utilities.seed import isolate_rng
from torch import nn
from torch.utils.data import DataLoader, Dataset

from captum_cams.engine.scores import Task
from captum_cams.errors import CAMError
from captum_cams.metrics.protocols import Protocol, find_protocol
from lightning_callbacks.batches import BatchFn
from lightning_callbacks.evaluation.module import CAMEvaluation
from lightning_callbacks.evaluation.table import Table
from lightning_callbacks.lightning_internals import borrowed, starts_own_processes
from lightning_callbacks.methods import Methods
from lightning_callbacks.network import OutputFn


def evaluate(
    model: nn.Module,
    data: DataLoader | Dataset,
    methods: Methods = "gradcam",
    *,
    metrics: str | Iterable[str] | None = None,
    protocol: str | Protocol = "default",
    trainer: pl.Trainer | None = None,
    task: Task | None = None,
    layer: str | None = None,
    batch_fn: BatchFn | None = None,
    output_fn: OutputFn | None = None,
    out: str | Path | None = None,
    version: str | None = None,
    class_names: Sequence[str] | None = None,
    skip_unreadable: bool = False,
) -> Table:
    """Explain every image of a data set by every method, measure the maps, and print and return one table.

    Each image counts once, on however many processes. The model, its device and its flags are left as they were.

    Args:
        model: images → scores N×classes; a Lightning module, or any module.
        data: a data set, or a data loader of one; what a batch may hold is said at ``images_and_labels``.
        methods: names, explainers made beforehand, or a mapping of own names to either.
        metrics: one or more names from ``METRICS``, instead of the protocol's.
        protocol: a name from ``PROTOCOLS``, or a :class:`Protocol`; "default" measures insertion, deletion and
            over-all with 28 steps, average drop and average increase, for the predicted class of every image.
        trainer: for more devices or another precision, as ``Trainer(devices=8, strategy="ddp")``; one device otherwise.
        task: in place of the protocol's: "multiclass", "multilabel", "binary", "regression", or a function of the
            scores; see :data:`captum_cams.engine.scores.Task`.
        layer: dotted name of the layer to explain; None finds the last feature layer.
        batch_fn: batch → (images, labels).
        output_fn: output of the model → scores N×classes.
        out: folder for table.md, table.csv, table.json, rows.csv, curves.png and the journal of finished batches; a
            run that was interrupted goes on where it stopped when it is started again with the same folder, model,
            methods and images, all of which are compared.
        version: stands for your functions and classes, which are otherwise compared by their code.
        class_names: of the model, one for each class; compared with the ``classes`` of the data set where its labels
            are used as they are.
        skip_unreadable: leave out and count the images that cannot be read, instead of raising.

    Raises:
        CAMError: an argument does not fit, a method cannot explain this model, an image cannot be read, or ``out``
            holds another evaluation or is in use.
    """
    chosen = find_protocol(protocol, metrics, task)
    trainer = trainer or pl.Trainer(
        devices=1, logger=False, enable_checkpointing=False, enable_model_summary=False, accelerator="auto"
    )
    if starts_own_processes(trainer):
        raise CAMError('the processes of this strategy cannot return a table; use strategy="ddp"')
    if str(trainer.precision) in ("16-true", "bf16-true", "64-true"):
        raise CAMError(f'precision "{trainer.precision}" would change the weights; use "bf16-mixed"')
    with isolate_rng():
        evaluation = CAMEvaluation(
            model,
            data,
            methods,
            chosen,
            layer=layer,
            batch_fn=batch_fn,
            output_fn=output_fn,
            out=out,
            version=version,
            class_names=class_names,
            skip_unreadable=skip_unreadable,
        )
        with borrowed(trainer, model):
            try:
                trainer.test(evaluation, verbose=False)
            finally:
                evaluation.teardown("test")  # Lightning leaves it out after an error
    if evaluation.table is None:
        raise CAMError("the trainer ran no batch; raise its limit_test_batches")
    rank_zero_only(print)(evaluation.table)
    return evaluation.table
