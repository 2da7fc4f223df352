"""Compute a table of methods × metrics over a data set, on all devices of a Trainer."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import pytorch_lightning as pl
from pytorch_lightning.utilities import rank_zero_only
from pytorch_lightning.utilities.seed import isolate_rng
from torch import nn
from torch.utils.data import DataLoader, Dataset

from captum_cams.adapters.map_folder import MapFormat
from captum_cams.argument_names import names_checked
from captum_cams.engine.scores import Task
from captum_cams.errors import CAMError
from captum_cams.metrics.protocols import Protocol, find_protocol
from lightning_callbacks.batches import BatchFn
from lightning_callbacks.evaluation.choosing import LabelsOf
from lightning_callbacks.evaluation.module import CAMEvaluation
from lightning_callbacks.evaluation.seeds import Seeds
from lightning_callbacks.evaluation.shares import Shard
from lightning_callbacks.evaluation.table import Table
from lightning_callbacks.lightning_internals import borrowed, starts_own_processes
from lightning_callbacks.methods import Methods
from lightning_callbacks.network import OutputFn


@names_checked(
    {
        "method": "here it is called methods and takes one or several",
        "metric": "here it is called metrics and takes one or several",
    }
)
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
    limit: int | None = None,
    shard: Shard = (0, 1),
    labels_of: LabelsOf | None = None,
    save_curves: bool = False,
    save_maps: str | Path | None = None,
    map_format: MapFormat = "npz",
    seeds: Seeds | None = None,
) -> Table:
    """Explain every image of a data set with every method, measure the maps, and print and return one table.

    Every image counts once, on any number of processes. The model does not change.

    Args:
        model: a Lightning module or another module that maps images to scores N×classes.
        data: a data set or a data loader; ``images_and_labels`` describes the batches that are understood.
        methods: one or more names from ``captum_cams.names()``, explainers, or a mapping from your own names to these.
            A method may also be an attribution of ``captum.attr``, an object of pytorch-grad-cam or TorchCAM,
            :class:`StoredMaps`, or a function ``(model, images, target) -> maps``; see :class:`FunctionMaps`.
        metrics: one or more names from ``METRICS``, instead of the metrics of the protocol.
        protocol: a name from ``PROTOCOLS`` or a :class:`Protocol`. "default" measures insertion, deletion and over-all
            (with 28 steps), average drop and average increase, for the predicted class of every image.
        trainer: a Trainer for more devices or another precision, for example ``Trainer(devices=8, strategy="ddp")``.
            None uses one device.
        task: meaning of the model's output, instead of the task of the protocol: "multiclass", "multilabel", "binary",
            "regression", or a function from the output to scores; see :data:`captum_cams.engine.scores.Task`.
        layer: dotted name of the layer to explain; None finds the last feature layer.
        batch_fn: function from a batch to (images, labels).
        output_fn: function from the output of the model to scores N×classes.
        out: folder for table.md, table.csv, table.json, rows.csv, curves.png, ranks.png (a critical-difference diagram
            of two or more methods on five or more images) and a journal of the finished batches. To continue an
            interrupted evaluation, call ``evaluate`` again with the same folder, model, methods and images; all of them
            are compared.
        version: your own version name for your functions and classes; without it, their code is compared.
        class_names: the names of the model's classes, one for each class. They are compared with the ``classes`` of the
            data set.
        skip_unreadable: leave out images that cannot be read, and count them, instead of raising an error.
        limit: evaluate at most this number of images, a sample that is the same in every run. A larger limit keeps the
            images of a smaller one. If the protocol has a number of images, the smaller number counts.
        shard: (k, n) evaluates part k of n, counted from 0, with an ``out`` of its own. Computers without a connection
            can so share a data set; :func:`merge_tables` joins the folders.
        labels_of: function from the index of an image to {"labels": ..., "boxes": ..., "size": (height, width)} or
            {"labels": ..., "masks": ...}, as the network gets them after all transforms. A protocol that chooses images
            by their boxes then reads no image to choose; without it, images are read until there are enough.
        save_curves: keep the deletion and insertion curve of each row, as float16 numbers in the column "curves",
            R×2×(steps + 1), and in the file curves.npy, in the order of rows.csv.
        save_maps: folder for the maps of every method: a file of each batch, and manifest.json with the method, layer,
            hyperparameters, versions, and the index, class and sizes of each image. :class:`StoredMaps` reads them.
            With ``out``, an interrupted evaluation continues in this folder, too; all processes must share it.
        map_format: format of the files in ``save_maps``: "npz" of NumPy, or "safetensors", which keeps bfloat16 and
            needs ``pip install captum-cams[safetensors]``.
        seeds: measure the methods that draw random numbers (those with the hyperparameter ``seed``, also of a base, and
            code of others) with several seeds: their number, or two or more seeds, which replace the seeds of the
            explainers. The table has one line for each method, with the mean over its seeds; its interval contains the
            images and the seeds, and the standard deviation over the seeds is stated. Other methods run once.

    Returns:
        The table with the mean of each metric for each method; see :class:`Table`.

    Raises:
        CAMError: an argument does not fit, a method cannot explain this model, an image cannot be read, or ``out`` or
            ``save_maps`` has another evaluation or is in use.

    Example::

        data = torch.utils.data.TensorDataset(images, labels)
        table = lightning_callbacks.evaluate(model, data, ["gradcam", "xgradcam"], metrics="average_drop")
        print(table["gradcam", "average_drop"].mean)
    """
    chosen = find_protocol(protocol, metrics, task)
    trainer = trainer or pl.Trainer(
        devices=1, logger=False, enable_checkpointing=False, enable_model_summary=False, accelerator="auto"
    )
    if starts_own_processes(trainer):
        raise CAMError(
            'evaluate needs processes that can return a table, which this strategy does not have; use strategy="ddp"'
        )
    if str(trainer.precision) in ("16-true", "bf16-true", "64-true"):
        raise CAMError(
            f'evaluate must not change the weights, but precision "{trainer.precision}" would change the weights; '
            'use "bf16-mixed"'
        )
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
            limit=limit,
            shard=shard,
            labels_of=labels_of,
            save_curves=save_curves,
            save_maps=save_maps,
            map_format=map_format,
            seeds=seeds,
        )
        with borrowed(trainer, model):
            try:
                trainer.test(evaluation, verbose=False)
            finally:
                evaluation.teardown("test")  # Lightning does not call it after an error
    if evaluation.table is None:
        raise CAMError(
            "at least one batch must be evaluated, but the trainer ran no batch; raise its limit_test_batches"
        )
    rank_zero_only(print)(evaluation.table)
    return evaluation.table
