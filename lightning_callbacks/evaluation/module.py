"""The Lightning module that ``evaluate`` runs; it explains and measures a data set batch by batch."""

import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from captum_cams.adapters.map_folder import MapFormat
from captum_cams.errors import CAMError, check_at_least
from captum_cams.metrics.annotation import Annotation
from captum_cams.metrics.case import Case
from captum_cams.metrics.catalogue import measure
from captum_cams.metrics.presets import find_preset
from captum_cams.metrics.protocols import Protocol
from lightning_callbacks.batches import BatchFn, annotations, images_and_labels
from lightning_callbacks.evaluation.choosing import LabelsOf, Reader, check_boxes, choose
from lightning_callbacks.evaluation.class_names import check_class_names
from lightning_callbacks.evaluation.files import write_files
from lightning_callbacks.evaluation.fingerprints import digest, of_data
from lightning_callbacks.evaluation.journal import Journal
from lightning_callbacks.evaluation.pairs import pairs_of
from lightning_callbacks.evaluation.pictures import Pictures
from lightning_callbacks.evaluation.progress import Progress
from lightning_callbacks.evaluation.report import write_report_or_warn
from lightning_callbacks.evaluation.rows import Measured, Rows, as_float16, joined
from lightning_callbacks.evaluation.sampling import as_loader, draw, indices_of
from lightning_callbacks.evaluation.saved_maps import SavedMaps
from lightning_callbacks.evaluation.seeds import Seeds, check_seeds, over_seeds
from lightning_callbacks.evaluation.settings import batch_settings, registered, settings_of
from lightning_callbacks.evaluation.shares import Batches, NumberedBatch, Shard, check_shard, share
from lightning_callbacks.evaluation.table import Table
from lightning_callbacks.methods import Methods, check_scores, make, named
from lightning_callbacks.network import ExplainsItself, Network, OutputFn


class CAMEvaluation(ExplainsItself):
    """Explain and measure a data set in ``Trainer.test``; use it instead of ``evaluate`` to run the Trainer yourself.

    Afterwards every process has the result in the attribute ``table``.

    Args:
        model: a module that maps images to scores N×classes.
        data: a data set or a data loader.
        methods: names, explainers, or a mapping from your own names to these.
        protocol: what is measured.
        layer: dotted name of the layer to explain; None finds the last feature layer.
        batch_fn: function from a batch to (images, labels).
        output_fn: function from the output of the model to scores N×classes.
        out: folder for the files and the journal of the evaluation.
        version: your own version name for your functions and classes.
        class_names: the names of the model's classes.
        skip_unreadable: leave out images that cannot be read.
        limit: at most this number of images, a sample.
        shard: (k, n) evaluates part k of n of the batches.
        labels_of: function from an index to the labels of an image, for protocols that choose images by their boxes.
        save_curves: keep the curves of each row.
        save_maps: folder for the maps.
        map_format: format of the files in this folder.
        seeds: the seeds of methods that draw random numbers, or their number.

    Raises:
        CAMError: an argument does not fit; while the Trainer runs, in the same cases as :func:`evaluate`.

    Example::

        from pytorch_lightning import Trainer

        data = torch.utils.data.TensorDataset(images, labels)
        protocol = lightning_callbacks.Protocol("complexity")
        evaluation = lightning_callbacks.CAMEvaluation(model, data, "gradcam", protocol)
        Trainer(devices=1, logger=False, enable_checkpointing=False).test(evaluation)
        print(evaluation.table)
    """

    def __init__(
        self,
        model: nn.Module,
        data: DataLoader | Dataset,
        methods: Methods,
        protocol: Protocol,
        *,
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
    ) -> None:
        super().__init__()
        if not isinstance(model, nn.Module):
            raise CAMError(
                f"the model must be an nn.Module, got {type(model).__name__}; put a function into a module with forward"
            )
        if not protocol.metrics:
            raise CAMError("metrics must name at least one metric, got none; METRICS holds all of them")
        if limit is not None:
            check_at_least("limit", limit, 1)
        check_shard(shard)
        if save_curves and not protocol.draws_curves:
            metrics = ", ".join(protocol.metrics)
            raise CAMError(f'save_curves needs a metric of the curves, got {metrics}; add "over_all" to metrics')
        self.network, self.protocol = Network(model, output_fn), protocol
        self.methods = {name: make(one, self.network, layer, protocol.task) for name, one in named(methods).items()}
        self.seeds = check_seeds(seeds)
        self.runs = over_seeds(self.methods, self.seeds)
        explainers = {name: run.explainer for name, run in self.runs.items()}
        self.batch_fn, self.loader = batch_fn or images_and_labels, as_loader(data)
        self.class_names, self.skips, self.warm = class_names, skip_unreadable, False
        self.limit, self.shard, self.labels_of, self.save_curves = limit, shard, labels_of, save_curves
        self.indices = indices_of(self.loader)
        self.table: Table | None = None
        self.journal: Journal | None = None
        self.saved = None if save_maps is None else SavedMaps(Path(save_maps), explainers, map_format)
        self.out, self.settings = out, dict[str, Any]()
        if out is not None:
            functions = {"batch_fn": batch_fn, "output_fn": output_fn}
            given = {"protocol": protocol, "functions": functions, "registered metrics": registered(protocol)}
            given |= {"points": self.points, "save_curves": save_curves, "shard": shard, "seeds": self.seeds}
            self.settings = settings_of(model, self.network, self.methods, version, **given)

    @property
    def points(self) -> int:
        """The number of points of a curve, or 0 if no metric draws curves."""
        return find_preset(self.protocol.preset).steps + 1 if self.protocol.draws_curves else 0

    def setup(self, stage: str) -> None:
        indices, unread = self._chosen()
        self.batches = Batches(self.loader, indices, self.skips, self.shard)
        rows = Rows([*self.methods], self.protocol.metrics, self.points, self.save_curves, bool(self.seeds))
        self.rows, self.progress = rows.to(self.trainer.strategy.root_device), Progress(self.trainer)
        if self.out is not None:
            chosen = batch_settings(self.batches.parts, unread) | {"precision": str(self.trainer.precision)}
            self.journal = Journal(Path(self.out), self.settings | chosen)
            self.journal.open(self.trainer)
            for entry in self.journal.entries() if self.trainer.is_global_zero else ():
                lost = [int(index) for index, mark in entry["images"].items() if mark is None]
                self.rows.update(*self.rows.from_json(entry["rows"]), lost)
        preset = find_preset(self.protocol.preset) if self.protocol.draws_curves else None
        of_dataset = getattr(self.loader.dataset, "classes", None)
        names = of_dataset if self.class_names is None else self.class_names
        folder = None if self.journal is None else self.journal.folder
        self.pictures = Pictures(folder, self._mark, indices, preset, names)
        if self.saved is not None:
            done = {} if self.journal is None else self.journal.images
            finished = [batch for batch, images in done.items() if any(images.values())]
            self.saved.open(self.trainer, self._mark, finished)
        if self.trainer.is_global_zero and self.shard[0] == 0:  # other shards do not count them again
            self._skip(unread)

    def teardown(self, stage: str) -> None:
        if self.journal is not None:
            self.journal.close()

    def test_dataloader(self) -> DataLoader:
        finished = set() if self.journal is None else {*self.journal.images}
        return share(self.loader, self.batches, finished, self.trainer.world_size, self.trainer.global_rank)

    def test_step(self, batch: NumberedBatch, batch_idx: int) -> None:
        if batch.number is None:
            return
        images, labels = (None, None) if batch.content is None else self.batch_fn(batch.content)
        if images is not None and len(images) != len(batch.indices):
            raise CAMError(
                f"batch_fn must keep all {len(batch.indices)} images of a batch, got {len(images)}; "
                "filter the data set instead"
            )
        known = annotations(labels, len(batch.indices), self.protocol.task)
        if self.labels_of is not None and self.protocol.single_small_box and images is not None:
            check_boxes(images, known, batch.indices)
        marks: dict[str, str | None] = {str(index): None for index in batch.unread}
        if self.journal is not None and images is not None:
            marks |= {str(index): of_data([*pair]) for index, *pair in zip(batch.indices, images, known, strict=True)}
        if self.journal is not None and self.journal.has(batch.number, marks):
            return
        self.progress.begin(batch_idx)
        with torch.inference_mode(False):
            parts = [] if images is None else self._measured(images, known, batch.indices)
            columns, curves = joined(parts, self.rows.empty)
            self.rows.update(columns, curves)
            self._skip(batch.unread)
        self.progress.show()
        if self.saved is not None and images is not None:
            self.saved.write(batch.number)
        self.pictures.write()
        if self.journal is not None:
            entry = {"batch": batch.number, "images": marks, "rows": self.rows.to_json(columns, curves)}
            self.journal.write(self.trainer.global_rank, entry)

    def on_test_epoch_end(self) -> None:
        table, metrics = self.rows.table(), self.protocol.metrics
        empty = all(table[name, metric].n == 0 for name in table.methods for metric in metrics)
        if empty and self.shard[1] == 1:  # other shards may have annotations
            left_out = f" ({len(table.skipped)} could not be read)" if table.skipped else ""
            raise CAMError(
                f"{', '.join(metrics)} need annotations, but no image{left_out} has them; pass labels with the batch "
                '(for localisation, a list of {"labels": ..., "boxes": ...}), or choose another protocol'
            )
        self.table = table
        if self.journal is not None and self.trainer.is_global_zero:
            write_files(table, self.journal.folder, self.journal.settings)
            write_report_or_warn(self.journal.folder)
        if self.saved is not None and self.trainer.is_global_zero:
            self.saved.close(self._mark, range(len(self.batches)))

    @property
    def _mark(self) -> str | None:
        """A hash of the settings; None without a journal."""
        return None if self.journal is None else digest(self.journal.settings)

    def _skip(self, unread: dict[int, str]) -> None:
        """Warn about images that cannot be read, and count them."""
        for index, reason in unread.items():
            warnings.warn(f"left out image {index}: {reason}", stacklevel=2)
        self.rows.update(self.rows.empty, {}, [*unread])

    def _measured(self, images: Tensor, known: Sequence[Annotation], indices: Sequence[int]) -> list[Measured]:
        """Columns and summed curves of one batch; a part has at most as many pairs as the batch has images."""
        if not self.warm:
            self._scores(images)  # the first forward pass on a device is slow
            check_scores(self.methods.values(), self.network, images, self.protocol.task)
            self.warm = True
        scores, seconds = self._timed(self._scores, images)
        self._check_names(scores.shape[1])
        self.pictures.begin(images, known, scores, indices)
        parts = pairs_of(scores, known, self.protocol.classes == "predicted")
        return [self._rows(images, known, indices, pairs, seconds / len(images)) for pairs in parts]

    def _rows(
        self,
        images: Tensor,
        known: Sequence[Annotation],
        indices: Sequence[int],
        pairs: list[tuple[int, int]],
        forward: float,
    ) -> Measured:
        """Columns and summed curves of some pairs, for every method."""
        positions, classes = (list(side) for side in zip(*pairs, strict=True))
        mine, annotated, of_images = images[positions], [known[i] for i in positions], [indices[i] for i in positions]
        found, sums = list[dict[str, Tensor]](), dict[str, Tensor]()
        for name, run in self.runs.items():
            try:
                maps, seconds = self._timed(run.explainer.attribute, mine, classes)
                case = Case(self.network, mine, classes, maps, annotated, run.explainer.attribute, self.protocol)
                values, curves = measure(case, self.protocol.metrics)
                if self.saved is not None:
                    self.saved.add(name, maps, mine, classes, of_images)
                self.pictures.add(run.method, maps, classes, of_images, curves)
            except CAMError as error:
                raise CAMError(f"{name}: {error}") from error
            self.progress.add(run.method, seconds, len(pairs))
            keys = {"image": torch.tensor(of_images), "class": torch.tensor(classes)}
            seconds_each = {"seconds": seconds / len(pairs), "forward_seconds": forward}
            cost = {key: torch.full((len(pairs),), value).float() for key, value in seconds_each.items()}
            of_run = {key: torch.full((len(pairs),), n) for key, n in (("method", run.number), ("seed", run.seed))}
            found.append(keys | of_run | values | cost)
            if curves is not None:
                sums[run.method] = sums.get(run.method, 0) + curves.sum(0)
            if curves is not None and self.save_curves:
                found[-1]["curves"] = as_float16(curves)
        return {name: torch.cat([columns[name] for columns in found]) for name in found[0]}, sums

    def _chosen(self) -> tuple[list[int], dict[int, str]]:
        """The indices of the images to evaluate; and index → reason, for images that could not be read to choose."""
        count = min((n for n in (self.protocol.images, self.limit) if n is not None), default=None)
        if count is None and not self.protocol.single_small_box:
            return self.indices, {}
        order, unread = draw(self.indices), dict[int, str]()
        if self.protocol.single_small_box:
            labels_of = self.labels_of or Reader(self.batch_fn, self.protocol.task)
            order, unread = choose(self.loader, order, count, labels_of, self.skips, self.trainer)
        return sorted(order[:count]), unread

    def _scores(self, images: Tensor) -> Tensor:
        return self.network.scores(images, self.protocol.task)

    def _check_names(self, classes: int) -> None:
        reads = self.protocol.reads_labels and self.batch_fn is images_and_labels  # another batch_fn may translate them
        check_class_names(getattr(self.loader.dataset, "classes", None) if reads else None, self.class_names, classes)

    def _timed(self, action: Callable[..., Any], *args: Any) -> tuple[Any, float]:
        """The result of a function, and the seconds that it took."""
        start = time.perf_counter()
        result = action(*args)
        if self.device.type != "cpu":
            torch.accelerator.synchronize()
        return result, time.perf_counter() - start
