"""Explain a handful of images in whatever time and memory there is."""

import time
from collections.abc import Sequence
from itertools import takewhile
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from captum_cams import CAMAttribution
from captum_cams.engine.layers import dotted
from captum_cams.engine.scores import probabilities
from captum_cams.errors import brief
from captum_cams.metrics.annotation import Annotation
from captum_cams.metrics.catalogue import Case, measure
from captum_cams.metrics.protocols import Protocol
from lightning_callbacks.callback.explained import TRUE, Explained
from lightning_callbacks.callback.notices import Notices
from lightning_callbacks.callback.selection import first_class
from lightning_callbacks.memory import is_memory
from lightning_callbacks.methods import Method, check_scores, make
from lightning_callbacks.network import Network, OutputFn, doubt

_FULL = object()


class Explaining:
    """The network and the explainers of one run.

    Args:
        methods: by name.
        layer: dotted name of the layer to explain.
        output_fn: output of the network → scores.
        protocol: what is measured of the predicted class.
        true_class: whether the annotated class is explained too.
        max_seconds: for all images; fewer are explained where it does not suffice, one at least.
        notices: where failures and doubts go.
    """

    def __init__(
        self,
        methods: dict[str, Method],
        layer: str | None,
        output_fn: OutputFn | None,
        protocol: Protocol,
        true_class: bool,
        max_seconds: float | None,
        notices: Notices,
    ) -> None:
        self.methods, self.layer, self.output_fn, self.protocol = methods, layer, output_fn, protocol
        self.true_class, self.max_seconds, self.notices = true_class, max_seconds, notices
        self.network: Network | None = None
        self.explainers: dict[str, CAMAttribution] = {}
        self.chunk, self.perturbations, self.seconds_per_image = 2**31, 8, 0.0
        self.hopeless = False  # not even one image and one run at once fit into memory

    def scores(self, pl_module: pl.LightningModule, images: Tensor) -> Tensor:
        """What the network says, read for the task, in evaluation mode and without a trace."""
        return self.prepared(pl_module).scores(images, self.protocol.task)

    def explain(
        self, pl_module: pl.LightningModule, images: Sequence[Tensor], known: Sequence[Annotation], spent: float = 0.0
    ) -> list[Explained]:
        """As many of the images as the time allows, in their order; ``spent`` seconds of it are over."""
        self.prepared(pl_module)
        start, done = time.perf_counter(), list[Explained]()
        while len(done) < len(images):
            alike = (image.shape == images[len(done)].shape for image in images[len(done) :])
            same = sum(1 for _ in takewhile(bool, alike))
            size = min(same, self.chunk, self._affordable(spent + time.perf_counter() - start, len(done)))
            if size < 1:
                break
            part = slice(len(done), len(done) + size)
            try:
                rows = self._part(torch.stack(list(images[part])).to(pl_module.device), known[part])
            except RuntimeError as error:
                if not is_memory(error) or self.hopeless:
                    raise
                rows = None
            if rows is None:  # outside of the block, whose error would keep the tensors of the failed attempt
                self.hopeless = not self._halved(size)
                continue
            done += rows
            self.seconds_per_image = (time.perf_counter() - start) / len(done)
        return done

    def prepared(self, pl_module: pl.LightningModule) -> Network:
        """The network of this module, found once a run."""
        if self.network is None:
            self.network = Network(pl_module, self.output_fn)
        return self.network

    def _affordable(self, spent: float, done: int) -> int:
        if self.max_seconds is None:
            return 2**31
        if self.seconds_per_image == 0:
            return 1  # the first one tells
        fits = int((self.max_seconds - spent) / self.seconds_per_image)
        return max(fits, 1 - done)

    def _halved(self, size: int) -> bool:
        """Less at once the next time: fewer images, then fewer changed ones in a run."""
        if torch.accelerator.is_available():
            torch.accelerator.empty_cache()
        if size > 1:
            self.chunk = size // 2
            return True
        sizes = [getattr(one, "perturbations_per_eval", 1) for one in self.explainers.values()]
        if max([self.perturbations, *sizes]) == 1:
            return False
        self.perturbations = max(1, self.perturbations // 2)
        for explainer, before in zip(self.explainers.values(), sizes, strict=True):
            if before > 1:
                explainer.perturbations_per_eval = before // 2
        return True

    def _part(self, images: Tensor, known: Sequence[Annotation]) -> list[Explained] | None:
        """One row an image, or None where less at once may help."""
        assert self.network is not None
        scores = self.network.scores(images, self.protocol.task).float()
        if self.protocol.task == "multiclass":
            self.notices.doubt(doubt(scores))
        chances = probabilities(scores, self.protocol.task)
        predicted = scores.argmax(1).tolist()  # probabilities near one may be equal
        rows = [
            Explained(image, one, index, p, {}, {}, {})
            for image, one, index, p in zip(images.cpu(), known, predicted, chances.cpu(), strict=True)
        ]
        true = [first_class(one, scores.shape[1]) for one in known] if self.true_class else []
        self.notices.doubt(_no_such_class(true, known, scores.shape[1]))
        for name in self.methods:
            done = self.notices.guarded(self._attempt, name, images, known, predicted, true, method=name)
            if done is _FULL:
                return None
            if done is None:
                self.explainers.pop(name, None)  # made anew the next time: a layer may have been replaced
                continue
            maps, others, values, curves = done
            for i, row in enumerate(rows):
                row.maps[name] = maps[i]
                row.values[name] = {column: of[i] for column, of in values.items()}
                if i in others:
                    row.maps[name + TRUE] = others[i]
                if curves is not None:
                    row.curves[name] = curves[i]
        return rows

    def _attempt(self, *args: Any) -> Any:
        """What :meth:`_apply` returns, or that there is no memory for it where less at once may help."""
        try:
            return self._apply(*args)
        except RuntimeError as error:
            if is_memory(error) and not self.hopeless:
                return _FULL
            raise

    def _apply(
        self, name: str, images: Tensor, known: Sequence[Annotation], predicted: list[int], true: list[int | None]
    ) -> tuple[Tensor, dict[int, Tensor], dict[str, Tensor], Tensor | None]:
        assert self.network is not None
        if name not in self.explainers:
            made = make(self.methods[name], self.network, self.layer, self.protocol.task)
            check_scores([made], self.network, images, self.protocol.task)
            self.explainers[name] = made
        explain = self.explainers[name].attribute
        maps = explain(images, predicted)
        places = [i for i, index in enumerate(true) if index is not None]
        shown = explain(images[places], [true[i] for i in places]).detach().float().cpu() if places else ()
        case = Case(self.network, images, predicted, maps, known, explain, self.protocol, self.perturbations)
        values, curves = measure(case, self.protocol.metrics)
        plain = {column: of.detach().float().cpu() for column, of in values.items()}
        others = dict(zip(places, shown, strict=True))
        return maps.detach().float().cpu(), others, plain, None if curves is None else curves.float().cpu()

    def descriptions(self) -> dict[str, str]:
        """Layer and options of each method that was run, as cells of a Markdown table."""
        cells = {}
        for name, explainer in self.explainers.items():
            said = ", ".join(f"{key} = {value}" for key, value in explainer.hyperparameters.items())
            layer = str(dotted(explainer.forward_func, explainer.layer) or "").removeprefix("network.")
            cells[name] = f"{layer} | {said}"
        return cells

    def card(self) -> str:
        """What is run, as Markdown: method, layer, options, forward passes, and seconds an image of all together."""
        lines = ["| method | layer | options | forward passes |", "|---|---|---|---|"]
        costs = {name: explainer.total_cost for name, explainer in self.explainers.items()}
        lines += [f"| {name} | {said} | {costs[name]} |" for name, said in self.descriptions().items()]
        return "\n".join([*lines, "", f"{self.seconds_per_image:.3g} s an image, maps and metrics."])


def _no_such_class(true: Sequence[int | None], known: Sequence[Annotation], count: int) -> str | None:
    """That annotated classes cannot be explained, or None."""
    first = [one.classes[0] for index, one in zip(true, known, strict=False) if index is None and one.classes]
    wrong = sorted({index for index in first if index >= 0})  # a label below zero says that there is none
    if not wrong:
        return None
    return (
        f"true_class explains labels from 0 to {count - 1}, and leaves out {brief(wrong)}; translate them by batch_fn"
    )
