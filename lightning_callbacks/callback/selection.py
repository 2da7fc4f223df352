"""Choose the images of a data loader that are explained."""

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
"""An image in a checkpoint: its pixels, its classes, and their boxes or masks."""


@dataclass(frozen=True)
class Sample:
    """An image C×H×W on the CPU with its annotation, and with its loss if the loss decides."""

    image: Tensor
    annotation: Annotation
    loss: float = 0.0

    @classmethod
    def restored(cls, saved: SavedImage) -> "Sample":
        """The sample from an image of a checkpoint."""
        image, classes, regions = saved
        return cls(image, Annotation(tuple(classes), regions))

    def saved(self) -> SavedImage:
        """The image for a checkpoint."""
        return self.image, list(self.annotation.classes), dict(self.annotation.regions)


@dataclass
class Selection:
    """Chooses at most ``count`` images from the batches of an epoch.

    Args:
        choose: "first": the first images. "random": every image has the same chance. "per_class": about the same number
            of each first annotated class. "hardest": the images with the largest loss. All except "hardest" keep the
            same images in later epochs.
        count: the number of images.
    """

    choose: Choose
    count: int
    samples: list[Sample] = field(default_factory=list)
    complete: bool = False
    seen: int = 0

    def start(self) -> None:
        """Begin an epoch; images that are left from an interrupted epoch are removed."""
        if self.choose == "hardest" or not self.complete:
            self.samples, self.complete = [], False
        self.seen = 0
        self._random = random.Random(0)

    def see(self, images: Tensor, known: list[Annotation], losses: Tensor | None) -> None:
        """Look at one batch; only "hardest" needs ``losses``."""
        for i, annotation in enumerate(known):
            if self.complete:
                return
            loss = 0.0 if losses is None else float(losses[i])
            slot = self._slot(annotation, loss)
            self.seen += 1
            if slot is not None:
                sample = Sample(images[i].detach().cpu().clone(), annotation, loss)
                self.samples[slot:] = [sample, *self.samples[slot + 1 :]]
            if self.choose == "first" and len(self.samples) == self.count:
                self.complete = True

    def end(self) -> None:
        """End the epoch."""
        self.complete = self.complete or len(self.samples) > 0

    def _slot(self, annotation: Annotation, loss: float) -> int | None:
        """The position that the image takes, or None if it is not chosen."""
        if len(self.samples) < self.count:
            return len(self.samples)
        if self.choose == "random":  # reservoir sampling
            slot = self._random.randrange(self.seen + 1)
            return slot if slot < self.count else None
        if self.choose == "hardest":
            easiest = min(range(self.count), key=lambda i: self.samples[i].loss)
            return easiest if loss > self.samples[easiest].loss else None
        classes = [sample.annotation.classes[:1] for sample in self.samples]
        most, number = Counter(classes).most_common(1)[0]
        if classes.count(annotation.classes[:1]) + 1 >= number:
            return None
        return max(i for i, first in enumerate(classes) if first == most)

    def restore(self, samples: Sequence[Sample]) -> None:
        """Continue with the images of a checkpoint."""
        self.samples, self.complete = list(samples), bool(samples)


def first_class(annotation: Annotation, count: int) -> int | None:
    """The first annotated class, or None if there is none or it is not one of ``count`` classes."""
    classes = annotation.classes
    return classes[0] if classes and 0 <= classes[0] < count else None


def losses_of(scores: Tensor, known: list[Annotation], task: Task = "multiclass") -> Tensor:
    """Compute the loss of each image, N values: the cross-entropy of its first annotated class, or of all its labels.

    If an image has no label, the predicted class is used instead.

    Args:
        scores: N×C.
        known: the annotation of each image.
        task: meaning of the scores.

    Raises:
        CAMError: the task is "regression", which has no loss of classes.
    """
    if task == "regression":
        raise CAMError(
            'choose="hardest" needs a loss of classes, got task="regression", which has none; pass choose="first"'
        )
    scores = scores.float()
    if task == "multilabel":
        labels = (scores > 0).float()
        for label, each in zip(labels, known, strict=True):
            if each.labelled or each.classes:
                label.zero_()[[index for index in each.classes if 0 <= index < len(label)]] = 1
        return F.binary_cross_entropy_with_logits(scores, labels, reduction="none").mean(1)
    first = [first_class(each, scores.shape[1]) for each in known]
    classes = [index if label is None else label for index, label in zip(scores.argmax(1).tolist(), first, strict=True)]
    if task == "multiclass":
        return F.cross_entropy(scores, torch.tensor(classes, device=scores.device), reduction="none")
    chosen = scores[torch.arange(len(scores)), classes]
    return F.softplus(-chosen) if task == "binary" else -chosen.clamp(min=torch.finfo(chosen.dtype).tiny).log()
