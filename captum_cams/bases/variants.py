"""Base class of wrappers that explain many changed versions of each image."""

from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from captum_cams.bases.attribution import CAMAttribution
from captum_cams.bases.plane import check_plane
from captum_cams.bases.wrapped import WrappedCAM
from captum_cams.engine.call import Call
from captum_cams.errors import check_at_least


class VariantsCAM(WrappedCAM):
    """The base class of wrappers that combine the maps of many changed versions of each image.

    The base applies its own ReLU to each map, so their combination needs none. Every version is explained for the class
    that is explained for the unchanged image. The versions are made chunk by chunk, which bounds the memory. A subclass
    writes :meth:`combine`.

    Args:
        base: see :class:`WrappedCAM`.
        perturbations_per_eval: the number of changed images in one call of the base, at least 1.
        show_progress: whether to show a progress bar.
        **options: see :class:`WrappedCAM`.

    Raises:
        CAMError: ``perturbations_per_eval`` is not an integer of at least 1; in a call, if the inputs are not N×C×H×W.

    Example::

        class Mirrored(cc.VariantsCAM):
            cost = cc.Cost(0, bases=1)

            def combine(self, call):
                samples = list(range(call.samples))
                return self.base.map_of(call.rows(call.inputs[0].flip(3), samples)).flip(3)

        maps = Mirrored(model, "layer4", base="gradcam").attribute(images)
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
        """Combine the maps of the base into the map of each image.

        The base explains changed images with ``self.base.map_of(call.rows(changed, samples))``.

        Args:
            call: the user's call; its target is the index that the unchanged images are explained for.

        Returns:
            The maps N×1×h×w.
        """

    def explain(self, call: Call) -> Tensor:
        check_plane(type(self).__name__, call.inputs[0])
        call.check_unmoved(type(self).__name__)
        self.find(call)
        return self.combine(call.resolved())

    def chunks(self, count: int) -> Iterator[list[int]]:
        """Split the numbers below ``count`` into chunks, and show progress if the user asked for it."""
        parts = torch.arange(count).split(self.perturbations_per_eval)
        bar = tqdm(parts, desc=type(self).__name__, leave=False, disable=not self.show_progress)
        yield from (part.tolist() for part in bar)
