"""What the callback knows of one data loader, from one explained epoch to the next."""

from typing import Any

from torch import Tensor

from captum_cams.metrics.annotation import Annotation
from lightning_callbacks.callback.drift import Drift
from lightning_callbacks.callback.explained import Explained, interleaved
from lightning_callbacks.callback.recognition import Recognition
from lightning_callbacks.callback.selection import Kept, Selection


class WatchedLoader:
    """The chosen images of one data loader, their maps of the last explained epoch, and those of this epoch.

    Args:
        choose: which images; see :class:`~lightning_callbacks.callback.selection.Selection`.
        count: how many of them, on all processes together.
        rank: of this process.
        world_size: the number of processes, each of which explains its share.
        state: what :meth:`state` gave when a checkpoint was saved; its images go on if the loader still gives them.
    """

    def __init__(
        self, choose: str, count: int, rank: int, world_size: int, state: dict[str, Any] | None = None
    ) -> None:
        self.count, self.hardest = count, choose == "hardest"
        self.selection = Selection(choose, -(-count // world_size))
        self.selection.start()
        self.kept: list[Kept] = [] if state is None else state["kept"]
        self.drift = Drift(None if state is None else state["maps"], forgets=self.hardest)
        self.explained: list[Explained] | None = None
        self.replaced = False
        """Whether the loader gives other images than those of the checkpoint."""
        self._share = self.kept[rank:count:world_size]
        self._common = False
        # Which of the images reach a process depends on the sampler; one of them is enough to know the data set.
        known = [image for image, _, _ in self.kept]
        self._recognition = Recognition(known, len(known) if world_size == 1 else 1) if known else None
        if self.hardest:
            self._recognition = None

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds: tensors and plain containers."""
        return {"kept": self.kept, "maps": self.drift.before}

    def start(self) -> None:
        """Begin an epoch."""
        self.explained = None
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
                if self._share:
                    self.selection.restore(self._share)
                self._recognition = None

    def end(self) -> None:
        """The epoch has no more batches."""
        self.selection.end()
        if self._recognition is not None and self.selection.complete:
            self._recognition, self.replaced = None, True

    def chosen(self) -> list[Kept]:
        """This process's images as a checkpoint holds them, where the other processes do not know them yet."""
        return [] if self._common and not self.hardest else self.selection.kept()

    def gather(self, parts: list[tuple[list[Explained], list[Kept]]]) -> list[Explained]:
        """Take in what all processes explained and chose; return the explained images in the order of the data set."""
        kept = interleaved([chosen for _, chosen in parts], self.count)
        if kept:
            if not self._common:
                self.drift.keep([image for image, _, _ in (*kept, *(self.kept if self.hardest else []))])
            self.kept, self._common = kept, True
        self.explained = None
        return interleaved([explained for explained, _ in parts], self.count)
