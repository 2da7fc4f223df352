"""One run of a Trainer as the callback sees it: what is explained, when, and what is told of it."""

import time
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import pytorch_lightning as pl
import torch
import torch.distributed as dist
from pytorch_lightning.utilities.seed import isolate_rng

from lightning_callbacks.batches import BatchFn, annotations, out_of_range
from lightning_callbacks.callback.explained import TRUE
from lightning_callbacks.callback.image_explainer import Explaining
from lightning_callbacks.callback.monitors import LOADER, stand_ins
from lightning_callbacks.callback.notices import Notices
from lightning_callbacks.callback.report import Report, stage_of
from lightning_callbacks.callback.schedule import Schedule
from lightning_callbacks.callback.selection import losses_of
from lightning_callbacks.callback.watched_loader import WatchedLoader
from lightning_callbacks.callback.witness import Witness, other_images
from lightning_callbacks.evaluation.module import CAMEvaluation
from lightning_callbacks.lightning_internals import logged_step


class WatchedRun:
    """The network, the data loaders and the turns of one run.

    Args:
        explaining: the network and the explainers.
        schedule: which validations are explained.
        report: what is logged.
        notices: what is said in words.
        batch_fn: batch → (images, labels).
        choose: which images.
        num_images: how many of each data loader, on all processes together.
    """

    def __init__(
        self,
        explaining: Explaining,
        schedule: Schedule,
        report: Report,
        notices: Notices,
        batch_fn: BatchFn,
        choose: str,
        num_images: int,
    ) -> None:
        self.explaining, self.schedule, self.report, self.notices = explaining, schedule, report, notices
        self.batch_fn, self.choose, self.num_images = batch_fn, choose, num_images
        self.loaders: dict[tuple[str, int], WatchedLoader] = {}
        self.due, self.seconds = False, 0.0
        self.witness = Witness()
        self._saved: dict[str, Any] = {}  # the loaders of a checkpoint, until they are met again
        self._before: Mapping[str, str] = {}  # how its methods were run
        self._described: dict[str, str] = {}  # how they are run here
        self._measured: set[str] = set()  # the tags that have had a value in this run
        self._values: dict[str, float] = {}  # the last one of each tag

    def settings(self) -> dict[str, Any]:
        """What decides which images and methods there are."""
        return {"num_images": self.num_images, "choose": self.choose, "methods": list(self.report.methods)}

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds: tensors and plain containers."""
        loaders = {f"{stage}/{number}": loader.state() for (stage, number), loader in self.loaders.items()}
        return {
            "settings": self.settings(),
            "methods": {**self._before, **self._described},
            "turn": [self.schedule.epoch, self.schedule.validations],
            "values": dict(self._values),
            "loaders": self._saved | loaders,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint, as far as the settings are the same."""
        self.schedule.epoch, self.schedule.validations = state["turn"]
        self._values, self._before = dict(state["values"]), state["methods"]
        then = state["settings"]
        changed = {name: now for name, now in self.settings().items() if now != then[name]}
        anew = not changed.keys().isdisjoint(("num_images", "choose"))
        self._saved = {name: one | ({"kept": []} if anew else {}) for name, one in state["loaders"].items()}
        if changed:
            said = ", ".join(f"{name} is {now} and was {then[name]}" for name, now in changed.items())
            chosen = "the images are chosen anew, and " if anew else ""
            self.notices.add(
                f"CAMCallback follows its new settings and not those of the checkpoint: {said}; {chosen}drift starts "
                "anew for what has changed"
            )

    def leave(self) -> None:
        """The run is over; what hangs on the network is let go."""
        self.witness.end()
        self.explaining.network, self.explaining.explainers = None, {}

    def start(self, trainer: pl.Trainer) -> None:
        """A validation or test begins."""
        ours = not trainer.sanity_checking and not isinstance(trainer.lightning_module, CAMEvaluation)
        self.due = ours and (trainer.state.fn != "fit" or self.schedule.due(trainer.current_epoch))
        self.seconds = 0.0
        if self.due:
            for (stage, _), loader in self.loaders.items():
                if stage == stage_of(trainer):
                    loader.start()
        if ours and trainer.state.fn == "fit":
            self._stand_in(trainer)

    def watch(self, pl_module: pl.LightningModule, batch: Any) -> None:
        """The first batch is about to be given to the network."""
        if self.due and not self.witness.called:
            self.notices.guarded(self._begin_watching, pl_module, batch)

    def see(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, number: int, last: bool) -> None:
        """One batch of a loader has been validated or tested."""
        loader = self._loader(trainer, number)
        if not self.due or loader.explained is not None:
            return
        with torch.inference_mode(False):  # what is kept must outlive the mode that validate and test run in
            if not loader.complete:
                self.notices.guarded(self._select, trainer, pl_module, batch, loader)
            if last:
                loader.end()
            if loader.complete:
                # Not at the epoch's end, where weight-averaging callbacks have swapped the weights back.
                self._explain(trainer, pl_module, loader)

    def finish(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log what the validation or test has given; all processes take part."""
        if trainer.sanity_checking or isinstance(trainer.lightning_module, CAMEvaluation):
            return
        stage, start, before = stage_of(trainer), time.perf_counter(), self.seconds
        found: dict[str, float] = {}
        if self.due:
            for number, suffix in enumerate(_suffixes(trainer)):
                found |= self._report_loader(trainer, pl_module, stage, number, suffix)
            self._before = {}
            self.notices.share(trainer.global_rank, trainer.world_size)
            found[self.report.scalar(stage, "seconds")] = before + time.perf_counter() - start
        for tag, value in found.items():
            mean = torch.tensor(value, device=pl_module.device)
            pl_module.log(tag, mean, sync_dist=True, add_dataloader_idx=False)
        if stage == "validation":
            self._values |= found
            self._measured |= found.keys()

    def _stand_in(self, trainer: pl.Trainer) -> None:
        """Give those who monitor a tag something to find until its first value; Lightning keeps the values later."""
        tags = {f"{tag}{suffix}" for tag in self.report.scalar_tags("validation") for suffix in _suffixes(trainer)}
        for tag, value in stand_ins(trainer, tags - self._measured, self._values).items():
            # From another hook than the value's own, which comes later and counts.
            trainer.lightning_module.log(
                tag, value, on_step=False, on_epoch=True, logger=False, add_dataloader_idx=False, batch_size=1
            )

    def _loader(self, trainer: pl.Trainer, number: int) -> WatchedLoader:
        key = stage_of(trainer), number
        if key not in self.loaders:
            processes = trainer.global_rank, trainer.world_size
            state = self._saved.pop(f"{key[0]}/{number}", None)
            self.loaders[key] = WatchedLoader(self.choose, self.num_images, *processes, state)
        return self.loaders[key]

    def _begin_watching(self, pl_module: pl.LightningModule, batch: Any) -> None:
        network = self.explaining.prepared(pl_module)
        self.witness.begin(network.network if network.hookable else None, batch)

    def _select(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, loader: WatchedLoader) -> None:
        given = self.witness.end()
        images, labels = self.batch_fn(batch)
        known = annotations(labels, len(images), self.explaining.protocol.task)
        if given is not None:
            self.notices.doubt(other_images(given, images) if given else out_of_range(images))
        losses = None
        if self.choose == "hardest":
            with isolate_rng(), trainer.precision_plugin.forward_context():
                scores = self.explaining.scores(pl_module, images)
                losses = losses_of(scores, known, self.explaining.protocol.task)
        loader.see(images, known, losses)

    def _explain(self, trainer: pl.Trainer, pl_module: pl.LightningModule, loader: WatchedLoader) -> None:
        selection, start = loader.selection, time.perf_counter()
        if loader.replaced:
            self.notices.add(
                "CAMCallback chooses its images anew, because the data loader no longer gives those of the checkpoint; "
                "drift starts anew for them"
            )
        with ExitStack() as stack:
            # Callbacks run outside autocast; the network is explained as it is trained.
            stack.enter_context(isolate_rng())
            stack.enter_context(trainer.precision_plugin.forward_context())
            arguments = pl_module, selection.images, selection.annotations, self.seconds
            done = self.notices.guarded(self.explaining.explain, *arguments)
        loader.explained = done or []
        self.seconds += time.perf_counter() - start

    def _report_loader(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str, number: int, suffix: str
    ) -> dict[str, float]:
        """Draw the pictures of one loader and return its scalars; every process takes part and knows the result."""
        loader = self._loader(trainer, number)
        if loader.explained is None:  # a loader that does not know its length
            loader.end()
            with torch.inference_mode(False):
                self._explain(trainer, pl_module, loader)
        described = self.notices.guarded(self.explaining.descriptions) or {}
        parts = _gathered((loader.explained, loader.chosen(), described), trainer.world_size)
        rows = loader.gather([(explained, chosen) for explained, chosen, _ in parts])
        for *_, part in parts:
            self._described |= part
        for name, before in self._before.items():
            now = self._described.get(name, before)
            if now != before:
                loader.drift.forget((name, name + TRUE))
                self.notices.add(f"CAMCallback explains by {name} with {now}, and did with {before}; drift starts anew")
        drifts = self.notices.guarded(loader.drift, rows) or [{}] * len(rows)
        if rows and trainer.is_global_zero:
            step = logged_step(trainer)
            card = self.notices.guarded(self.explaining.card) or ""
            for logger in trainer.loggers:
                self.notices.guarded(self.report.log, logger, f"{stage}{suffix}", step, rows, drifts, card)
        scalars = self.report.scalars(rows, drifts)
        return {f"{self.report.scalar(stage, name)}{suffix}": value for name, value in scalars.items()}


def _suffixes(trainer: pl.Trainer) -> list[str]:
    batches = trainer.num_test_batches if trainer.state.fn == "test" else trainer.num_val_batches
    return [f"{LOADER}{number}" if len(batches) > 1 else "" for number in range(len(batches))]


def _gathered(mine: Any, world_size: int) -> list[Any]:
    if world_size == 1:
        return [mine]
    parts: list[Any] = [None] * world_size
    dist.all_gather_object(parts, mine)
    return parts
