"""What the wrappers share that explain many changed versions of every image."""

from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from captum_cams.bases.attribution import CAMAttribution
from captum_cams.bases.wrapped import WrappedCAM
from captum_cams.engine.capture import as_tuple, rows, runner
from captum_cams.engine.functions import composed
from captum_cams.engine.inputs import check_images
from captum_cams.engine.scores import notice_probabilities, score_of, scored
from captum_cams.engine.targets import check_output, resolve_target
from captum_cams.engine.untouched import untouched, unwrap
from captum_cams.errors import CAMError, check_at_least, shape_of

Explain = Callable[[Tensor, list[int]], Tensor]


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
        base: str | CAMAttribution = "gradcam",
        layer: nn.Module | str | None = None,
        device_ids: list[int] | None = None,
        *,
        perturbations_per_eval: int = 8,
        show_progress: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(forward_func, base, layer, device_ids, **options)
        check_at_least("perturbations_per_eval", perturbations_per_eval, 1)
        self.perturbations_per_eval, self.show_progress = perturbations_per_eval, show_progress

    @abstractmethod
    def combine(self, images: Tensor, explain: Explain, score: Explain) -> Tensor:
        """The map N×1×h×w of images N×C×H×W.

        Args:
            images: N×C×H×W.
            explain: R changed images and the index of each one's sample to the base's maps, R×1×h×w.
            score: the same to probabilities (or to the scores of a target that is a function), R.
        """

    def contributions(
        self,
        inputs: Tensor | tuple[Tensor, ...],
        target: Any = None,
        additional_forward_args: Any = None,
        attribute_to_layer_input: bool = False,
    ) -> Tensor:
        with untouched(self.forward_func):
            tensors = as_tuple(inputs)
            check_images(self.forward_func, tensors[0])
            if tensors[0].ndim != 4:
                got = shape_of(tensors[0])
                raise CAMError(f"{type(self).__name__} needs images N×C×H×W, got {got}; is the batch axis missing?")
            model = unwrap(self.forward_func)
            scores = composed(model, target) if callable(target) else scored(model, self.task)
            if not callable(target):
                output = check_output(runner(scores, tensors, additional_forward_args)(), len(tensors[0]))
                target = resolve_target(target, output)
                notice_probabilities(model, output, self.task)

            def explain(images: Tensor, samples: list[int]) -> Tensor:
                given, extra = rows(tensors, additional_forward_args, images, samples)
                asked = [target[n] for n in samples] if isinstance(target, list) else target
                return self.base.attribute(given, asked, extra or None, attribute_to_layer_input)

            def score(images: Tensor, samples: list[int]) -> Tensor:
                given, extra = rows(tensors, additional_forward_args, images, samples)
                output = runner(scores, given, extra or None)()
                if not isinstance(target, list):
                    return output
                each = zip(output.split(1), samples, strict=True)
                return torch.cat([score_of(row, target[n], "probability", self.task) for row, n in each])

            return self.combine(tensors[0], explain, score)

    def chunks(self, count: int) -> Iterator[list[int]]:
        """``range(count)`` in lists of ``perturbations_per_eval``, under a bar if one is wished for."""
        parts = torch.arange(count).split(self.perturbations_per_eval)
        bar = tqdm(parts, desc=type(self).__name__, leave=False, disable=not self.show_progress)
        yield from (part.tolist() for part in bar)
