"""Explain a few images within the available time and memory."""

import time
from collections.abc import Iterator, Sequence
from itertools import groupby

import pytorch_lightning as pl
import torch
from torch import Tensor

from captum_cams import CAMAttribution
from captum_cams.engine.layers import dotted
from captum_cams.engine.scores import probabilities
from captum_cams.errors import brief
from captum_cams.metrics.case import Case
from captum_cams.metrics.catalogue import measure
from captum_cams.metrics.protocols import Protocol
from lightning_callbacks.callback.explained import Explained, Failure, Outcome
from lightning_callbacks.callback.selection import Sample, first_class
from lightning_callbacks.memory import free, is_memory, lighter, run_size
from lightning_callbacks.methods import Method, check_scores, make
from lightning_callbacks.network import Network, OutputFn, doubt

_NO_LIMIT = 2**31


class ImageExplainer:
    """The network and the explainers of one run.

    If memory runs out, it explains fewer images at once, and then runs fewer changed images at once. It does this in
    copies, so the explainers of the user do not change.

    Args:
        methods: the methods by name.
        layer: dotted name of the layer to explain.
        output_fn: function from the output of the network to scores.
        protocol: what is measured for the predicted class.
        true_class: whether the annotated class is explained too.
        max_seconds: time for all images; if it is too short, fewer images are explained, but at least one.
    """

    def __init__(
        self,
        methods: dict[str, Method],
        layer: str | None,
        output_fn: OutputFn | None,
        protocol: Protocol,
        true_class: bool = False,
        max_seconds: float | None = None,
    ) -> None:
        self.methods, self.layer, self.output_fn, self.protocol = methods, layer, output_fn, protocol
        self.true_class, self.max_seconds = true_class, max_seconds
        self.network: Network | None = None
        self.explainers: dict[str, CAMAttribution] = {}
        self._copies: dict[str, CAMAttribution] = {}  # which run less at once, and remember the layer that they found
        self.images_at_once, self.divisor, self.seconds_per_image = _NO_LIMIT, 1, 0.0

    def prepared(self, pl_module: pl.LightningModule) -> Network:
        """The network of this module, which is searched once in each run."""
        if self.network is None:
            self.network = Network(pl_module, self.output_fn)
        return self.network

    def leave(self) -> None:
        """Forget the network and the explainers."""
        self.network, self.explainers, self._copies = None, {}, {}

    def explain(
        self, pl_module: pl.LightningModule, samples: Sequence[Sample], spent: float = 0.0
    ) -> Iterator[Outcome]:
        """Explain the images in order and in parts, as many as time allows; ``spent`` seconds are already used."""
        start, done = time.perf_counter(), 0
        while done < len(samples):
            left = samples[done:]
            _, alike = next(groupby(left, lambda sample: sample.image.shape))
            affordable = self._affordable(spent + time.perf_counter() - start, done)
            size = min(len(list(alike)), self.images_at_once, affordable)
            if size < 1:
                return
            part = self._part(pl_module, left[:size])
            if any(self._may_help(failure, size) for failure in part.failures):
                del part  # its errors keep the tensors of the failed attempt
                self._lighten(size)
                continue
            for name in {failure.method for failure in part.failures if failure.method is not None}:
                for known in (self.explainers, self._copies):
                    known.pop(name, None)  # made again next time, because a layer may have been replaced
            if part.rows:
                done += len(part.rows)
                self.seconds_per_image = (time.perf_counter() - start) / done
            else:
                done = len(samples)  # the network itself failed
            yield part
            del part

    def descriptions(self) -> dict[str, str]:
        """The layer and the options of each method, as cells of a Markdown table."""
        cells = {}
        for name, explainer in self.explainers.items():
            said = ", ".join(f"{key} = {value}" for key, value in explainer.hyperparameters.items())
            found = self._copies.get(name, explainer).layer
            layer = str(dotted(explainer.forward_func, found) or "").removeprefix("network.")
            cells[name] = f"{layer} | {said}"
        return cells

    def card(self) -> str:
        """A Markdown table of the methods with layer, options and forward passes, and the seconds per image."""
        lines = ["| method | layer | options | forward passes |", "|---|---|---|---|"]
        costs = {name: explainer.total_cost for name, explainer in self.explainers.items()}
        lines += [f"| {name} | {said} | {costs[name]} |" for name, said in self.descriptions().items()]
        return "\n".join([*lines, "", f"{self.seconds_per_image:.3g} s per image for all maps and metrics."])

    def _affordable(self, spent: float, done: int) -> int:
        """How many more images the time allows."""
        if self.max_seconds is None:
            return _NO_LIMIT
        if self.seconds_per_image == 0:
            return 1  # the first image shows how long an image takes
        fits = int((self.max_seconds - spent) / self.seconds_per_image)
        return max(fits, 1 - done)

    def _may_help(self, failure: Failure, size: int) -> bool:
        """Whether memory ran out and fewer images, or fewer changed images, can be run at once."""
        runs = [Case.perturbations_per_eval, *map(run_size, self.explainers.values())]
        return is_memory(failure.error) and max(size, max(runs) // self.divisor) > 1

    def _lighten(self, size: int) -> None:
        """Run less at once next time: fewer images, and then fewer changed images."""
        if torch.accelerator.is_available():
            torch.accelerator.empty_cache()
        if size > 1:
            self.images_at_once = size // 2
        else:
            self.divisor, self._copies = self.divisor * 2, {}

    def _part(self, pl_module: pl.LightningModule, samples: Sequence[Sample]) -> Outcome:
        """Explain a few images of one size together."""
        try:
            network = self.prepared(pl_module)
            images = torch.stack([sample.image for sample in samples]).to(pl_module.device)
            scores = network.scores(images, self.protocol.task).float()
            probability = probabilities(scores, self.protocol.task).cpu()
        except Exception as error:
            return Outcome(failures=[Failure(error)])
        predicted = scores.argmax(1).tolist()  # not of the probabilities: several may round to 1
        count = scores.shape[1]
        true = [first_class(sample.annotation, count) if self.true_class else None for sample in samples]
        known = zip(samples, predicted, probability, strict=True)
        outcome = Outcome([Explained(sample.image, sample.annotation, index, p) for sample, index, p in known])
        doubts = [
            doubt(scores) if self.protocol.task == "multiclass" else None,
            _no_such_class(samples, count) if self.true_class else None,
        ]
        outcome.doubts.extend(text for text in doubts if text is not None)
        for name in self.methods:
            failure = self._attempt(name, network, images, outcome.rows, true)
            if failure is not None:
                outcome.failures.append(failure)
                if self._may_help(failure, len(samples)):
                    break  # all methods are run again with less
        return outcome

    def _attempt(
        self, name: str, network: Network, images: Tensor, rows: Sequence[Explained], true: Sequence[int | None]
    ) -> Failure | None:
        """The failure of one method, or None if it worked."""
        # This is a method of its own, because an error in the frame of the caller would keep all tensors alive.
        try:
            self._apply(name, network, images, rows, true)
        except Exception as error:
            if is_memory(error):
                free(error)  # the next method needs that memory
            return Failure(error, name)
        return None

    def _apply(
        self, name: str, network: Network, images: Tensor, rows: Sequence[Explained], true: Sequence[int | None]
    ) -> None:
        """Add the maps and values of one method to the rows, after all of them were computed."""
        if name not in self.explainers:
            made = make(self.methods[name], network, self.layer, self.protocol.task)
            check_scores([made], network, images, self.protocol.task)
            self.explainers[name] = made
        explainer = self.explainers[name]
        if self.divisor > 1:
            explainer = self._copies[name] = self._copies.get(name) or lighter(explainer, self.divisor)
        predicted, known = [row.predicted for row in rows], [row.annotation for row in rows]
        maps = explainer.attribute(images, predicted)
        labelled = [i for i, index in enumerate(true) if index is not None]
        others = explainer.attribute(images[labelled], [true[i] for i in labelled]) if labelled else maps[:0]
        perturbations = max(1, Case.perturbations_per_eval // self.divisor)
        case = Case(network, images, predicted, maps, known, explainer.attribute, self.protocol, perturbations)
        values, curves = measure(case, self.protocol.metrics)
        plain_maps, plain_others = _plain(maps), dict(zip(labelled, _plain(others), strict=True))
        plain_curves = None if curves is None else _plain(curves)
        for i, row in enumerate(rows):
            row.maps[name] = {"predicted": plain_maps[i]}
            if i in plain_others:
                row.maps[name]["true"] = plain_others[i]
            row.values[name] = {metric: of[i] for metric, of in values.items()}
            if plain_curves is not None:
                row.curves[name] = plain_curves[i]


def _plain(tensor: Tensor) -> Tensor:
    """The tensor as float32 on the CPU, without gradient."""
    return tensor.detach().float().cpu()


def _no_such_class(samples: Sequence[Sample], count: int) -> str | None:
    """A warning if labels are not classes of the model, or None."""
    first = [sample.annotation.classes[0] for sample in samples if sample.annotation.classes]
    wrong = sorted({index for index in first if index >= count})  # a negative label means that there is no label
    if not wrong:
        return None
    return f"true_class needs labels from 0 to {count - 1}, and leaves out {brief(wrong)}; translate them with batch_fn"
