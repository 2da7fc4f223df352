"""The papers' table, methods × metrics, over a data set and on as many devices as a Trainer has."""

import hashlib
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies.launchers.multiprocessing import _MultiProcessingLauncher
from pytorch_lightning.utilities import rank_zero_only
from pytorch_lightning.utilities.seed import isolate_rng
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

import captum_cams
from captum_cams.engine.untouched import untouched
from captum_cams.errors import CAMError, check_choice, shape_of
from captum_cams.metrics import region_mask
from captum_cams.metrics.presets import find_preset
from lightning_callbacks.batches import Annotation, BatchFn, annotations, images_and_labels
from lightning_callbacks.explainers import Methods, make, named
from lightning_callbacks.fingerprints import described, of_data, of_weights
from lightning_callbacks.journal import Journal
from lightning_callbacks.measures import Case, columns, measure
from lightning_callbacks.network import Network, OutputFn
from lightning_callbacks.protocols import Protocol, find_protocol
from lightning_callbacks.rows import Rows
from lightning_callbacks.sharing import NOTHING, Batches, as_loader, drawn, indices_of, share
from lightning_callbacks.table import Table

_DEFAULT = Protocol(
    ("insertion_auc", "deletion_auc", "over_all", "average_drop", "average_increase"), preset="jittercam"
)


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
    ) -> None:
        super().__init__()
        if not isinstance(model, nn.Module):
            raise CAMError(f"the model must be an nn.Module, got {type(model).__name__}")
        check_choice("classes", protocol.classes, ("predicted", "annotated"))
        self.network, self.protocol = Network(model, output_fn), protocol
        self.explainers = {name: make(one, self.network, layer) for name, one in named(methods).items()}
        self.batch_fn, self.loader = batch_fn or images_and_labels, as_loader(data)
        indices = indices_of(self.loader)
        if protocol.images is not None or protocol.single_small_box:
            indices = drawn(indices, protocol.images, self._wanted)
        self.batches, self.finished = Batches(self.loader, indices), set[int]()
        self.columns = columns(protocol.metrics) | {"seconds": 1, "forward_seconds": 1}
        names = {module: name for name, module in self.network.network.named_modules()}
        some = {indices[0], indices[len(indices) // 2], indices[-1]}
        self.settings = {
            "methods": described(self.explainers, names),
            "protocol": described(protocol, names),
            "data": of_data([self.batch_fn(self.loader.collate_fn([self.loader.dataset[i]])) for i in sorted(some)]),
            "functions": described([batch_fn, output_fn], names),
            "batches": hashlib.sha256(repr(self.batches.parts).encode()).hexdigest(),
            "images": len(indices),
            "weights": of_weights(model),
            "captum_cams": captum_cams.__version__,
        }
        self.journal = None if out is None else Journal(Path(out))

    def setup(self, stage: str) -> None:
        steps = find_preset(self.protocol.preset).steps
        shape = len(self.explainers), 2, steps + 1
        self.rows = Rows(sum(self.columns.values()), shape).to(self.trainer.strategy.root_device)
        self.settings["precision"] = str(self.trainer.precision)
        entries: list[dict[str, Any]] = []
        if self.journal is not None and self.trainer.is_global_zero:
            self.journal.open(self.settings)
            entries = self.journal.finished()
        for entry in entries:
            places = torch.tensor(entry["places"], dtype=torch.long).view(-1, 3)
            values = torch.tensor(entry["values"]).view(-1, sum(self.columns.values()))
            self.rows.update(places, values, torch.tensor(entry["curves"]))
        self.finished = self.trainer.strategy.broadcast({entry["batch"] for entry in entries})
        if len(self.finished) == len(self.batches):
            self.on_test_epoch_end()  # Lightning leaves out an epoch without batches

    def test_dataloader(self) -> DataLoader:
        return share(self.loader, self.batches, self.finished, self.trainer.world_size, self.trainer.global_rank)

    def test_step(self, numbered: tuple[int, list[int], Any], batch_idx: int) -> None:
        number, indices, batch = numbered
        if number == NOTHING:
            return
        images, labels = self.batch_fn(batch)
        known = annotations(labels, len(images))
        with torch.inference_mode(False):
            if batch_idx == 0:
                self._predict(images)  # the first run of a device is slow
            predicted, forward = self._timed(self._predict, images)
            parts = [
                self._rows(images, [known[i] for i, _ in part], part, forward / len(images))
                for part in self._pairs(predicted, known)
            ]
            width = sum(self.columns.values())
            places = torch.cat([torch.empty(0, 3, dtype=torch.long), *(places for places, _, _ in parts)])
            values = torch.cat([torch.empty(0, width), *(values for _, values, _ in parts)])
            curves = sum((curves for _, _, curves in parts), torch.zeros(self.rows.curves.shape))
            places[:, 0] = torch.tensor(indices)[places[:, 0]]
            self.rows.update(places, values, curves)
        if self.journal is not None:
            entry = {"places": places.tolist(), "values": values.tolist(), "curves": curves.tolist()}
            self.journal.write(self.trainer.global_rank, {"batch": number} | entry)

    def on_test_epoch_end(self) -> None:
        places, values, curves = self.rows.compute()
        split = dict(zip(self.columns, values.split(list(self.columns.values()), 1), strict=True))
        count = (places[:, 2, None] == torch.arange(len(self.explainers))).sum(0)
        self.table = Table(
            tuple(self.explainers),
            tuple(self.protocol.metrics),
            places,
            {name: column if column.shape[1] > 1 else column[:, 0] for name, column in split.items()},
            curves / count[:, None, None] if curves.any() else None,
        )
        if all(self.table[name, metric].n == 0 for name in self.explainers for metric in self.protocol.metrics):
            raise CAMError(
                f"no image has what {', '.join(self.protocol.metrics)} need; pass labels with the batch, and for "
                'localisation a list of {"labels": ..., "boxes": ...}, or another protocol'
            )
        if self.journal is not None and self.trainer.is_global_zero:
            self.table.write(self.journal.folder, self.settings)

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
        images, labels = self.batch_fn(self.loader.collate_fn([self.loader.dataset[index]]))
        regions = list(annotations(labels, 1)[0].regions.values())
        single = len(regions) == 1 and len(regions[0]) == 1
        size = (images.shape[-2], images.shape[-1])
        return single and float(region_mask(regions[0], size).float().mean()) <= 0.5

    def _predict(self, images: Tensor) -> list[int]:
        with untouched(self.network):
            scores = self.network(images.clone())
        if scores.ndim != 2:
            raise CAMError(f"the model must return N×classes, got {shape_of(scores)}; pass output_fn")
        names = getattr(self.loader.dataset, "classes", None)
        if self.protocol.classes == "annotated" and names is not None and len(names) != scores.shape[1]:
            raise CAMError(
                f"the data has {len(names)} classes and the model {scores.shape[1]}, so that its indices do not name "
                "the same classes; translate them by batch_fn, or use a model of these classes"
            )
        self.classes = scores.shape[1]
        return scores.argmax(1).tolist()

    def _timed(self, action: Callable[..., Any], *args: Any) -> tuple[Any, float]:
        start = time.perf_counter()
        result = action(*args)
        if self.device.type != "cpu":
            torch.accelerator.synchronize()
        return result, time.perf_counter() - start


def evaluate(
    model: nn.Module,
    data: DataLoader | Dataset,
    methods: Methods = "gradcam",
    metrics: Sequence[str] | None = None,
    trainer: pl.Trainer | None = None,
    *,
    protocol: str | Protocol = _DEFAULT,
    layer: str | None = None,
    batch_fn: BatchFn | None = None,
    output_fn: OutputFn | None = None,
    out: str | Path | None = None,
) -> Table:
    """Explain every image of a data set by every method, measure the maps, and print and return one table.

    Each image counts once, on however many processes. The model, its device and its flags are left as they were.

    Args:
        model: images → scores N×classes; a Lightning module, or any module.
        data: a data set, or a data loader of one; what a batch may hold is said at ``images_and_labels``.
        methods: names, explainers made beforehand, or a mapping of own names to either.
        metrics: names from ``METRICS``, in place of the protocol's.
        trainer: for more devices or another precision, as ``Trainer(devices=8, strategy="ddp")``; one device otherwise.
        protocol: a paper's by name from ``PROTOCOLS``, or a :class:`Protocol`; otherwise curves of 28 steps, average
            drop and average increase, for the predicted class.
        layer: dotted name of the layer to explain; None finds the last feature layer.
        batch_fn: batch → (images, labels).
        output_fn: output of the model → scores N×classes.
        out: folder for table.md, table.csv, table.json, rows.csv, curves.png and the journal of finished batches; a
            run that was interrupted goes on where it stopped when it is started again with the same folder.

    Raises:
        CAMError: an argument does not fit, a method cannot explain this model, or ``out`` holds another evaluation.
    """
    chosen = find_protocol(protocol)
    chosen = chosen if metrics is None else replace(chosen, metrics=tuple(metrics))
    trainer = trainer or pl.Trainer(
        devices=1, logger=False, enable_checkpointing=False, enable_model_summary=False, accelerator="auto"
    )
    if isinstance(trainer.strategy.launcher, _MultiProcessingLauncher):
        raise CAMError('the processes of this strategy cannot return a table; use strategy="ddp"')
    if str(trainer.precision) in ("16-true", "bf16-true", "64-true"):
        raise CAMError(f'precision "{trainer.precision}" would change the weights; use "bf16-mixed"')
    with isolate_rng():
        evaluation = CAMEvaluation(model, data, methods, chosen, layer, batch_fn, output_fn, out)
        device = next((tensor.device for tensor in (*model.parameters(), *model.buffers())), torch.device("cpu"))
        attached = [(one, one._trainer) for one in model.modules() if isinstance(one, pl.LightningModule)]
        training, before = [(one, one.training) for one in model.modules()], trainer.lightning_module
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Total length of `DataLoader` across ranks is zero")
                trainer.test(evaluation, verbose=False)
        finally:
            model.to(device)
            for one, mode in training:
                one.training = mode
            if before is not None:
                trainer.strategy.connect(before)
            for one, owner in attached:
                one._trainer = owner
    if not hasattr(evaluation, "table"):
        raise CAMError("the trainer ran no batch; raise its limit_test_batches")
    rank_zero_only(print)(evaluation.table)
    return evaluation.table
