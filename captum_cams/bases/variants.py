"""What the wrappers share that explain many changed versions of every image."""

from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from captum_cams.bases.attribution import CAMAttribution
from captum_cams.bases.wrapped import WrappedCAM
from captum_cams.engine.call import Call
from captum_cams.errors import CAMError, check_at_least, shape_of


class VariantsCAM(WrappedCAM):
    """A map put together from the base's maps of changed images; subclasses write :meth:`combine`.

    The base's maps are taken as its paper has them, with its ReLU; a sum of them has nothing left to rectify. All are
    explained for the class that the unchanged image is explained for. No image is changed before its
    chunk is run.

    Args:
        base: see :class:`WrappedCAM`.
        perturbations_per_eval: changed images in one call of the base.
        show_progress: a bar over the chunks.
        **options: see :class:`WrappedCAM`.
    """

    def __init__(
        self,
        forward_func: Callable[..., Any],
        layer: nn.Module | str | None = None,
        device_ids: list[int] | None = None,
        *,
        base: str | CAMAttribution = "gradcam",
        perturbations_per_eval: int = 8,
        show_progress: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(forward_func, layer, device_ids, base=base, **options)
        check_at_least("perturbations_per_eval", perturbations_per_eval, 1)
        self.perturbations_per_eval, self.show_progress = perturbations_per_eval, show_progress

    @abstractmethod
    def combine(self, call: Call) -> Tensor:
        """The map N×1×h×w, from ``self.base.map_of(call.rows(images, samples))`` for changed images.

        Args:
            call: the user's, its target resolved for the unchanged images.
        """

    def explain(self, call: Call) -> Tensor:
        if call.inputs[0].ndim != 4:
            got = shape_of(call.inputs[0])
            raise CAMError(f"{type(self).__name__} needs images N×C×H×W, got {got}; is the batch axis missing?")
        return self.combine(call.resolved())

    def chunks(self, count: int) -> Iterator[list[int]]:
        """``range(count)`` in lists of ``perturbations_per_eval``, under a bar if one is wished for."""
        parts = torch.arange(count).split(self.perturbations_per_eval)
        bar = tqdm(parts, desc=type(self).__name__, leave=False, disable=not self.show_progress)
        yield from (part.tolist() for part in bar)
