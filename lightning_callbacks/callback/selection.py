"""Which images of a data loader are explained."""

import random
from collections import Counter
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from captum_cams.engine.scores import Task
from captum_cams.errors import CAMError
from captum_cams.metrics.annotation import Annotation

CHOICES = ("first", "random", "per_class", "hardest")

Kept = tuple[Tensor, list[int], dict[int, Tensor]]
"""What a checkpoint holds of an image: itself, its classes, their regions."""


@dataclass
class Selection:
    """At most ``count`` images, gathered from the batches that pass by.

    Args:
        choose: "first"; "random", every image equally likely; "per_class", as many of each first annotated class as
            can be; "hardest", those with the largest loss of the epoch. All but "hardest" stay once they are complete.
        count: of images.
    """

    choose: str
    count: int
    images: list[Tensor] = field(default_factory=list)
    annotations: list[Annotation] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    complete: bool = False
    seen: int = 0

    def start(self) -> None:
        """Begin an epoch; what an interrupted one left is no choice."""
        if self.choose == "hardest" or not self.complete:
            self.images, self.annotations, self.losses, self.complete = [], [], [], False
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
                for held, one in (
                    (self.images, images[i].detach().cpu().clone()),
                    (self.annotations, annotation),
                    (self.losses, loss),
                ):
                    held[place:] = [one, *held[place + 1 :]]  # type: ignore[list-item]
            if self.choose == "first" and len(self.images) == self.count:
                self.complete = True

    def end(self) -> None:
        """The epoch has no more batches."""
        self.complete = self.complete or len(self.images) > 0

    def _place(self, annotation: Annotation, loss: float) -> int | None:
        """Where the image goes; None leaves it out."""
        if len(self.images) < self.count:
            return len(self.images)
        if self.choose == "random":  # reservoir sampling
            place = self._random.randrange(self.seen + 1)
            return place if place < self.count else None
        if self.choose == "hardest":
            easiest = min(range(self.count), key=self.losses.__getitem__)
            return easiest if loss > self.losses[easiest] else None
        classes = [one.classes[:1] for one in self.annotations]
        most, number = Counter(classes).most_common(1)[0]
        if classes.count(annotation.classes[:1]) + 1 >= number:
            return None
        return max(i for i, one in enumerate(classes) if one == most)

    def kept(self) -> list[Kept]:
        """The images as a checkpoint holds them."""
        pairs = zip(self.images, self.annotations, strict=True)
        return [(image, list(one.classes), dict(one.regions)) for image, one in pairs]

    def restore(self, kept: list[Kept]) -> None:
        """Go on with the images of a checkpoint."""
        self.images = [image for image, _, _ in kept]
        self.annotations = [Annotation(tuple(classes), regions) for _, classes, regions in kept]
        self.losses = [0.0] * len(kept)
        self.complete = bool(kept)


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
