"""Explain the same validation images again and again while a network trains."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytorch_lightning as pl

from captum_cams.argument_names import names_checked
from captum_cams.engine.scores import Task
from captum_cams.errors import CAMError, check_at_least, check_choice, lookup
from captum_cams.metrics.catalogue import METRICS
from captum_cams.metrics.presets import Preset, find_preset
from captum_cams.metrics.protocols import PROTOCOLS, Protocol
from lightning_callbacks.batches import BatchFn, images_and_labels
from lightning_callbacks.callback.explained import Explained
from lightning_callbacks.callback.image_explainer import ImageExplainer
from lightning_callbacks.callback.monitors import Patient
from lightning_callbacks.callback.notices import Notices, OnError
from lightning_callbacks.callback.report import Report
from lightning_callbacks.callback.schedule import Schedule
from lightning_callbacks.callback.selection import CHOICES, Choose
from lightning_callbacks.callback.watched_run import WatchedRun
from lightning_callbacks.methods import Methods, named
from lightning_callbacks.network import OutputFn


class CAMCallback(pl.Callback):
    """Log class activation maps and their faithfulness at every validation: ``Trainer(callbacks=[CAMCallback()])``.

    Some validation images are kept and explained again at every validation, or at every n-th, for the class that the
    network predicts. Works in ``fit``, ``validate`` and ``test``; training is the same to the bit as without it. What
    the last explained epoch computed is in :attr:`explained`.

    **Logged scalars.** ``cam/<method>/<metric>`` is the mean over the explained images of all processes. Of a name
    with brackets, ``jittercam(fdcam)``, the tag makes ``jittercam.fdcam``.

    - ``insertion_auc``: area under the curve of the class probability while the pixels that the map ranks highest are
      put in first, 0 to 1, higher is better; ``deletion_auc``: the same while they are taken out, lower is better;
      ``over_all``: insertion less deletion, −1 to 1. For a regression, all three have the unit of the output.
    - ``average_drop``: how much of the probability is lost if only what the map shows is left, 0 to 100 %, lower is
      better; ``average_increase``: in how many of the images it rises instead, 0 to 100 %, higher is better.
    - ``adcc``: harmonic mean of the next two and the average drop, 0 to 1, higher is better; ``coherency``: how alike
      the map of the image and that of its shown part are, 0 to 1, higher is better; ``complexity``: the mean of the
      map, 0 to 1, lower is simpler.
    - ``pointing_game``: the share of images whose highest point lies in a box or mask of the class, 0 to 1, higher is
      better; ``pointing_game_difficult``: the same of images with small objects and other classes.
    - ``energy``: the share of the map that lies in the boxes or masks, 0 to 1, higher is better; ``iou``: how well
      the map covers them at its best level, 0 to 1, higher is better; ``localisation_error_value``, ``_mean`` and
      ``_energy``: the share of images where it covers less than half, 0 to 1, lower is better.
    - ``drift``: rank correlation of each image's map with its map of the last explained epoch, −1 to 1; 1 means that
      the network looks at the same places as before. It begins with the second explained epoch.

    ``cam/seconds`` is the time that all of it took, in seconds.

    **Logged pictures.** ``cam/validation`` is a panel with a row for each image and a column for each method; below
    each row stand true class, predicted class, probability and drift. ``cam/validation/curves`` shows the mean
    insertion and deletion curves, and ``cam/validation/card`` says once as a text what was run.

    **Other stages and loaders.** ``trainer.test`` logs ``cam/test/<method>/<metric>`` and ``cam/test``, and
    ``trainer.validate`` after a ``fit`` of the same Trainer ``cam/validate/<method>/<metric>`` and ``cam/validate``:
    a curve shows one stage. Where there are several data loaders, ``/dataloader_idx_0`` and so on end each tag of a
    scalar, and each tag of a panel.

    **Where nothing could be explained,** nothing is logged, and never NaN; one warning says why. Who monitors a value
    finds the last one then. Before there is any, an ``EarlyStopping`` waits (its ``strict`` and ``check_finite`` are
    off during the run), and a ``ModelCheckpoint`` or a scheduler finds NaN, which it takes as the worst value. An
    ``EarlyStopping`` counts its ``patience`` in validations, explained or not. Where memory does not suffice, fewer
    images are explained at once; the explainers that were given keep their ``perturbations_per_eval``.

    **A run that goes on from a checkpoint** goes on with its images and its drift. It chooses images anew, and says so,
    where ``num_images`` or ``choose`` has changed or the loader no longer gives the images of the checkpoint.

    **Which epochs are explained,** of ten, by a Trainer that validates after each one:

    - neither argument: epochs 0, 1, 2, ..., 9.
    - ``every_n_epochs=3``: epochs 0, 3, 6 and 9.
    - ``every_n_epochs=3`` with ``check_val_every_n_epoch=2``, which validates epochs 1, 3, 5, 7 and 9: epochs 1, 5
      and 9.
    - ``every_n_epochs=1`` with ``val_check_interval=0.25``, four validations an epoch: the first one of each epoch.
      ``every_n_validations=4`` explains the same ones.
    - ``every_n_epochs=2`` with ``val_check_interval=100, check_val_every_n_epoch=None``: after 100 batches, and
      then at the first validation that falls into an epoch two or more later.

    The arguments up to ``task`` are the main ones; the others serve special cases.

    Args:
        methods: a name (``captum_cams.names()``), an explainer made beforehand, a list of these, or a mapping of own
            names to these.
        layer: dotted name of the layer to explain; None finds the last feature layer.
        metrics: which of the scalars above to log. Those of localisation need boxes or masks in the batch.
        num_images: how many images of each data loader are explained, on all processes together.
        choose: which images: the "first", "random" ones, as many "per_class" as can be, all of which stay the same, or
            the "hardest" by loss of each epoch, which costs a forward pass of every validation batch.
        every_n_epochs: explain at the first validation, and then at the first one that comes this many training epochs
            later, or more; see above.
        every_n_validations: explain at every n-th validation, the first one included, in place of ``every_n_epochs``;
            1 if neither is given.
        task: what the output means: "multiclass", "binary", ...; see :data:`captum_cams.engine.scores.Task`.

        true_class: explain the annotated class beside the predicted one.
        max_seconds_per_epoch: explain fewer images, one at least, where these seconds do not suffice.
        batch_fn: batch → (images, labels), where ``images_and_labels`` does not find them, or where the steps change
            the images before the network gets them: it must return them as the network takes them.
        output_fn: output of the network → scores N×classes, where it is no tensor, no tuple that begins with one
            and no mapping with ``logits`` or a single tensor.
        mean: of the normalisation, per channel, undone in the panel together with ``std``.
        std: as ``mean``.
        class_names: shown instead of class indices.
        preset: steps and replacement of the insertion and deletion curves.
        margin: of the pointing game, in pixels.
        on_error: "warn" turns a failing explanation into one warning per reason, whatever process it fails on; "raise"
            stops the run.
        prefix: what every tag begins with, in place of "cam"; each CAMCallback of a Trainer needs its own.

    Raises:
        CAMError: an argument does not fit, or two callbacks share a tag; at run time only with ``on_error="raise"``.

    Example:
        >>> from pytorch_lightning import Trainer
        >>> from pytorch_lightning.callbacks import ModelCheckpoint
        >>> from lightning_callbacks import CAMCallback
        >>> callback = CAMCallback(["gradcam", "fdcam"], num_images=4, metrics=("insertion_auc", "drift"))
        >>> best = ModelCheckpoint(monitor="cam/fdcam/insertion_auc", mode="max")
        >>> trainer = Trainer(callbacks=[callback, best], accelerator="cpu")
        >>> callback.explained  # after trainer.fit(module): {"validation": [Explained(...), ...]}
        {}
    """

    @names_checked({"method": "here it is called methods, and takes one or several"})
    def __init__(
        self,
        methods: Methods = "gradcam",
        layer: str | None = None,
        *,
        metrics: Sequence[str] = (*PROTOCOLS["training"].metrics, "drift"),
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
    ) -> None:
        # TensorBoard's tags have no brackets.
        self.methods = {name.replace("(", ".").rstrip(")"): one for name, one in named(methods).items()}
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
        self.true_class, self.max_seconds_per_epoch = true_class, max_seconds_per_epoch
        self.batch_fn, self.output_fn = batch_fn or images_and_labels, output_fn
        self._notices, self._patient = Notices(on_error), Patient()
        self._report = Report(prefix, tuple(self.methods), self.metrics, mean, std, class_names, task)
        self._schedule = Schedule(every_n_epochs, every_n_validations)
        self._run = self._new_run()

    @property
    def explained(self) -> dict[str, list[Explained]]:
        """What the last explained epoch of the current or last run computed, the same on every process.

        By stage, "validation", "validate" or "test", as in the tag of the panel, and with "/dataloader_idx_1" where
        there are several data loaders; of each the images in the order of the data set, on the CPU. A stage without any
        explained image is not there.

        Example:
            >>> from lightning_callbacks import CAMCallback
            >>> callback = CAMCallback("fdcam")
            >>> for row in callback.explained.get("validation", []):  # after trainer.fit(module)
            ...     print(row.predicted, row.maps["fdcam"]["predicted"].shape, row.values["fdcam"]["insertion_auc"])
        """
        return self._run.explained

    def _new_run(self) -> WatchedRun:
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

    on_test_epoch_start, on_test_epoch_end = on_validation_epoch_start, on_validation_epoch_end
    on_test_batch_start, on_test_batch_end = on_validation_batch_start, on_validation_batch_end
