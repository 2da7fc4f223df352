"""Base class of methods that score many changed inputs or activations."""

from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor, nn
from tqdm.auto import tqdm

from captum_cams.bases.spatial import SpatialCAM
from captum_cams.engine.resume import Pace
from captum_cams.errors import check_at_least


class PerturbedCAM(SpatialCAM):
    """A method that scores many changed inputs or activations, in chunks; combined with one of the two below.

    Args:
        perturbations_per_eval: changed inputs or activations in one run; memory grows with it, and with nothing
            else. None is 64 for activations and 8 for images.
        show_progress: a bar over the chunks.
        **options: see :class:`CAMAttribution`.
    """

    def __init__(
        self,
        forward_func: Callable[..., Any],
        layer: nn.Module | str | None = None,
        device_ids: list[int] | None = None,
        *,
        perturbations_per_eval: int | None = None,
        show_progress: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(forward_func, layer, device_ids, **options)
        if perturbations_per_eval is None:
            perturbations_per_eval = 64 if self.needs_resume else 8
        check_at_least("perturbations_per_eval", perturbations_per_eval, 1)
        self.perturbations_per_eval, self.show_progress = perturbations_per_eval, show_progress

    @property
    def pace(self) -> Pace:
        return Pace(self.perturbations_per_eval, self.show_progress)

    def chunks(self, rows: Tensor) -> Iterable[Tensor]:
        """``rows`` in parts of ``perturbations_per_eval``, under a bar if one is wished for."""
        parts = rows.split(self.perturbations_per_eval)
        return tqdm(parts, desc=type(self).__name__, leave=False, disable=not self.show_progress)
