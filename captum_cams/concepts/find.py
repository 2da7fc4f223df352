"""Find the concepts of a batch: deep feature factorisation."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from captum_cams.argument_names import names_checked
from captum_cams.concepts.concepts import Concepts
from captum_cams.concepts.factorisation import factorise, solver
from captum_cams.engine.call import Call
from captum_cams.engine.capture import Needs, Seen, capture
from captum_cams.engine.inputs import recipes
from captum_cams.engine.layers import Place, describe, named_layer
from captum_cams.engine.resume import Pace
from captum_cams.engine.same_output import bound, same
from captum_cams.engine.scores import Task, check_task
from captum_cams.engine.search import find_layer
from captum_cams.engine.targets import wide
from captum_cams.engine.untouched import untouched
from captum_cams.errors import CAMError, check_at_least, shape_of

_FOREIGN = {
    "n_components": "here it is called count",
    "random_state": "here it is called seed",
    "target_layer": "here it is called layer",
    "input_tensor": "here it is called images",
}


@names_checked(_FOREIGN)
def find_concepts(
    model: Callable[..., Any],
    images: Tensor | tuple[Tensor, ...],
    layer: nn.Module | str | None = None,
    *,
    count: int = 5,
    seed: int = 0,
    max_iter: int = 1000,
    additional_forward_args: Any = None,
    task: Task = "multiclass",
) -> Concepts:
    """Find the few patterns of channels that the activations of a batch are made of, and where each of them is.

    Collins et al. 2018 (deep feature factorization): the activations of all positions of all images are the rows of one
    matrix A, which is factorised as A ≈ W·H without negative values. A row of H is the direction of a concept in the
    channels, and a column of W says how strong the concept is at each position, so one concept is the same in all
    images. The factorisation leaves the scale of each concept open: here the largest value of each map over the batch
    is 1. The concept with the largest share of W·H comes first.

    The scores of a concept are those of the layers after the explained one, if the layer is full of the direction: the
    concept is everywhere, as strong as where it is strongest in the batch, and nothing else is there. If pooling by
    the average and one linear layer follow, these are the scores of the linear layer for the direction.

    The solver is scikit-learn's ``NMF``. It begins with random numbers and may end in a local minimum, so another seed
    may find other concepts; of several seeds, keep the one with the smallest error. scikit-learn is an extra:
    ``pip install "captum-cams[concepts]"``. The model is left as it was.

    pytorch-grad-cam's ``DeepFeatureFactorization`` first subtracts from each channel its minimum over the batch, and
    adds it to every direction. It also factorises the transpose of A, which has the same solutions from another start.
    Here nothing is subtracted, so A and directions are both activations that the layers after it can read.

    Args:
        model: as ``forward_func`` of :class:`CAMAttribution`.
        images: as ``inputs`` of :meth:`CAMAttribution.attribute`. A concept needs to be seen in several images to be
            told apart, so pass many.
        layer: as in :class:`CAMAttribution`. Its output must be 0 or greater, as after a ReLU.
        count: K', the number of concepts, at least 1, and at most the number of channels and of positions.
        seed: of the random numbers with which the solver begins.
        max_iter: the largest number of steps of the solver; scikit-learn warns if they are not enough.
        additional_forward_args: as in :meth:`CAMAttribution.attribute`.
        task: as in :class:`CAMAttribution`; it says what the scores are.

    Returns:
        The concepts: maps N×K'×h×w, directions K'×K, scores K'×classes, shares, and the error.

    Raises:
        CAMError: scikit-learn is not installed; the layer is not found, or has no map; activations are negative, or
            all of them are zero; ``count`` is too large; the model does not give one row of scores for each image; or
            the scores also depend on something beside the layer, such as a skip connection around it.

    Example::

        concepts = cc.find_concepts(model, images, "layer4", count=3)
        print(concepts.table())
        assert concepts.maps.shape[:2] == (2, 3)
    """
    check_at_least("count", count, 1)
    check_at_least("max_iter", max_iter, 1)
    check_at_least("seed", seed, 0)
    check_task(task)
    solver()
    module = None if layer is None else named_layer(model, layer)
    with recipes(model, images, additional_forward_args), untouched(model) as modules:
        call = Call.of(model, images, None, additional_forward_args, task=task, modules=modules)
        _check_scores(call.output())
        place = find_layer(call) if module is None else Place(module)
        seen = capture(call, place, Needs(resume=Pace()))
        _check(seen, count)
        positions = seen.activation.movedim(1, -1)
        left, right, error = factorise(positions.flatten(0, -2), count, seed, max_iter)
        strongest, total = left.amax(0), left.sum(0) * right.sum(1)
        if not total.all():
            raise CAMError(
                f"count must be the number of concepts that the activations are made of, got {count}, of which "
                f"{int((total == 0).sum())} are zero everywhere; pass count={max(int((total > 0).sum()), 1)}"
            )
        order = total.argsort(descending=True)
        maps = (left / strongest)[:, order].unflatten(0, positions.shape[:-1]).movedim(-1, 1).contiguous()
        directions = (right * strongest[:, None])[order]
        return Concepts(maps, directions, _scores(seen, directions), (total / total.sum())[order], error)


def _check_scores(output: Tensor) -> None:
    """Raise unless the scores are one row for each image."""
    if output.ndim != 2:
        raise CAMError(
            f"the scores must be N×classes, got {shape_of(output)}; pass task= a function of the output that gives "
            "them, such as the mean over the pixels"
        )


def _check(seen: Seen, count: int) -> None:
    """Raise unless the activations can be factorised into so many concepts."""
    activation, name = seen.activation, describe(seen.call.network, seen.place.layer)
    if activation.amin() < 0:
        raise CAMError(
            f"the activations of layer {name} must be 0 or greater, as after a ReLU, got {float(activation.amin()):.3g}"
            "; pass the layer of a ReLU, or a block that ends with one. Networks whose activations have both signs, "
            "such as transformers after a LayerNorm, have no non-negative factorisation"
        )
    if not activation.any():
        raise CAMError(f"the activations of layer {name} must not all be zero, got only zeros; pass another layer")
    channels = activation.shape[1]
    most = min(channels, activation.numel() // channels)
    if count > most:
        raise CAMError(
            f"count must be at most {most} for activations {shape_of(activation)}, the smaller number of channels and "
            f"of positions in the batch, got {count}; pass a smaller count or more images"
        )


def _scores(seen: Seen, directions: Tensor) -> Tensor:
    """The scores K'×classes of the layer full of each direction, if they are the same for every sample."""
    size = seen.activation.shape[2:]
    full = directions.reshape(*directions.shape, *[1] * len(size)).expand(*directions.shape, *size)
    # Equal images prove nothing about what goes around the layer, so an image that is mirrored and brighter is added.
    first = seen.inputs[0][:1]
    other = capture(seen.call.rows(first.flip(-1) + 1, [0]), seen.place, Needs(resume=Pace()))
    samples = [(seen, sample) for sample in range(len(seen.output))]
    scores, *others = (wide(run.resume(full, sample)) for run, sample in [*samples, (other, 0)])
    within = bound(scores, seen.output.dtype in (torch.float16, torch.bfloat16))
    if not all(same(found, scores, within) for found in others):
        raise CAMError(
            "the scores of a concept must depend on the layer alone, got other scores for the same activations in "
            f"another image, because something goes around layer {describe(seen.call.network, seen.place.layer)}, such "
            "as a skip connection or a class token; pass a layer through which everything passes: "
            "captum_cams.layers(model, images) lists them"
        )
    return scores
