"""One run of a Trainer: choose and explain the images, and log the results."""

import time
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict, TypeVar

import pytorch_lightning as pl
import torch
import torch.distributed as dist
from pytorch_lightning.utilities.seed import isolate_rng

from lightning_callbacks.batches import BatchFn, annotations, out_of_range
from lightning_callbacks.callback.explained import Explained, Outcome
from lightning_callbacks.callback.image_explainer import ImageExplainer
from lightning_callbacks.callback.monitors import stand_ins
from lightning_callbacks.callback.notices import Notices
from lightning_callbacks.callback.report import Report
from lightning_callbacks.callback.schedule import Schedule
from lightning_callbacks.callback.selection import Choose, losses_of
from lightning_callbacks.callback.split import Split, batches_of, splits_of, stage_of
from lightning_callbacks.callback.watched_loader import LoaderState, WatchedLoader
from lightning_callbacks.callback.witness import Witness, other_images
from lightning_callbacks.lightning_internals import logged_step
from lightning_callbacks.network import ExplainsItself

Settings = dict[str, int | str | list[str]]

_T = TypeVar("_T")


class RunState(TypedDict):
    """A run in a checkpoint.

    ``settings`` decide which images and methods there are. ``methods`` are the layer and the options of each method.
    ``turn`` is the epoch and the number of validations of the schedule. ``values`` is the last value of each tag.
    ``loaders`` are named by :attr:`Split.key`.
    """

    settings: Settings
    methods: dict[str, str]
    turn: tuple[int | None, int]
    values: dict[str, float]
    loaders: dict[str, LoaderState]


class WatchedRun:
    """The network, the data loaders and the turns of one run.

    Args:
        explainer: the network and the explainers.
        schedule: decides which validations are explained.
        report: logs the results.
        notices: gives the warnings.
        batch_fn: function from a batch to (images, labels).
        choose: which images are explained.
        num_images: how many images of each data loader, on all processes together.
    """

    def __init__(
        self,
        explainer: ImageExplainer,
        schedule: Schedule,
        report: Report,
        notices: Notices,
        batch_fn: BatchFn,
        choose: Choose,
        num_images: int,
    ) -> None:
        self.explainer, self.schedule, self.report, self.notices = explainer, schedule, report, notices
        self.batch_fn, self.choose, self.num_images = batch_fn, choose, num_images
        self.loaders: dict[Split, WatchedLoader] = {}
        self.due, self.seconds = False, 0.0
        self.witness = Witness()
        self._saved: dict[str, LoaderState] = {}  # the loaders of a checkpoint that were not used yet
        self._before: Mapping[str, str] = {}  # layer and options of the methods in the checkpoint
        self._described: dict[str, str] = {}  # layer and options of the methods in this run
        self._measured: set[str] = set()  # the tags that had a value in this run
        self._values: dict[str, float] = {}  # the last value of each tag

    @property
    def explained(self) -> dict[str, list[Explained]]:
        """The results of the last explained epoch of each data loader."""
        return {split.name: loader.explained for split, loader in self.loaders.items() if loader.explained}

    def settings(self) -> Settings:
        """The settings that decide which images and methods there are."""
        return {"num_images": self.num_images, "choose": self.choose, "methods": list(self.report.methods)}

    def state(self) -> RunState:
        """The state for a checkpoint: tensors and plain containers."""
        loaders = {split.key: loader.state() for split, loader in self.loaders.items()}
        return {
            "settings": self.settings(),
            "methods": {**self._before, **self._described},
            "turn": (self.schedule.epoch, self.schedule.validations),
            "values": dict(self._values),
            "loaders": self._saved | loaders,
        }

    def restore(self, state: RunState) -> None:
        """Continue from a checkpoint, as far as the settings are the same."""
        self.schedule.epoch, self.schedule.validations = state["turn"]
        self._values, self._before = dict(state["values"]), state["methods"]
        then = state["settings"]
        changed = {name: now for name, now in self.settings().items() if now != then[name]}
        anew = not changed.keys().isdisjoint(("num_images", "choose"))
        for key, loader in state["loaders"].items():
            mine = {
                image: {name: map_ for name, map_ in maps.items() if name in self.report.methods}
                for image, maps in loader["maps"].items()
            }
            self._saved[key] = {"kept": [] if anew else loader["kept"], "maps": mine}
        if changed:
            said = ", ".join(f"{name} is {now} and was {then[name]}" for name, now in changed.items())
            chosen = "new images are chosen, and " if anew else ""
            self.notices.add(
                f"CAMCallback uses its new settings instead of those of the checkpoint: {said}; {chosen}drift starts "
                "again for everything that has changed"
            )

    def leave(self) -> None:
        """End the run, and forget the network and its hooks."""
        self.witness.end()
        self.explainer.leave()

    def start(self, trainer: pl.Trainer) -> None:
        """A validation or test begins."""
        ours = not trainer.sanity_checking and not isinstance(trainer.lightning_module, ExplainsItself)
        self.due = ours and (trainer.state.fn != "fit" or self.schedule.due(trainer.current_epoch))
        self.seconds = 0.0
        if self.due:
            for split, loader in self.loaders.items():
                if split.stage == stage_of(trainer):
                    loader.start()
        if ours and trainer.state.fn == "fit":
            self._stand_in(trainer)

    def watch(self, pl_module: pl.LightningModule, batch: Any) -> None:
        """Watch the network's input for the first batch, which comes next."""
        if self.due and not self.witness.called:
            with self.notices.guard():
                network = self.explainer.prepared(pl_module)
                self.witness.begin(network.network if network.hookable else None, batch)

    def see(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, index: int, number: int) -> None:
        """Choose images from a batch that was validated, and explain them after the last batch that is needed."""
        loader = self._loader(trainer, splits_of(trainer)[number])
        if not self.due or loader.share is not None:
            return
        with torch.inference_mode(False):  # the images are needed after the inference mode of validate and test
            if not loader.complete:
                with self.notices.guard():
                    self._select(trainer, pl_module, batch, loader)
            if index + 1 >= batches_of(trainer)[number]:
                loader.end()
            if loader.complete:
                # Not at the end of the epoch, when callbacks for weight averaging have already restored the weights.
                self._explain(trainer, pl_module, loader)

    def finish(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the results of the validation or test; all processes must call this."""
        if trainer.sanity_checking or isinstance(trainer.lightning_module, ExplainsItself):
            return
        stage, start, before = stage_of(trainer), time.perf_counter(), self.seconds
        found: dict[str, float] = {}
        if self.due:
            for split in splits_of(trainer):
                found |= self._report_loader(trainer, pl_module, split)
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
        """Log a value for monitored tags that have none yet; later Lightning keeps the values itself."""
        own = self.report.scalar_tags("validation")
        tags = {f"{tag}{split.suffix}" for tag in own for split in splits_of(trainer)}
        for tag, value in stand_ins(trainer, tags - self._measured, self._values).items():
            # This hook comes before the hook that logs the real value, which then replaces this value.
            trainer.lightning_module.log(
                tag, value, on_step=False, on_epoch=True, logger=False, add_dataloader_idx=False, batch_size=1
            )

    def _loader(self, trainer: pl.Trainer, split: Split) -> WatchedLoader:
        """The state of a data loader, made when it is first needed."""
        if split not in self.loaders:
            processes = trainer.global_rank, trainer.world_size
            state = self._saved.pop(split.key, None)
            self.loaders[split] = WatchedLoader(self.choose, self.num_images, *processes, state)
        return self.loaders[split]

    def _select(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, loader: WatchedLoader) -> None:
        """Look for images to choose in a batch, and check that the network gets the images of the batch."""
        given = self.witness.end()
        images, labels = self.batch_fn(batch)
        task = self.explainer.protocol.task
        known = annotations(labels, len(images), task)
        if given is not None:
            alike = [tensor for tensor in given if tensor.ndim == images.ndim]
            doubt = other_images(alike, images) if alike else out_of_range(images)
            if doubt is not None:
                self.notices.doubt(doubt)
        losses = None
        if self.choose == "hardest":
            with isolate_rng(), trainer.precision_plugin.forward_context():
                losses = losses_of(self.explainer.prepared(pl_module).scores(images, task), known, task)
        loader.see(images, known, losses)

    def _explain(self, trainer: pl.Trainer, pl_module: pl.LightningModule, loader: WatchedLoader) -> None:
        """Explain the chosen images of this process."""
        start = time.perf_counter()
        if loader.replaced:
            self.notices.add(
                "CAMCallback chooses new images, because the data loader no longer gives the images of the checkpoint; "
                "drift starts again for them"
            )
        loader.share = []
        # Callbacks run outside autocast, but the network is explained in the precision in which it is trained.
        with isolate_rng(), trainer.precision_plugin.forward_context():
            outcomes = self.explainer.explain(pl_module, loader.selection.samples, self.seconds)
            for rows in map(self._noted, outcomes):
                loader.share += rows
        self.seconds += time.perf_counter() - start

    def _noted(self, outcome: Outcome) -> list[Explained]:
        """The rows of an outcome; its warnings are given at once, because errors keep tensors alive."""
        for text in (*outcome.doubts, *self.report.doubts(outcome.rows)):
            self.notices.doubt(text)
        for failure in outcome.failures:
            self.notices.fail(failure)
        return outcome.rows

    def _report_loader(self, trainer: pl.Trainer, pl_module: pl.LightningModule, split: Split) -> dict[str, float]:
        """Draw the pictures of one loader and return its scalars, on every process."""
        loader = self._loader(trainer, split)
        if loader.share is None:  # the loader has no length
            loader.end()
            with torch.inference_mode(False):
                self._explain(trainer, pl_module, loader)
        described: dict[str, str] = {}
        with self.notices.guard():
            described = self.explainer.descriptions()
        parts = _gathered((loader.share or [], loader.chosen(), described), trainer.world_size)
        loader.gather([share for share, _, _ in parts], [chosen for _, chosen, _ in parts])
        for *_, part in parts:
            self._described |= part
        for name, before in self._before.items():
            now = self._described.get(name, before)
            if now != before:
                loader.drift.forget(name)
                self.notices.add(f"CAMCallback runs {name} with {now}, but before with {before}; drift starts again")
        with self.notices.guard():
            loader.compare()
        if loader.explained and trainer.is_global_zero:
            self._draw(trainer, split, loader.explained)
        scalars = self.report.scalars(loader.explained)
        return {f"{self.report.scalar(split.stage, name)}{split.suffix}": value for name, value in scalars.items()}

    def _draw(self, trainer: pl.Trainer, split: Split, rows: Sequence[Explained]) -> None:
        """Log the pictures and the card in all loggers."""
        step, card = logged_step(trainer), ""
        with self.notices.guard():
            card = self.explainer.card()
        for logger in trainer.loggers:
            with self.notices.guard():
                self.report.log(logger, split, step, rows, card)


def _gathered(mine: _T, world_size: int) -> list[_T]:
    """The objects of all processes."""
    if world_size == 1:
        return [mine]
    parts = [mine] * world_size
    dist.all_gather_object(parts, mine)
    return parts
