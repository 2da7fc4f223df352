"""The Lightning module that explains and measures a data set, batch by batch."""

import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from captum_cams.errors import CAMError, check_choice
from captum_cams.metrics import region_mask
from captum_cams.metrics.annotation import Annotation
from captum_cams.metrics.catalogue import Case, columns, measure, reads_labels
from captum_cams.metrics.presets import find_preset
from captum_cams.metrics.protocols import Protocol
from lightning_callbacks.batches import BatchFn, annotations, images_and_labels
from lightning_callbacks.evaluation.class_names import check_class_names
from lightning_callbacks.evaluation.fingerprints import of_data
from lightning_callbacks.evaluation.journal import Journal
from lightning_callbacks.evaluation.rows import Rows
from lightning_callbacks.evaluation.sampling import as_loader, drawn, indices_of
from lightning_callbacks.evaluation.settings import settings_of
from lightning_callbacks.evaluation.shares import NOTHING, Batches, read, share
from lightning_callbacks.evaluation.table import Table
from lightning_callbacks.methods import Methods, check_scores, make, named
from lightning_callbacks.network import Network, OutputFn


class CAMEvaluation(pl.LightningModule):
    """One pass of ``Trainer.test`` over a data set; afterwards every process has the result as ``table``.

    The arguments are those of :func:`evaluate`.
    """

    table: Table

    def __init__(
        self,
        model: nn.Module,
        data: DataLoader | Dataset,
        methods: Methods,
        protocol: Protocol,
        layer: str | None = None,
        batch_fn: BatchFn | None = None,
        output_fn: OutputFn | None = None,
        out: str | Path | None = None,
        version: str | None = None,
        class_names: Sequence[str] | None = None,
        skip_unreadable: bool = False,
    ) -> None:
        super().__init__()
        if not isinstance(model, nn.Module):
            raise CAMError(f"the model must be an nn.Module, got {type(model).__name__}")
        check_choice("classes", protocol.classes, ("predicted", "annotated"))
        self.network, self.protocol = Network(model, output_fn), protocol
        self.explainers = {name: make(one, self.network, layer, protocol.task) for name, one in named(methods).items()}
        self.batch_fn, self.loader = batch_fn or images_and_labels, as_loader(data)
        self.class_names, self.skips, self.unread = class_names, skip_unreadable, dict[int, str]()
        indices = indices_of(self.loader)
        if protocol.images is not None or protocol.single_small_box:
            indices = drawn(indices, protocol.images, self._wanted)
        self.batches, self.warm = Batches(self.loader, indices, skip_unreadable), False
        self.columns = columns(protocol.metrics) | {"seconds": 1, "forward_seconds": 1}
        self.out, self.settings = out, dict[str, Any]()
        self.journal: Journal | None = None
        if out is not None:
            given = {"protocol": protocol, "functions": {"batch_fn": batch_fn, "output_fn": output_fn}}
            parts = self.batches.parts
            self.settings = settings_of(model, self.network, self.explainers, parts, version, **given)

    def setup(self, stage: str) -> None:
        steps = find_preset(self.protocol.preset).steps + 1
        self.rows = Rows(list(self.explainers), self.columns, steps).to(self.trainer.strategy.root_device)
        if self.out is not None:
            self.journal = Journal(Path(self.out), self.settings | {"precision": str(self.trainer.precision)})
            for entry in self.journal.open(self.trainer):
                unread = [int(index) for index, mark in entry["images"].items() if mark is None]
                self.rows.update(*self.rows.numbered(entry["rows"]), unread)
        if self.trainer.is_global_zero:
            self._skip(self.unread)

    def teardown(self, stage: str) -> None:
        if self.journal is not None:
            self.journal.close()

    def test_dataloader(self) -> DataLoader:
        finished = set() if self.journal is None else {*self.journal.images}
        return share(self.loader, self.batches, finished, self.trainer.world_size, self.trainer.global_rank)

    def test_step(self, numbered: tuple[int, list[int], dict[int, str], Any], batch_idx: int) -> None:
        number, indices, unread, batch = numbered
        if number == NOTHING:
            return
        images, labels = (None, None) if batch is None else self.batch_fn(batch)
        if images is not None and len(images) != len(indices):
            raise CAMError(f"batch_fn must keep all {len(indices)} images of a batch, got {len(images)}")
        known = annotations(labels, len(indices), self.protocol.task)
        marks: dict[str, str | None] = {str(index): None for index in unread}
        if self.journal is not None and images is not None:
            marks |= {str(index): of_data([*pair]) for index, *pair in zip(indices, images, known, strict=True)}
        if self.journal is not None and self.journal.has(number, marks):
            return
        with torch.inference_mode(False):
            parts = [] if images is None else self._measured(images, known)
            width = sum(self.columns.values())
            places = torch.cat([torch.empty(0, 3, dtype=torch.long), *(places for places, _, _ in parts)])
            values = torch.cat([torch.empty(0, width), *(values for _, values, _ in parts)])
            curves = sum((curves for _, _, curves in parts), torch.zeros(self.rows.curves.shape))
            places[:, 0] = torch.tensor(indices)[places[:, 0]]
            self.rows.update(places, values, curves)
            self._skip(unread)
        if self.journal is not None:
            entry = {"batch": number, "images": marks, "rows": self.rows.named(places, values, curves)}
            self.journal.write(self.trainer.global_rank, entry)

    def on_test_epoch_end(self) -> None:
        places, values, curves, skipped = self.rows.compute()
        split = dict(zip(self.columns, values.split(list(self.columns.values()), 1), strict=True))
        count = (places[:, 2, None] == torch.arange(len(self.explainers))).sum(0)
        self.table = Table(
            tuple(self.explainers),
            tuple(self.protocol.metrics),
            places,
            {name: column if column.shape[1] > 1 else column[:, 0] for name, column in split.items()},
            curves / count[:, None, None] if curves.any() else None,
            tuple(skipped),
        )
        if all(self.table[name, metric].n == 0 for name in self.explainers for metric in self.protocol.metrics):
            left_out = f" ({len(skipped)} could not be read)" if skipped else ""
            raise CAMError(
                f"no image{left_out} has what {', '.join(self.protocol.metrics)} need; pass labels with the batch, and "
                'for localisation a list of {"labels": ..., "boxes": ...}, or another protocol'
            )
        if self.journal is not None and self.trainer.is_global_zero:
            self.table.write(self.journal.folder, self.journal.settings)

    def _skip(self, unread: dict[int, str]) -> None:
        for index, reason in unread.items():
            warnings.warn(f"left out image {index}: {reason}", stacklevel=2)
        nothing = torch.empty(0, 3, dtype=torch.long), torch.empty(0, sum(self.columns.values()))
        self.rows.update(*nothing, torch.zeros(self.rows.curves.shape), [*unread])

    def _measured(self, images: Tensor, known: Sequence[Annotation]) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Places (whose images are counted within the batch), values and curves, in parts of the batch's size."""
        if not self.warm:
            self._predict(images)  # the first run of a device is slow
            check_scores(self.explainers.values(), self.network, images, self.protocol.task)
            self.warm = True
        predicted, forward = self._timed(self._predict, images)
        return [
            self._rows(images, [known[i] for i, _ in part], part, forward / len(images))
            for part in self._pairs(predicted, known)
        ]

    def _pairs(self, predicted: list[int], known: Sequence[Annotation]) -> list[list[tuple[int, int]]]:
        """The pairs of image and class to be explained, in batches as large as the images' own."""
        if self.protocol.classes == "predicted":
            return [list(enumerate(predicted))]
        pairs = [(i, index) for i, one in enumerate(known) for index in one.classes]
        if wrong := {index for _, index in pairs if not 0 <= index < self.classes}:
            raise CAMError(f"labels must be classes from 0 to {self.classes - 1}, got {sorted(wrong)}")
        return [pairs[i : i + len(known)] for i in range(0, len(pairs), len(known))]

    def _rows(
        self, images: Tensor, known: Sequence[Annotation], pairs: list[tuple[int, int]], forward: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Places, values and summed curves of one batch of pairs."""
        mine, classes = images[[i for i, _ in pairs]], [index for _, index in pairs]
        places, table = [], []
        curves = torch.zeros(self.rows.curves.shape)
        for number, (name, explainer) in enumerate(self.explainers.items()):
            try:
                maps, seconds = self._timed(explainer.attribute, mine, classes)
                case = Case(self.network, mine, classes, maps, known, explainer.attribute)
                values, drawn_ = measure(case, self.protocol)
            except CAMError as error:
                raise CAMError(f"{name}: {error}") from error
            values |= {
                "seconds": torch.full((len(pairs),), seconds / len(pairs)),
                "forward_seconds": torch.full((len(pairs),), forward),
            }
            table.append(torch.cat([values[key].float().cpu().reshape(len(pairs), -1) for key in self.columns], 1))
            places += [[i, index, number] for i, index in pairs]
            if drawn_ is not None:
                curves[number] = drawn_.sum(0).cpu()
        return torch.tensor(places), torch.cat(table), curves

    def _wanted(self, index: int) -> bool:
        if not self.protocol.single_small_box:
            return True
        item, reason = read(self.loader.dataset, index, self.skips)
        if reason is not None:
            self.unread[index] = reason
            return False
        images, labels = self.batch_fn(self.loader.collate_fn([item]))
        regions = list(annotations(labels, 1, self.protocol.task)[0].regions.values())
        single = len(regions) == 1 and len(regions[0]) == 1
        size = (images.shape[-2], images.shape[-1])
        return single and float(region_mask(regions[0], size).float().mean()) <= 0.5

    def _predict(self, images: Tensor) -> list[int]:
        scores = self.network.scores(images, self.protocol.task)
        if reads_labels(self.protocol) and self.batch_fn is images_and_labels:  # another one may translate them
            check_class_names(getattr(self.loader.dataset, "classes", None), self.class_names, scores.shape[1])
        self.classes = scores.shape[1]
        return scores.argmax(1).tolist()

    def _timed(self, action: Callable[..., Any], *args: Any) -> tuple[Any, float]:
        start = time.perf_counter()
        result = action(*args)
        if self.device.type != "cpu":
            torch.accelerator.synchronize()
        return result, time.perf_counter() - start
