"""The callback, and the checks of its arguments."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from captum_cams.argument_names import names_checked
from captum_cams.engine.scores import Task
from captum_cams.errors import CAMError, check_at_least, check_choice, lookup
from captum_cams.metrics.catalogue import METRICS
from captum_cams.metrics.presets import Preset, find_preset
from captum_cams.metrics.protocols import PROTOCOLS, Protocol, as_names
from lightning_callbacks.batches import BatchFn, images_and_labels
from lightning_callbacks.callback.explained import Explained
from lightning_callbacks.callback.image_explainer import ImageExplainer
from lightning_callbacks.callback.monitors import Patient
from lightning_callbacks.callback.notices import Notices, OnError
from lightning_callbacks.callback.report import Report
from lightning_callbacks.callback.schedule import Schedule
from lightning_callbacks.callback.selection import CHOICES, Choose
from lightning_callbacks.callback.time_machine import TimeMachine
from lightning_callbacks.callback.watched_run import WatchedRun
from lightning_callbacks.methods import Methods, named
from lightning_callbacks.network import OutputFn


class CAMCallback(pl.Callback):
    """Log class activation maps and their faithfulness at each validation of a training run.

    The callback keeps some validation images. At every validation, or at every n-th, it explains these images for the
    class that the network predicts. It works in ``fit``, ``validate`` and ``test``. It does not change the training:
    all weights are the same, bit for bit. The results of the last explained epoch are in :attr:`explained`.

    **Logged scalars.** ``cam/<method>/<metric>`` is the mean over the explained images of all processes. If the name of
    a method has brackets, they become a dot: ``jittercam(fdcam)`` is logged as ``jittercam.fdcam``.

    - ``insertion_auc`` (0 to 1, higher is better): area under the curve of the class probability while pixels are
      added, the pixels with the highest map values first. ``deletion_auc`` (0 to 1, lower is better): the same while
      pixels are removed. ``over_all`` (−1 to 1, higher is better): insertion minus deletion. For a regression, all
      three have the unit of the output.
    - ``average_drop`` (0 to 100 %, lower is better): loss of probability if only the explained part of the image is
      shown. ``average_increase`` (0 to 100 %, higher is better): share of images for which it rises instead.
    - ``coherency`` (0 to 1, higher is better): similarity of the map to the map of the explained part. ``complexity``
      (0 to 1, lower is simpler): mean of the map. ``adcc`` (0 to 1, higher is better): harmonic mean of coherency,
      1 − complexity and 1 − average drop.
    - ``pointing_game`` (0 to 1, higher is better): share of images whose map has its maximum in a box or mask of the
      class. ``pointing_game_difficult``: the same, for images with small objects and several classes.
    - ``energy`` (0 to 1, higher is better): share of the map inside the boxes or masks. ``iou`` (0 to 1, higher is
      better): overlap with them at the best level. ``localisation_error_value``, ``_mean`` and ``_energy`` (0 to 1,
      lower is better): share of images with an overlap below ½.
    - ``drift`` (−1 to 1): rank correlation of the map of each image with its map of the last explained epoch; 1 means
      that the network looks at the same places as before. It starts at the second explained epoch.

    ``cam/seconds`` is the time that the callback took, in seconds.

    **Logged pictures.** ``cam/validation`` is a panel with a row for each image and a column for each method. Below
    each row are the true class, the predicted class, its probability and the drift. Of volumes and clips N×C×D×H×W, the
    panel shows the slices or frames in which the maps have the most energy; signals have no panel.
    ``cam/validation/curves`` shows the mean insertion and deletion curves. ``cam/validation/card`` is a text, logged
    once, with the methods and their options.

    **Page of the run.** With ``report=True``, ``<prefix>_report.html`` in the log folder is written again at each
    explained validation of ``fit``: a slider over the epochs for all images and methods, beside the logged values. The
    file needs no network. Its data are in ``<prefix>_report.jsonl``, and a continued run takes them over.

    **Other stages and loaders.** ``trainer.test`` logs ``cam/test/<method>/<metric>`` and ``cam/test``. If you call
    ``trainer.validate`` after ``fit``, it logs ``cam/validate/<method>/<metric>`` and ``cam/validate``. With several
    data loaders, each tag of a scalar or a panel ends with ``/dataloader_idx_0`` and so on.

    **If nothing could be explained,** nothing is logged, never NaN, and one warning says why. A callback that monitors
    a value then finds the last value. Before the first value, an ``EarlyStopping`` waits (its ``strict`` and
    ``check_finite`` are off during the run; its ``patience`` counts all validations), and a ``ModelCheckpoint`` or a
    scheduler finds NaN, which it takes as the worst value. If memory runs out, fewer images are explained at once.

    **If a run continues from a checkpoint,** its images and its drift continue too. The callback chooses new images,
    with a warning, if ``num_images`` or ``choose`` has changed or the loader no longer gives the images of the
    checkpoint.

    **Which epochs are explained** of ten, if the Trainer validates after each epoch:

    - neither argument: epochs 0, 1, 2, ..., 9.
    - ``every_n_epochs=3``: epochs 0, 3, 6 and 9.
    - ``every_n_epochs=3`` with ``check_val_every_n_epoch=2``, which validates epochs 1, 3, 5, 7 and 9: epochs 1, 5
      and 9.
    - ``every_n_epochs=1`` with ``val_check_interval=0.25``, which validates four times per epoch: the first validation
      of each epoch. ``every_n_validations=4`` explains the same validations.
    - ``every_n_epochs=2`` with ``val_check_interval=100, check_val_every_n_epoch=None``: after 100 batches, and then at
      the first validation that is two epochs later, or more.

    The arguments up to ``task`` are the main arguments; the others are for special cases.

    Args:
        methods: a name from ``captum_cams.names()``, an explainer, a list of these, or a mapping from your own names to
            these.
        layer: dotted name of the layer to explain; None finds the last feature layer.
        metrics: which of the scalars above to log. The localisation metrics need boxes or masks in the batch.
        num_images: how many images of each data loader are explained, on all processes together.
        choose: which images are explained: the "first" images, "random" images, about the same number "per_class", or
            the "hardest" images of each epoch (with the largest loss, which takes a forward pass for each validation
            batch). All except "hardest" keep the same images.
        every_n_epochs: explain at the first validation, and then at the first validation that is at least this number
            of training epochs later; see above.
        every_n_validations: explain at every n-th validation, starting with the first, instead of ``every_n_epochs``;
            1 if neither is given.
        task: meaning of the output: "multiclass", "binary", ...; see :data:`captum_cams.engine.scores.Task`.

        true_class: explain the annotated class too, next to the predicted class.
        max_seconds_per_epoch: explain fewer images, but at least one, if all images would take longer.
        batch_fn: function from a batch to (images, labels). You need it if ``images_and_labels`` does not find them, or
            if your steps change the images before the network gets them; return the images as the network gets them.
        output_fn: function from the output of the network to scores N×classes. You need it if the output is not a
            tensor, a tuple that begins with a tensor, or a mapping with ``logits`` or only one tensor.
        mean: mean of the normalisation for each channel; with ``std``, the panel shows images without normalisation.
        std: standard deviation of the normalisation for each channel.
        class_names: names of the classes, one for each score, shown in the panel instead of indices.
        preset: number of steps and replacement of the pixels for the insertion and deletion curves.
        margin: pixels around a region that count as a hit in the pointing game.
        on_error: "warn" gives one warning for each reason why an explanation fails; "raise" stops the run.
        prefix: first part of every tag, instead of "cam"; each CAMCallback of a Trainer needs another prefix.
        report: write a page of the run, see above; it shows images, and no volumes, clips or signals.

    Raises:
        CAMError: an argument does not fit, or two callbacks have the same tags. Other errors are raised during the run
            only with ``on_error="raise"``.

    Example::

        from pytorch_lightning import Trainer
        from pytorch_lightning.callbacks import ModelCheckpoint

        cams = lightning_callbacks.CAMCallback(["gradcam", "fdcam"], num_images=4, metrics=("insertion_auc", "drift"))
        best = ModelCheckpoint(monitor="cam/fdcam/insertion_auc", mode="max")
        trainer = Trainer(callbacks=[cams, best], accelerator="cpu")  # then trainer.fit(module)
    """

    @names_checked({"method": "here it is called methods and takes one or several"})
    def __init__(
        self,
        methods: Methods = "gradcam",
        layer: str | None = None,
        *,
        metrics: str | Iterable[str] = (*PROTOCOLS["training"].metrics, "drift"),
        num_images: int = 8,
        choose: Choose = "first",
        every_n_epochs: int | None = None,
        every_n_validations: int | None = None,
        task: Task = "multiclass",
        true_class: bool = False,
        max_seconds_per_epoch: float | None = None,
        batch_fn: BatchFn | None = None,
        output_fn: OutputFn | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        class_names: Sequence[str] | None = None,
        preset: str | Preset = PROTOCOLS["training"].preset,
        margin: float = 0.0,
        on_error: OnError = "warn",
        prefix: str = "cam",
        report: bool = False,
    ) -> None:
        # TensorBoard's tags have no brackets.
        self.methods = {name.replace("(", ".").rstrip(")"): one for name, one in named(methods).items()}
        check_at_least("num_images", num_images, 1)
        check_choice("choose", choose, CHOICES)
        self.metrics = as_names(metrics)
        for metric in self.metrics:
            lookup("metric", metric, {**METRICS, "drift": None})
        if (mean is None) != (std is None):
            raise CAMError(
                "mean and std are needed together to undo the normalisation, got only one of them; pass both or neither"
            )
        if max_seconds_per_epoch is not None and not max_seconds_per_epoch > 0:
            raise CAMError(
                f"max_seconds_per_epoch must be greater than 0, got {max_seconds_per_epoch}; None sets no limit"
            )
        if not isinstance(prefix, str) or not re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)*", prefix):
            raise CAMError(
                f'prefix must have only letters, digits, "_", "-", "." and "/" between them, got {prefix!r}; try "cam"'
            )
        self.layer, self.num_images, self.prefix = layer, num_images, prefix
        self.choose = choose
        measured = tuple(metric for metric in self.metrics if metric != "drift")
        self.protocol = Protocol(measured, preset=find_preset(preset), margin=margin, task=task)
        self.true_class, self.max_seconds_per_epoch = true_class, max_seconds_per_epoch
        self.batch_fn, self.output_fn = batch_fn or images_and_labels, output_fn
        self._notices, self._patient = Notices(on_error), Patient()
        self._report = Report(prefix, tuple(self.methods), self.metrics, mean, std, class_names, task)
        self._schedule = Schedule(every_n_epochs, every_n_validations)
        self.report, self._machine = report, TimeMachine(self._report)
        self._run = self._new_run()

    @property
    def explained(self) -> dict[str, list[Explained]]:
        """The results of the last explained epoch, the same on every process.

        Returns:
            Stage → explained images in the order of the data set, on the CPU. A stage is "validation", "validate" or
            "test", with "/dataloader_idx_1" and so on if there are several data loaders. Stages without explained
            images are missing.

        Example::

            cams = lightning_callbacks.CAMCallback("fdcam")
            for image in cams.explained.get("validation", []):  # after trainer.fit(module)
                print(image.predicted, image.maps["fdcam"]["predicted"].shape)
        """
        return self._run.explained

    def _new_run(self) -> WatchedRun:
        """The state of a run that begins."""
        explainer = ImageExplainer(
            self.methods,
            self.layer,
            self.output_fn,
            self.protocol,
            true_class=self.true_class,
            max_seconds=self.max_seconds_per_epoch,
        )
        parts = explainer, replace(self._schedule), self._report, self._notices
        return WatchedRun(*parts, self.batch_fn, self.choose, self.num_images)

    @property
    def state_key(self) -> str:
        return f"{type(self).__qualname__}/{self.prefix}"

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        # Not in state_dict: Lightning allows one state_dict for each state_key, before setup can explain the mistake.
        checkpoint.setdefault("CAMCallback", {})[self.prefix] = self._run.state()
        if self._machine.file is not None:
            checkpoint.setdefault("CAMCallback_report", {})[self.prefix] = str(self._machine.file)

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        state = checkpoint.get("CAMCallback", {}).get(self.prefix)
        if state is not None:
            self._run.restore(state)
        if (earlier := checkpoint.get("CAMCallback_report", {}).get(self.prefix)) is not None:
            self._machine.earlier = Path(earlier)

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if not isinstance(trainer, pl.Trainer):
            raise CAMError(
                f"CAMCallback needs a Trainer of pytorch_lightning, got one of {type(trainer).__module__}; "
                "import Trainer from pytorch_lightning"
            )
        for other in trainer.callbacks:  # type: ignore[attr-defined]
            shared = isinstance(other, CAMCallback) and other is not self and self._report.tags() & other._report.tags()
            if shared:
                raise CAMError(
                    "each CAMCallback of a Trainer must have its own tags, because Lightning averages values with the "
                    f'same tag, but two log {min(shared)!r}; give one of them another prefix=, such as "{self.prefix}2"'
                )
        # Each run has its own network and images, also after an interrupted run; a checkpoint is read later.
        self._run, self._machine = self._new_run(), TimeMachine(self._report)
        if stage == "fit":
            self._patient.ask(trainer, self._report.scalar_tags("validation"))

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self._run.leave()
        self._patient.release()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self.teardown(trainer, pl_module, "fit")

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._run.start(trainer)

    def on_validation_batch_start(
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
        self._run.see(trainer, pl_module, batch, batch_idx, dataloader_idx)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._run.finish(trainer, pl_module)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.report and self._run.due:
            with self._notices.guard():
                self._machine.see(trainer, self._run.explained)

    on_test_epoch_start, on_test_epoch_end = on_validation_epoch_start, on_validation_epoch_end
    on_test_batch_start, on_test_batch_end = on_validation_batch_start, on_validation_batch_end
