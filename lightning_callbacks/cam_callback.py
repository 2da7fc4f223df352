"""Explain the same validation images again and again while a network trains."""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.utilities import rank_zero_warn
from pytorch_lightning.utilities.seed import isolate_rng
from torch import Tensor
from torchmetrics import MeanMetric

from captum_cams import CAMAttribution, CAMError, create, visual
from captum_cams.engine.untouched import untouched
from captum_cams.errors import check_at_least, check_choice
from captum_cams.metrics import average_drop, average_increase, curve_area, deletion_curve, insertion_curve
from captum_cams.metrics.presets import Preset, find_preset
from captum_cams.registry import canonical
from lightning_callbacks.batches import BatchFn, images_and_labels
from lightning_callbacks.network import Network, OutputFn

log = logging.getLogger("lightning_callbacks")

Method = str | CAMAttribution
METRICS = ("insertion_auc", "deletion_auc", "over_all", "average_drop", "average_increase")


@dataclass
class _Explained:
    """What one epoch's explanations leave to be logged."""

    maps: dict[str, Tensor]
    probabilities: Tensor


class CAMCallback(pl.Callback):
    """Log class activation maps and their faithfulness at every validation: ``Trainer(callbacks=[CAMCallback()])``.

    The first validation images are kept and explained again after every ``every_n_epochs`` epochs. TensorBoard
    gets one panel (a row per image, a column per method; below, true class, predicted class, probability), and
    ``cam/<method>/<metric>`` is logged for ``ModelCheckpoint`` and ``EarlyStopping`` to monitor. Works in
    ``fit``, ``validate`` and ``test``; training is the same to the bit as without it.

    Args:
        method: a name (``captum_cams.names()``), an explainer made beforehand, or a list of these. Of a name with
            brackets, ``jittercam(fdcam)``, the log makes ``jittercam.fdcam``.
        layer: dotted name of the layer to explain; None finds the last feature layer.
        num_images: how many images are explained.
        every_n_epochs: explain in every n-th epoch only.
        metrics: which of ``METRICS`` to log.
        preset: steps and replacement of the insertion and deletion curves.
        batch_fn: batch → (images, labels or None), where batches are not images or (images, labels, ...).
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
        metrics: Sequence[str] = METRICS,
        preset: str | Preset = "quick",
        batch_fn: BatchFn | None = None,
        output_fn: OutputFn | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        class_names: Sequence[str] | None = None,
        on_error: str = "warn",
    ) -> None:
        methods = [method] if isinstance(method, str | CAMAttribution) else list(method)
        self.methods = {_name(one): one for one in methods}
        if not methods or len(self.methods) < len(methods):
            raise CAMError(f"method must name each explainer once, got {[_name(one) for one in methods]}")
        check_at_least("num_images", num_images, 1)
        check_at_least("every_n_epochs", every_n_epochs, 1)
        check_choice("on_error", on_error, ("warn", "raise"))
        for metric in metrics:
            check_choice("metrics", metric, METRICS)
        if (mean is None) != (std is None):
            raise CAMError("mean and std undo the normalisation together; pass both or neither")
        self.layer, self.num_images, self.every_n_epochs = layer, num_images, every_n_epochs
        self.metrics, self.preset = tuple(metrics), find_preset(preset)
        self.batch_fn, self.output_fn = batch_fn or images_and_labels, output_fn
        self.mean, self.std, self.class_names, self.on_error = mean, std, class_names, on_error
        self._kept: dict[str, tuple[Tensor, Tensor | None]] = {}
        self._explained: _Explained | None = None
        self._means: dict[str, MeanMetric] = {}
        self._network: Network | None = None
        self._explainers: dict[str, CAMAttribution] = {}
        self._warned: set[str] = set()

    @property
    def state_key(self) -> str:
        return self._generate_state_key(methods=list(self.methods), layer=self.layer)

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if not isinstance(trainer, pl.Trainer):
            raise CAMError(
                f"CAMCallback belongs to pytorch_lightning, got a Trainer of {type(trainer).__module__}; "
                "import Trainer from pytorch_lightning"
            )

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self._network, self._explainers = None, {}

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self._see(trainer, pl_module, batch, "validation")

    def on_test_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self._see(trainer, pl_module, batch, "test")

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._finish(trainer, pl_module, "validation")

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._finish(trainer, pl_module, "test")

    def _due(self, trainer: pl.Trainer) -> bool:
        fitting = trainer.state.fn == "fit"
        return not trainer.sanity_checking and not (fitting and trainer.current_epoch % self.every_n_epochs)

    def _see(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, split: str) -> None:
        if not self._due(trainer) or self._explained is not None:
            return
        with torch.inference_mode(False):  # what is kept must outlive the mode that validate and test run in
            if not self._enough(split):
                self._guarded(self._keep, batch, split)
            if self._enough(split):
                # Not at the epoch's end, where weight-averaging callbacks have swapped the weights back.
                self._explain(trainer, pl_module, split)

    def _finish(self, trainer: pl.Trainer, pl_module: pl.LightningModule, split: str) -> None:
        if not self._due(trainer):
            return
        if self._explained is None:  # fewer validation images than wished for
            with torch.inference_mode(False):
                self._explain(trainer, pl_module, split)
        explained, self._explained = self._explained, None
        for name, mean in self._means.items():
            # Every rank computes, explained or not: the sum over ranks waits for all of them. Without any
            # explanation the value is NaN, so that a callback which monitors it finds it.
            pl_module.log(name, mean.compute(), sync_dist=True)
        self._means = {}
        if explained is not None:
            self._guarded(self._log_panel, trainer, split, explained)

    def _enough(self, split: str) -> bool:
        return split in self._kept and len(self._kept[split][0]) >= self.num_images

    def _keep(self, batch: Any, split: str) -> None:
        images, given = self.batch_fn(batch)
        images = images.detach().cpu().clone()
        labels = given.detach().cpu().clone() if isinstance(given, Tensor) and given.ndim == 1 else None
        if split in self._kept:
            before, known = self._kept[split]
            images = torch.cat([before, images])
            labels = None if labels is None or known is None else torch.cat([known, labels])
        self._kept[split] = images[: self.num_images], None if labels is None else labels[: self.num_images]

    def _explain(self, trainer: pl.Trainer, pl_module: pl.LightningModule, split: str) -> None:
        names = [f"cam/{method}/{metric}" for method in self.methods for metric in self.metrics]
        self._means = {name: MeanMetric(nan_strategy="disable").to(pl_module.device) for name in names}
        for mean in self._means.values():
            mean.update(torch.empty(0, device=pl_module.device))
        self._explained = _Explained({}, torch.empty(0))
        if split not in self._kept:
            return
        with ExitStack() as stack:
            # Callbacks run outside autocast; the network is explained as it is trained.
            stack.enter_context(isolate_rng())
            stack.enter_context(trainer.precision_plugin.forward_context())
            images = self._kept[split][0].to(pl_module.device)
            network = self._guarded(self._prepare, pl_module)
            if network is None:
                return
            probabilities = self._guarded(_probabilities, network, images)
            if probabilities is None:
                return
            self._explained.probabilities = probabilities.cpu()
            for method, explainer in self._explainers.items():
                self._guarded(self._apply, method, explainer, network, images, probabilities, method=method)

    def _prepare(self, pl_module: pl.LightningModule) -> Network:
        if self._network is None:
            self._network = Network(pl_module, self.output_fn)
        network = self._network
        layer = None if self.layer is None else f"network.{self.layer}"
        for name, method in self.methods.items():
            if name not in self._explainers:
                made = method if isinstance(method, CAMAttribution) else create(method, network, layer)
                self._explainers[name] = made
        return network

    def _apply(
        self, method: str, explainer: CAMAttribution, network: Network, images: Tensor, probabilities: Tensor
    ) -> None:
        target = probabilities.argmax(1)
        maps = explainer.attribute(images, target)
        assert self._explained is not None
        self._explained.maps[method] = maps.detach().float().cpu()
        for metric, values in self._measure(network, images, maps, target).items():
            self._means[f"cam/{method}/{metric}"].update(values)

    def _measure(self, network: Network, images: Tensor, maps: Tensor, target: Tensor) -> dict[str, Tensor]:
        areas: dict[str, Tensor] = {}
        curves: dict[str, Callable[..., Tensor]] = {
            "insertion_auc": insertion_curve,
            "deletion_auc": deletion_curve,
        }
        for name, curve in curves.items():
            if name in self.metrics or "over_all" in self.metrics:
                areas[name] = curve_area(curve(network, images, maps, target, preset=self.preset))
        if "over_all" in self.metrics:
            areas["over_all"] = areas["insertion_auc"] - areas["deletion_auc"]
        if "average_drop" in self.metrics:
            areas["average_drop"] = average_drop(network, images, maps, target)
        if "average_increase" in self.metrics:
            areas["average_increase"] = average_increase(network, images, maps, target)
        return {name: areas[name] for name in self.metrics}

    def _log_panel(self, trainer: pl.Trainer, split: str, explained: _Explained) -> None:
        boards = [logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]
        if not trainer.is_global_zero or not explained.maps or not boards:
            return
        images, labels = self._kept[split]
        captions = [self._caption(labels, i, p) for i, p in enumerate(explained.probabilities)]
        picture = visual.panel(images.float(), explained.maps, captions, mean=self.mean, std=self.std)
        # The step that Lightning gives to the scalars of the same epoch.
        step = trainer.fit_loop.epoch_loop._batches_that_stepped
        for board in boards:
            board.experiment.add_image(f"cam/{split}", np.ascontiguousarray(picture), step, dataformats="HWC")

    def _caption(self, labels: Tensor | None, i: int, probabilities: Tensor) -> str:
        true = "" if labels is None else f"true {self._class(int(labels[i]))}\n"
        best = int(probabilities.argmax())
        return f"{true}predicted {self._class(best)}, p = {probabilities[best]:.2f}"

    def _class(self, index: int) -> str:
        names: Sequence[str] | Mapping[int, str] = self.class_names or ()
        return names[index] if 0 <= index < len(names) else str(index)

    def _guarded(self, action: Callable[..., Any], *args: Any, method: str = "") -> Any:
        try:
            return action(*args)
        except Exception as error:
            if self.on_error == "raise":
                raise
            reason = f"{method or 'explanation'}: {type(error).__name__}: {error}"
            if reason not in self._warned:
                self._warned.add(reason)
                rank_zero_warn(f"CAMCallback skips this explanation and the run goes on. {reason}")
            return None


def _name(method: Method) -> str:
    if isinstance(method, CAMAttribution):
        return type(method).__name__.lower()
    # TensorBoard's tags have no brackets.
    return canonical(method).replace("(", ".").rstrip(")")


def _probabilities(network: Network, images: Tensor) -> Tensor:
    with untouched(network):
        return network(images).float().softmax(1)
