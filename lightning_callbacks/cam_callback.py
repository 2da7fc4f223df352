"""Explain the same validation images again and again while a network trains."""

import math
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import pytorch_lightning as pl
import torch
import torch.distributed as dist
from pytorch_lightning.utilities import rank_zero_warn
from pytorch_lightning.utilities.seed import isolate_rng

from captum_cams.errors import CAMError, check_at_least, check_choice
from captum_cams.metrics.presets import Preset, find_preset
from lightning_callbacks.batches import BatchFn, annotations, images_and_labels
from lightning_callbacks.drift import Drift
from lightning_callbacks.evaluation import CAMEvaluation
from lightning_callbacks.explainers import Method, named
from lightning_callbacks.explaining import Explained, Explaining, interleaved, is_memory
from lightning_callbacks.measures import METRICS
from lightning_callbacks.network import OutputFn
from lightning_callbacks.protocols import Protocol
from lightning_callbacks.report import Report
from lightning_callbacks.selection import CHOICES, Kept, Selection, losses_of

DEFAULT_METRICS = ("insertion_auc", "deletion_auc", "over_all", "average_drop", "average_increase", "drift")
Key = tuple[str, int]
"""The stage, "validation" or "test", and the number of the data loader."""


class CAMCallback(pl.Callback):
    """Log class activation maps and their faithfulness at every validation: ``Trainer(callbacks=[CAMCallback()])``.

    Some validation images are kept and explained again after every ``every_n_epochs`` epochs. The log gets one panel
    (a row per image, a column per method; below, true class, predicted class, probability, drift), a figure of the
    mean insertion and deletion curves, a card that says what was run, and ``cam/<method>/<metric>`` for
    ``ModelCheckpoint`` and ``EarlyStopping`` to monitor. Works in ``fit``, ``validate`` and ``test``; training is the
    same to the bit as without it.

    Args:
        method: a name (``captum_cams.names()``), an explainer made beforehand, or a list of these. Of a name with
            brackets, ``jittercam(fdcam)``, the log makes ``jittercam.fdcam``.
        layer: dotted name of the layer to explain; None finds the last feature layer.
        num_images: how many images of each data loader are explained, on all processes together.
        every_n_epochs: explain in every n-th epoch only.
        metrics: which of ``METRICS`` to log, of the predicted class, and "drift", the mean rank correlation of each
            image's map with its map of the last explained epoch. Localisation needs boxes or masks in the batch.
        preset: steps and replacement of the insertion and deletion curves.
        margin: of the pointing game, in pixels.
        choose: which images: the "first", "random" ones, as many "per_class" as can be, all of which stay the same, or
            the "hardest" by loss of each epoch, which costs a forward pass of every validation batch.
        true_class: explain the annotated class beside the predicted one.
        max_seconds_per_epoch: explain fewer images, one at least, where these seconds do not suffice.
        batch_fn: batch → (images, labels), where ``images_and_labels`` does not find them.
        output_fn: output of the network → scores N×classes, where it is no tensor, no tuple that begins with one
            and no mapping with ``logits`` or a single tensor.
        mean: of the normalisation, per channel, undone in the panel together with ``std``.
        std: as ``mean``.
        class_names: shown instead of class indices.
        on_error: "warn" turns a failing explanation into one warning per reason, "raise" stops the run.

    Raises:
        CAMError: an argument does not fit; at run time only with ``on_error="raise"``.
    """

    def __init__(
        self,
        method: Method | Sequence[Method] = "gradcam",
        layer: str | None = None,
        num_images: int = 8,
        every_n_epochs: int = 1,
        metrics: Sequence[str] = DEFAULT_METRICS,
        preset: str | Preset = "quick",
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
    ) -> None:
        # TensorBoard's tags have no brackets.
        self.methods = {name.replace("(", ".").rstrip(")"): one for name, one in named(method).items()}
        check_at_least("num_images", num_images, 1)
        check_at_least("every_n_epochs", every_n_epochs, 1)
        check_choice("choose", choose, CHOICES)
        check_choice("on_error", on_error, ("warn", "raise"))
        for metric in metrics:
            check_choice("metrics", metric, (*METRICS, "drift"))
        if (mean is None) != (std is None):
            raise CAMError("mean and std undo the normalisation together; pass both or neither")
        if max_seconds_per_epoch is not None and not max_seconds_per_epoch > 0:
            raise CAMError(f"max_seconds_per_epoch must be more than 0, got {max_seconds_per_epoch}")
        self.layer, self.num_images, self.every_n_epochs = layer, num_images, every_n_epochs
        self.metrics, self.choose = tuple(metrics), choose
        measured = tuple(metric for metric in metrics if metric != "drift")
        self.protocol = Protocol(measured, preset=find_preset(preset), margin=margin)
        self.batch_fn, self.on_error = batch_fn or images_and_labels, on_error
        arguments = self.methods, layer, output_fn, self.protocol, true_class, max_seconds_per_epoch, self._guarded
        self._new_explaining = lambda: Explaining(*arguments)
        self._explaining = self._new_explaining()
        self._report = Report(tuple(self.methods), self.metrics, mean, std, class_names)
        self._selections: dict[Key, Selection] = {}
        self._kept: dict[Key, list[Kept]] = {}
        self._drifts: dict[Key, Drift] = {}
        self._explained: dict[Key, list[Explained]] = {}
        self._seconds = 0.0
        self._warned: set[str] = set()

    @property
    def state_key(self) -> str:
        return self._generate_state_key(methods=list(self.methods), layer=self.layer, choose=self.choose)

    def state_dict(self) -> dict[str, Any]:
        return {
            "kept": {f"{split}/{number}": kept for (split, number), kept in self._kept.items()},
            "maps": {f"{split}/{number}": drift.before for (split, number), drift in self._drifts.items()},
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for name, kept in state_dict["kept"].items():
            split, number = name.split("/")
            self._kept[split, int(number)] = kept
        for name, maps in state_dict["maps"].items():
            split, number = name.split("/")
            self._drifts[split, int(number)] = Drift(maps, self.choose == "hardest")

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if not isinstance(trainer, pl.Trainer):
            raise CAMError(
                f"CAMCallback belongs to pytorch_lightning, got a Trainer of {type(trainer).__module__}; "
                "import Trainer from pytorch_lightning"
            )
        # Each run has its own network and images, also after one that was broken off; a checkpoint is read later.
        self._explaining = self._new_explaining()
        self._selections, self._kept, self._drifts, self._explained = {}, {}, {}, {}

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self._explaining = self._new_explaining()

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._start(trainer, "validation")

    def on_test_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._start(trainer, "test")

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
        self._see(trainer, pl_module, batch, ("validation", dataloader_idx), batch_idx + 1 >= batches)

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
        self._see(trainer, pl_module, batch, ("test", dataloader_idx), batch_idx + 1 >= batches)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._finish(trainer, pl_module, "validation", len(trainer.num_val_batches))

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._finish(trainer, pl_module, "test", len(trainer.num_test_batches))

    def _due(self, trainer: pl.Trainer) -> bool:
        if trainer.sanity_checking or isinstance(trainer.lightning_module, CAMEvaluation):
            return False
        between = trainer.check_val_every_n_epoch or 1
        turn = trainer.current_epoch // between
        return trainer.state.fn != "fit" or turn % math.ceil(self.every_n_epochs / between) == 0

    def _start(self, trainer: pl.Trainer, split: str) -> None:
        if not self._due(trainer):
            return
        self._explained, self._seconds = {}, 0.0
        for key, kept in self._kept.items():
            if key not in self._selections:  # a checkpoint's images go on, each process with its share
                share = kept[trainer.global_rank : self.num_images : trainer.world_size]
                self._selections[key] = self._selection(trainer)
                self._selections[key].restore(share)
        for (stage, _), selection in self._selections.items():
            if stage == split:
                selection.start()

    def _selection(self, trainer: pl.Trainer) -> Selection:
        selection = Selection(self.choose, math.ceil(self.num_images / trainer.world_size))
        selection.start()
        return selection

    def _see(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, key: Key, last: bool) -> None:
        if not self._due(trainer) or key in self._explained:
            return
        if key not in self._selections:
            self._selections[key] = self._selection(trainer)
        selection = self._selections[key]
        with torch.inference_mode(False):  # what is kept must outlive the mode that validate and test run in
            if not selection.complete:
                self._guarded(self._select, trainer, pl_module, batch, selection)
            if last:
                selection.end()
            if selection.complete:
                # Not at the epoch's end, where weight-averaging callbacks have swapped the weights back.
                self._explain(trainer, pl_module, key)

    def _select(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, selection: Selection) -> None:
        images, labels = self.batch_fn(batch)
        known = annotations(labels, len(images))
        losses = None
        if self.choose == "hardest":
            with isolate_rng(), trainer.precision_plugin.forward_context():
                losses = losses_of(self._explaining.scores(pl_module, images), known)
        selection.see(images, known, losses)

    def _explain(self, trainer: pl.Trainer, pl_module: pl.LightningModule, key: Key) -> None:
        selection, start = self._selections[key], time.perf_counter()
        with ExitStack() as stack:
            # Callbacks run outside autocast; the network is explained as it is trained.
            stack.enter_context(isolate_rng())
            stack.enter_context(trainer.precision_plugin.forward_context())
            arguments = pl_module, selection.images, selection.annotations, self._seconds
            done = self._guarded(self._explaining.explain, *arguments)
        self._explained[key] = done or []
        self._seconds += time.perf_counter() - start

    def _finish(self, trainer: pl.Trainer, pl_module: pl.LightningModule, split: str, loaders: int) -> None:
        if not self._due(trainer):
            return
        start, before = time.perf_counter(), self._seconds
        step = trainer.fit_loop.epoch_loop._batches_that_stepped  # Lightning's own for the scalars of the same epoch
        for number in range(loaders):
            key, suffix = (split, number), f"/dataloader_idx_{number}" if loaders > 1 else ""
            if key in self._selections and key not in self._explained:  # a loader that does not know its length
                self._selections[key].end()
                with torch.inference_mode(False):
                    self._explain(trainer, pl_module, key)
            # Every process takes part, explained or not, and knows the result.
            found = self._explained.pop(key, []), self._chosen(key)
            parts = _gathered(found, trainer.world_size)
            rows = interleaved([rows for rows, _ in parts], self.num_images)
            self._kept[key] = interleaved([kept for _, kept in parts], self.num_images) or self._kept.get(key, [])
            drift = self._drifts.setdefault(key, Drift(forgets=self.choose == "hardest"))
            drifts = self._guarded(drift, rows) or [{}] * len(rows)
            for name, value in self._report.scalars(rows, drifts).items():
                # Without any explanation the value is NaN, so that a callback which monitors it finds it.
                mean = torch.tensor(value, device=pl_module.device)
                pl_module.log(f"{name}{suffix}", mean, sync_dist=True, add_dataloader_idx=False)
            if rows and trainer.is_global_zero:
                card = self._guarded(self._explaining.card) or ""
                for logger in trainer.loggers:
                    self._guarded(self._report.log, logger, f"{split}{suffix}", step, rows, drifts, card)
        seconds = before + time.perf_counter() - start
        pl_module.log("cam/seconds", torch.tensor(seconds, device=pl_module.device), sync_dist=True)

    def _chosen(self, key: Key) -> list[Kept]:
        """This process's images as a checkpoint keeps them, where the others do not know them yet."""
        selection = self._selections.get(key)
        if selection is None or (self._kept.get(key) and self.choose != "hardest"):
            return []
        pairs = zip(selection.images, selection.annotations, strict=True)
        return [(image, list(one.classes), dict(one.regions)) for image, one in pairs]

    def _guarded(self, action: Any, *args: Any, method: str = "") -> Any:
        try:
            return action(*args)
        except Exception as error:
            if self.on_error == "raise":
                raise
            remedy = "; lower num_images or the method's perturbations_per_eval" if is_memory(error) else ""
            reason = f"{method or 'explanation'}: {type(error).__name__}: {error}{remedy}"
            same = f"{method} {remedy}" if remedy else reason  # how much memory was left differs each time
            if same not in self._warned:
                self._warned.add(same)
                rank_zero_warn(f"CAMCallback skips this explanation and the run goes on. {reason}")
            return None


def _gathered(mine: Any, world_size: int) -> list[Any]:
    if world_size == 1:
        return [mine]
    parts: list[Any] = [None] * world_size
    dist.all_gather_object(parts, mine)
    return parts
