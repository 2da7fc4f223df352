"""Explain the same validation images again and again while a network trains."""

import re
from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl

from captum_cams.engine.scores import Task
from captum_cams.errors import CAMError, check_at_least, check_choice, lookup
from captum_cams.metrics.catalogue import METRICS
from captum_cams.metrics.presets import Preset, find_preset
from captum_cams.metrics.protocols import PROTOCOLS, Protocol
from lightning_callbacks.batches import BatchFn, images_and_labels
from lightning_callbacks.callback.image_explainer import Explaining
from lightning_callbacks.callback.monitors import Patient
from lightning_callbacks.callback.notices import Notices
from lightning_callbacks.callback.report import Report
from lightning_callbacks.callback.schedule import Schedule
from lightning_callbacks.callback.selection import CHOICES
from lightning_callbacks.callback.watched_run import WatchedRun
from lightning_callbacks.methods import Method, named
from lightning_callbacks.network import OutputFn


class CAMCallback(pl.Callback):
    """Log class activation maps and their faithfulness at every validation: ``Trainer(callbacks=[CAMCallback()])``.

    Some validation images are kept and explained again at every validation, or at every n-th. The log gets one panel
    (a row per image, a column per method; below, true class, predicted class, probability, drift), a figure of the
    mean insertion and deletion curves, a card that says what was run, and ``cam/<method>/<metric>`` for
    ``ModelCheckpoint`` and ``EarlyStopping`` to monitor. Works in ``fit``, ``validate`` and ``test``; training is the
    same to the bit as without it.

    What is logged as ``cam/<method>/<metric>``, with its pictures as ``cam/validation``, is
    ``cam/test/<method>/<metric>`` and ``cam/test`` in ``trainer.test``, and ``cam/validate/<method>/<metric>`` and
    ``cam/validate`` in ``trainer.validate`` after a ``fit`` of the same Trainer: a curve shows one stage.

    Where nothing could be explained, nothing is logged, and never NaN; one warning says why. Who monitors a value finds
    the last one then. Before there is any (the drift begins with the second explained validation), an
    ``EarlyStopping`` waits (its ``strict`` and ``check_finite`` are off during the run), and a ``ModelCheckpoint`` or a
    scheduler finds NaN, which it takes as the worst value. An ``EarlyStopping`` counts its ``patience`` in
    validations, explained or not.

    A run that goes on from a checkpoint goes on with its images and its drift. It chooses images anew, and says so,
    where ``num_images`` or ``choose`` has changed or the loader no longer gives the images of the checkpoint.

    Args:
        method: a name (``captum_cams.names()``), an explainer made beforehand, or a list of these. Of a name with
            brackets, ``jittercam(fdcam)``, the log makes ``jittercam.fdcam``.
        layer: dotted name of the layer to explain; None finds the last feature layer.
        num_images: how many images of each data loader are explained, on all processes together.
        every_n_epochs: explain at the first validation, and then at the first one that comes this many training epochs
            later, or more; see the examples.
        metrics: which of ``METRICS`` to log, of the predicted class, and "drift", the mean rank correlation of each
            image's map with its map of the last explained epoch. Localisation needs boxes or masks in the batch.
        preset: steps and replacement of the insertion and deletion curves.
        margin: of the pointing game, in pixels.
        choose: which images: the "first", "random" ones, as many "per_class" as can be, all of which stay the same, or
            the "hardest" by loss of each epoch, which costs a forward pass of every validation batch.
        true_class: explain the annotated class beside the predicted one.
        max_seconds_per_epoch: explain fewer images, one at least, where these seconds do not suffice.
        batch_fn: batch → (images, labels), where ``images_and_labels`` does not find them, or where the steps change
            the images before the network gets them: it must return them as the network takes them.
        output_fn: output of the network → scores N×classes, where it is no tensor, no tuple that begins with one
            and no mapping with ``logits`` or a single tensor.
        mean: of the normalisation, per channel, undone in the panel together with ``std``.
        std: as ``mean``.
        class_names: shown instead of class indices.
        task: what the output means: "multiclass", "binary", ...; see :data:`captum_cams.engine.scores.Task`.
        on_error: "warn" turns a failing explanation into one warning per reason, whatever process it fails on; "raise"
            stops the run.
        every_n_validations: explain at every n-th validation, the first one included, in place of ``every_n_epochs``;
            1 if neither is given.
        prefix: what every tag begins with; each CAMCallback of a Trainer needs its own.

    Examples:
        A Trainer that validates after each epoch, ten of them:

        - neither argument: explains epochs 0, 1, 2, ..., 9.
        - ``every_n_epochs=3``: epochs 0, 3, 6 and 9.
        - ``every_n_epochs=3`` with ``check_val_every_n_epoch=2``, which validates epochs 1, 3, 5, 7 and 9: epochs 1, 5
          and 9.
        - ``every_n_epochs=1`` with ``val_check_interval=0.25``, four validations an epoch: the first one of each epoch.
          ``every_n_validations=4`` explains the same ones.
        - ``every_n_epochs=2`` with ``val_check_interval=100, check_val_every_n_epoch=None``: after 100 batches, and
          then at the first validation that falls into an epoch two or more later.

    Raises:
        CAMError: an argument does not fit, or two callbacks share a tag; at run time only with ``on_error="raise"``.
    """

    def __init__(
        self,
        method: Method | Sequence[Method] = "gradcam",
        layer: str | None = None,
        num_images: int = 8,
        every_n_epochs: int | None = None,
        metrics: Sequence[str] = (*PROTOCOLS["training"].metrics, "drift"),
        preset: str | Preset = PROTOCOLS["training"].preset,
        margin: float = 0.0,
        choose: str = "first",
        true_class: bool = False,
        max_seconds_per_epoch: float | None = None,
        batch_fn: BatchFn | None = None,
        output_fn: OutputFn | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        class_names: Sequence[str] | None = None,
        on_error: str = "warn",
        every_n_validations: int | None = None,
        prefix: str = "cam",
        task: Task = "multiclass",
    ) -> None:
        # TensorBoard's tags have no brackets.
        self.methods = {name.replace("(", ".").rstrip(")"): one for name, one in named(method).items()}
        check_at_least("num_images", num_images, 1)
        check_choice("choose", choose, CHOICES)
        for metric in metrics:
            lookup("metric", metric, {**METRICS, "drift": None})
        if (mean is None) != (std is None):
            raise CAMError("mean and std undo the normalisation together; pass both or neither")
        if max_seconds_per_epoch is not None and not max_seconds_per_epoch > 0:
            raise CAMError(f"max_seconds_per_epoch must be more than 0, got {max_seconds_per_epoch}")
        if not isinstance(prefix, str) or not re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)*", prefix):
            raise CAMError(f'prefix must be letters, digits, "-", "." and "/" between them, got {prefix!r}')
        self.layer, self.num_images, self.prefix = layer, num_images, prefix
        self.metrics, self.choose = tuple(metrics), choose
        measured = tuple(metric for metric in metrics if metric != "drift")
        self.protocol = Protocol(measured, preset=find_preset(preset), margin=margin, task=task)
        self._notices, self._patient = Notices(on_error), Patient()
        self._report = Report(prefix, tuple(self.methods), self.metrics, mean, std, class_names, task)
        arguments = self.methods, layer, output_fn, self.protocol, true_class, max_seconds_per_epoch, self._notices
        self._new_explaining = lambda: Explaining(*arguments)
        self._new_schedule = lambda: Schedule(every_n_epochs, every_n_validations)
        self._batch_fn = batch_fn or images_and_labels
        self._run = self._new_run()

    def _new_run(self) -> WatchedRun:
        parts = self._new_explaining(), self._new_schedule(), self._report, self._notices
        return WatchedRun(*parts, self._batch_fn, self.choose, self.num_images)

    @property
    def state_key(self) -> str:
        return self._generate_state_key(prefix=self.prefix)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        # Not as state_dict, of which Lightning allows one for each state_key before setup can say what to do.
        checkpoint.setdefault("CAMCallback", {})[self.prefix] = self._run.state()

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        state = checkpoint.get("CAMCallback", {}).get(self.prefix)
        if state is not None:
            self._run.restore(state)

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if not isinstance(trainer, pl.Trainer):
            raise CAMError(
                f"CAMCallback belongs to pytorch_lightning, got a Trainer of {type(trainer).__module__}; "
                "import Trainer from pytorch_lightning"
            )
        for other in trainer.callbacks:  # type: ignore[attr-defined]
            shared = isinstance(other, CAMCallback) and other is not self and self._report.tags() & other._report.tags()
            if shared:
                raise CAMError(
                    "each CAMCallback of a Trainer must have tags of its own, or Lightning would average their values, "
                    f'but two would log {min(shared)!r}; give one of them another prefix=, as in "{self.prefix}2"'
                )
        # Each run has its own network and images, also after one that was broken off; a checkpoint is read later.
        self._run = self._new_run()
        if stage == "fit":
            self._patient.ask(trainer, self._report.scalar_tags("validation"))

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self._run.leave()
        self._patient.release()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._run.leave()
        self._patient.release()

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._run.start(trainer)

    def on_test_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._run.start(trainer)

    def on_validation_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._run.watch(pl_module, batch)

    def on_test_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._run.watch(pl_module, batch)

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        batches = trainer.num_val_batches[dataloader_idx]
        self._run.see(trainer, pl_module, batch, dataloader_idx, batch_idx + 1 >= batches)

    def on_test_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        batches = trainer.num_test_batches[dataloader_idx]
        self._run.see(trainer, pl_module, batch, dataloader_idx, batch_idx + 1 >= batches)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._run.finish(trainer, pl_module)

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._run.finish(trainer, pl_module)
