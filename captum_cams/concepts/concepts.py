"""The concepts of a batch as one record, with a table and a panel."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from captum_cams.errors import CAMError, check_at_least

ClassNames = Sequence[str] | Mapping[int, str] | None


@dataclass(frozen=True, eq=False, repr=False)
class Concepts:
    """The concepts of a batch, as :func:`find_concepts` finds them; prints as a table.

    A concept is a direction in the channels of the layer. N images, K' concepts, K channels.

    Args:
        maps: N×K'×h×w, how strong each concept is at each position, 0 to 1. The largest value of a concept over the
            whole batch is 1, so a concept that is not in an image has a weak map there.
        directions: K'×K, the activation that the concept alone makes where its map is 1.
        scores: K'×classes, the scores of the model if the layer is full of the direction.
        shares: K', how much of the sum of all approximated activations each concept makes, 0 to 1, the largest first.
            Their sum is 1.
        error: ‖A − W·H‖ / ‖A‖ of the factorisation, 0 (exact) to 1.

    Example::

        concepts = cc.find_concepts(model, images, "layer4", count=3)
        approximation = torch.einsum("nkhw,kc->nchw", concepts.maps, concepts.directions)
        print(concepts.table(top=2))
        label, score = concepts.best()[0][0]  # of the concept with the largest share
        picture = concepts.panel(images)
    """

    maps: Tensor
    directions: Tensor
    scores: Tensor
    shares: Tensor
    error: float

    def table(self, class_names: ClassNames = None, top: int = 3) -> str:
        """Write one line for each concept: its share and the classes with the highest scores.

        Args:
            class_names: the names of the classes in their order, or a mapping from their numbers; None writes numbers.
            top: how many classes of each concept, at least 1.

        Returns:
            The table as text. The last line is the error.

        Raises:
            CAMError: ``top`` is not a positive integer, or a class has no name.
        """
        rows = [("concept", "share", "highest scores")]
        for number, (share, best) in enumerate(zip(self.shares.tolist(), self.best(class_names, top), strict=True), 1):
            rows.append((str(number), f"{share:.0%}", ", ".join(f"{name} {score:.2f}" for name, score in best)))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
        return "\n".join([*lines, f"error {self.error:.3f}"])

    def best(self, class_names: ClassNames = None, top: int = 3) -> list[list[tuple[str, float]]]:
        """List the classes with the highest scores for each concept, the highest first.

        Args:
            class_names: as in :meth:`table`.
            top: as in :meth:`table`.

        Returns:
            For each concept, the names of at most ``top`` classes with their scores.

        Raises:
            CAMError: as in :meth:`table`.
        """
        check_at_least("top", top, 1)
        classes = self.scores.shape[1]
        names = dict(enumerate(class_names)) if isinstance(class_names, Sequence) else class_names
        if names is not None and not names.keys() >= {*range(classes)}:
            raise CAMError(f"class_names must have a name for each of {classes} classes, got {len(names)}")
        values, indices = self.scores.topk(min(top, classes), 1)
        return [
            [(str(label) if names is None else names[label], score) for label, score in zip(*pair, strict=True)]
            for pair in zip(indices.tolist(), values.tolist(), strict=True)
        ]

    def panel(
        self,
        images: Tensor,
        class_names: ClassNames = None,
        top: int = 3,
        *,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> Any:
        """Draw the concepts over the images: a row for each image, and a legend below.

        A row shows the image, and the image in grey with the concepts in colour. A pixel has the colour of the concept
        that is strongest there. The colour covers the image as much as the map says, on one scale for the whole batch.
        The legend has the share of each concept, and the classes with the highest scores.

        Args:
            images: N×C×H×W, the images whose concepts these are.
            class_names: as in :meth:`table`.
            top: as in :meth:`table`.
            mean: as in :func:`captum_cams.visual.displayable`.
            std: as in :func:`captum_cams.visual.displayable`.

        Returns:
            The picture H×W×3 as a NumPy array, with integers from 0 to 255.

        Raises:
            CAMError: as in :meth:`table`, or the images are not N×C×H×W, as many as there are maps.
        """
        from captum_cams.concepts.panel import draw  # imports matplotlib

        best = self.best(class_names, top)
        legend = [
            f"{share:.0%}  {', '.join(name for name, _ in classes)}"
            for share, classes in zip(self.shares.tolist(), best, strict=True)
        ]
        return draw(images, self.maps, legend, mean, std)

    def __repr__(self) -> str:
        return self.table()
