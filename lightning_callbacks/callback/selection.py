"""Which images of a data loader are explained."""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from captum_cams.engine.scores import Task
from captum_cams.errors import CAMError
from captum_cams.metrics.annotation import Annotation

Choose = Literal["first", "random", "per_class", "hardest"]
CHOICES: tuple[Choose, ...] = get_args(Choose)
SavedImage = tuple[Tensor, list[int], dict[int, Tensor]]
"""What a checkpoint holds of an image, in plain containers: itself, its classes, their boxes or masks."""


@dataclass(frozen=True)
class Sample:
    """An image C×H×W on the CPU, what its labels say, and its loss where that decides."""

    image: Tensor
    annotation: Annotation
    loss: float = 0.0

    @classmethod
    def restored(cls, saved: SavedImage) -> "Sample":
        """The image of a checkpoint."""
        image, classes, regions = saved
        return cls(image, Annotation(tuple(classes), regions))

    def saved(self) -> SavedImage:
        """The image as a checkpoint holds it."""
        return self.image, list(self.annotation.classes), dict(self.annotation.regions)


@dataclass
class Selection:
    """At most ``count`` images, gathered from the batches that pass by.

    Args:
        choose: "first"; "random", every image equally likely; "per_class", as many of each first annotated class as
            can be; "hardest", those with the largest loss of the epoch. All but "hardest" stay once they are complete.
        count: of images.
    """

    choose: Choose
    count: int
    samples: list[Sample] = field(default_factory=list)
    complete: bool = False
    seen: int = 0

    def start(self) -> None:
        """Begin an epoch; what an interrupted one left is no choice."""
        if self.choose == "hardest" or not self.complete:
            self.samples, self.complete = [], False
        self.seen = 0
        self._random = random.Random(0)

    def see(self, images: Tensor, known: list[Annotation], losses: Tensor | None) -> None:
        """Look at one batch; ``losses`` are wanted for "hardest" only."""
        for i, annotation in enumerate(known):
            if self.complete:
                return
            loss = 0.0 if losses is None else float(losses[i])
            place = self._place(annotation, loss)
            self.seen += 1
            if place is not None:
                sample = Sample(images[i].detach().cpu().clone(), annotation, loss)
                self.samples[place:] = [sample, *self.samples[place + 1 :]]
            if self.choose == "first" and len(self.samples) == self.count:
                self.complete = True

    def end(self) -> None:
        """The epoch has no more batches."""
        self.complete = self.complete or len(self.samples) > 0

    def _place(self, annotation: Annotation, loss: float) -> int | None:
        """Where the image goes; None leaves it out."""
        if len(self.samples) < self.count:
            return len(self.samples)
        if self.choose == "random":  # reservoir sampling
            place = self._random.randrange(self.seen + 1)
            return place if place < self.count else None
        if self.choose == "hardest":
            easiest = min(range(self.count), key=lambda i: self.samples[i].loss)
            return easiest if loss > self.samples[easiest].loss else None
        classes = [one.annotation.classes[:1] for one in self.samples]
        most, number = Counter(classes).most_common(1)[0]
        if classes.count(annotation.classes[:1]) + 1 >= number:
            return None
        return max(i for i, one in enumerate(classes) if one == most)

    def restore(self, samples: Sequence[Sample]) -> None:
        """Go on with the images of a checkpoint."""
        self.samples, self.complete = list(samples), bool(samples)


def first_class(one: Annotation, count: int) -> int | None:
    """The first annotated class, if there is one and it is one of ``count``."""
    return one.classes[0] if one.classes and 0 <= one.classes[0] < count else None


def losses_of(scores: Tensor, known: list[Annotation], task: Task = "multiclass") -> Tensor:
    """The loss of each image, N: the cross-entropy of its first annotated class, or of all labels if these are several.

    Where no class is known, what the network predicts stands in for it.

    Args:
        scores: N×C, as the task reads them.
        known: of the images.
        task: what the scores mean.

    Raises:
        CAMError: a regression, whose labels are no classes.
    """
    if task == "regression":
        raise CAMError('choose="hardest" needs a loss of classes, which task="regression" has not; choose others')
    scores = scores.float()
    if task == "multilabel":
        labels = (scores > 0).float()
        for row, one in zip(labels, known, strict=True):
            if one.labelled or one.classes:
                row.zero_()[[index for index in one.classes if 0 <= index < len(row)]] = 1
        return F.binary_cross_entropy_with_logits(scores, labels, reduction="none").mean(1)
    first = [first_class(one, scores.shape[1]) for one in known]
    classes = [index if one is None else one for index, one in zip(scores.argmax(1).tolist(), first, strict=True)]
    if task == "multiclass":
        return F.cross_entropy(scores, torch.tensor(classes, device=scores.device), reduction="none")
    chosen = scores[torch.arange(len(scores)), classes]
    return F.softplus(-chosen) if task == "binary" else -chosen.clamp(min=torch.finfo(chosen.dtype).tiny).log()
