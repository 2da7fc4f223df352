"""Base class of methods that score many perturbations."""

from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor, nn
from tqdm.auto import tqdm

from captum_cams.bases.spatial import SpatialCAM
from captum_cams.engine.resume import Pace
from captum_cams.errors import check_at_least


class PerturbedCAM(SpatialCAM):
    """The base class of methods that run the model on many perturbations of each image or of its activation.

    A subclass walks through its perturbations with :meth:`chunks`, so that the memory stays bounded.

    Args:
        perturbations_per_eval: the number of perturbations in one run, at least 1. The memory grows with this number
            alone. None is 64 for perturbed activations and 8 for perturbed images.
        show_progress: whether to show a progress bar.
        **options: see :class:`CAMAttribution`.

    Raises:
        CAMError: ``perturbations_per_eval`` is not an integer of at least 1.

    Example::

        scorecam = cc.ScoreCAM(model, "layer4", perturbations_per_eval=16, show_progress=True)
        assert isinstance(scorecam, cc.PerturbedCAM)
        maps = scorecam.attribute(images)
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
        """Split rows into chunks of ``perturbations_per_eval``, and show progress if the user asked for it."""
        parts = rows.split(self.perturbations_per_eval)
        return tqdm(parts, desc=type(self).__name__, leave=False, disable=not self.show_progress)
