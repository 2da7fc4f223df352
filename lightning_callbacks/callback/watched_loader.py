"""What the callback knows of one data loader, from one explained epoch to the next."""

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
    """What a checkpoint holds of a data loader: its images, and image → method → last map."""

    kept: list[SavedImage]
    maps: dict[str, dict[str, Tensor]]


class WatchedLoader:
    """The chosen images of one data loader, their last maps, and what was last explained.

    Args:
        choose: which images; see :class:`~lightning_callbacks.callback.selection.Selection`.
        count: how many of them, on all processes together.
        rank: of this process.
        world_size: the number of processes, each of which explains its share.
        state: what :meth:`state` gave when a checkpoint was saved; its images go on if the loader still gives them.
    """

    def __init__(
        self, choose: Choose, count: int, rank: int, world_size: int, state: LoaderState | None = None
    ) -> None:
        self.count, self.hardest = count, choose == "hardest"
        self.selection = Selection(choose, -(-count // world_size))
        self.selection.start()
        self.kept = [] if state is None else [Sample.restored(one) for one in state["kept"]]
        """The chosen images of all processes."""
        self.drift = Drift(None if state is None else state["maps"], forgets=self.hardest)
        self.share: list[Explained] | None = None
        """What this process has explained in this epoch, if its turn has come."""
        self.explained: list[Explained] = []
        """What all processes explained in the last explained epoch, in the order of the data set."""
        self.replaced = False
        """Whether the loader gives other images than those of the checkpoint."""
        self._restored = self.kept[rank:count:world_size]
        self._common = False
        # Which of the images reach a process depends on the sampler; one of them is enough to know the data set.
        known = [] if self.hardest else [one.image for one in self.kept]
        self._recognition = Recognition(known, len(known) if world_size == 1 else 1) if known else None

    def state(self) -> LoaderState:
        """What a checkpoint holds: tensors and plain containers."""
        return {"kept": [one.saved() for one in self.kept], "maps": self.drift.before}

    def start(self) -> None:
        """Begin an epoch."""
        self.share, self.explained = None, []
        self.selection.start()

    @property
    def complete(self) -> bool:
        """Whether the images of this epoch are chosen."""
        return self.selection.complete and self._recognition is None

    def see(self, images: Tensor, known: list[Annotation], losses: Tensor | None) -> None:
        """Look at one batch; ``losses`` are wanted for "hardest" only."""
        self.selection.see(images, known, losses)
        if self._recognition is not None:
            self._recognition.see(images)
            if self._recognition.done:
                if self._restored:
                    self.selection.restore(self._restored)
                self._recognition = None

    def end(self) -> None:
        """The epoch has no more batches."""
        self.selection.end()
        if self._recognition is not None and self.selection.complete:
            self._recognition, self.replaced = None, True

    def chosen(self) -> list[Sample]:
        """This process's images, where the other processes do not know them yet."""
        return [] if self._common and not self.hardest else self.selection.samples

    def gather(self, shares: Sequence[Sequence[Explained]], chosen: Sequence[Sequence[Sample]]) -> None:
        """Take in what all processes explained and chose."""
        kept = interleaved(chosen, self.count)
        if kept:
            if not self._common:
                self.drift.keep([one.image for one in (*kept, *(self.kept if self.hardest else []))])
            self.kept, self._common = kept, True
        self.share, self.explained = None, interleaved(shares, self.count)

    def compare(self) -> None:
        """Note how much each map has changed since the last explained epoch."""
        drifts = self.drift(self.explained)
        self.explained = [replace(row, drift=drift) for row, drift in zip(self.explained, drifts, strict=True)]
