"""What the callback knows about one data loader."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TypedDict

from torch import Tensor

from captum_cams.metrics.annotation import Annotation
from lightning_callbacks.callback.drift import Drift
from lightning_callbacks.callback.explained import Explained, interleaved
from lightning_callbacks.callback.recognition import Recognition
from lightning_callbacks.callback.selection import Choose, Sample, SavedImage, Selection


class LoaderState(TypedDict):
    """A data loader in a checkpoint: its images, and key of an image → method → last map."""

    kept: list[SavedImage]
    maps: dict[str, dict[str, Tensor]]


class WatchedLoader:
    """The chosen images of one data loader, their last maps, and their last explanations.

    Args:
        choose: which images; see :class:`~lightning_callbacks.callback.selection.Selection`.
        count: how many images, on all processes together.
        rank: the number of this process.
        world_size: the number of processes; each explains its share of the images.
        state: the result of :meth:`state` in a checkpoint; its images are used if the loader still gives them.
    """

    def __init__(
        self, choose: Choose, count: int, rank: int, world_size: int, state: LoaderState | None = None
    ) -> None:
        self.count, self.hardest = count, choose == "hardest"
        self.selection = Selection(choose, -(-count // world_size))
        self.selection.start()
        self.kept = [] if state is None else [Sample.restored(saved) for saved in state["kept"]]
        """The chosen images of all processes."""
        self.drift = Drift(None if state is None else state["maps"], forgets=self.hardest)
        self.share: list[Explained] | None = None
        """The images that this process explained in this epoch, or None before it did."""
        self.explained: list[Explained] = []
        """The images that all processes explained in the last explained epoch, in the order of the data set."""
        self.replaced = False
        """Whether the loader gives other images than the checkpoint has."""
        self._restored = self.kept[rank:count:world_size]
        self._common = False
        # The sampler decides which images reach a process, so finding one of them must be enough.
        known = [] if self.hardest else [sample.image for sample in self.kept]
        self._recognition = Recognition(known, len(known) if world_size == 1 else 1) if known else None

    def state(self) -> LoaderState:
        """The state for a checkpoint: tensors and plain containers."""
        return {"kept": [sample.saved() for sample in self.kept], "maps": self.drift.before}

    def start(self) -> None:
        """Begin an epoch."""
        self.share, self.explained = None, []
        self.selection.start()

    @property
    def complete(self) -> bool:
        """Whether the images of this epoch are chosen."""
        return self.selection.complete and self._recognition is None

    def see(self, images: Tensor, known: list[Annotation], losses: Tensor | None) -> None:
        """Look at one batch; only "hardest" needs ``losses``."""
        self.selection.see(images, known, losses)
        if self._recognition is not None:
            self._recognition.see(images)
            if self._recognition.done:
                if self._restored:
                    self.selection.restore(self._restored)
                self._recognition = None

    def end(self) -> None:
        """End the epoch."""
        self.selection.end()
        if self._recognition is not None and self.selection.complete:
            self._recognition, self.replaced = None, True

    def chosen(self) -> list[Sample]:
        """The images of this process, as long as the other processes do not have them."""
        return [] if self._common and not self.hardest else self.selection.samples

    def gather(self, shares: Sequence[Sequence[Explained]], chosen: Sequence[Sequence[Sample]]) -> None:
        """Store the images that all processes explained and chose."""
        kept = interleaved(chosen, self.count)
        if kept:
            if not self._common:
                self.drift.keep([sample.image for sample in (*kept, *(self.kept if self.hardest else []))])
            self.kept, self._common = kept, True
        self.share, self.explained = None, interleaved(shares, self.count)

    def compare(self) -> None:
        """Compute the drift of each map since the last explained epoch."""
        drifts = self.drift(self.explained)
        self.explained = [replace(row, drift=drift) for row, drift in zip(self.explained, drifts, strict=True)]
