"""Sanity checks as pure functions: does the map change with the weights of the model, and with the class?

Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018. A map that stays as it is when the model loses what it
has learned does not explain the model.
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from captum_cams.engine.generators import generator_of
from captum_cams.engine.reinitialise import from_the_top, reinitialise
from captum_cams.engine.scores import Task
from captum_cams.engine.trace import running
from captum_cams.engine.untouched import module_of, untouched, unwrap
from captum_cams.errors import CAMError, brief, check_choice, shape_of
from captum_cams.metrics.functional.adcc import Explain, check_same_task
from captum_cams.metrics.functional.scoring import Forward, check_maps, check_model, classes_of, scores_for
from captum_cams.metrics.functional.similarity import Similarity, check_similarity, similarity_of_maps

Order = Literal["cascading", "independent"]
"""Whether the layers above stay re-initialised, or only one layer at a time is; see :func:`randomisation_curve`."""


def randomisation(
    forward_func: Forward,
    inputs: Tensor,
    maps: Tensor,
    target: Any = None,
    *,
    explain: Explain,
    similarity: Similarity = "spearman",
    seed: int = 0,
    task: Task = "multiclass",
) -> Tensor:
    """Measure how similar the map stays while the layers of the model lose what they have learned, from the top down.

    Adebayo et al., NeurIPS 2018, cascading randomisation. The value is the mean similarity of the map to the maps
    after re-initialising the last layer, the last quarter, the last half, and all of the layers with parameters.
    :func:`randomisation_curve` gives the value for each layer, and says how layers are re-initialised.

    Args:
        forward_func: the model, a module. A deep copy of it is re-initialised; the model itself does not change.
        inputs: images, N×C×H×W.
        maps: explanations of the images as ``explain`` gives them, N×1×h×w or N×h×w.
        target: the explained classes in any form that Captum accepts; None means the predicted class of each image.
        explain: the ``attribute`` method of the explainer that made the maps. It is copied together with the model.
        similarity: how the maps are compared; see :data:`Similarity`.
        seed: another seed gives other weights; it does not depend on the batch.
        task: meaning of the model's output; see :data:`captum_cams.engine.scores.Task`.

    Returns:
        N values, −1 to 1, lower is better: 1 for a map that does not depend on the weights.

    Raises:
        CAMError: the model is a plain function, it or the explainer cannot be copied, ``explain`` runs the model itself
            instead of its copy, the explainer has another task, or an argument does not fit.

    Example::

        cam = cc.GradCAM(model)
        maps = cam.attribute(images, labels)
        print(metrics.randomisation(model, images, maps, labels, explain=cam.attribute))
    """

    def stages(count: int) -> Sequence[int]:
        return sorted({1, -(-count // 4), -(-count // 2), count})

    return _compared(forward_func, inputs, maps, target, explain, stages, "cascading", similarity, seed, task)[1].mean(
        1
    )


def randomisation_curve(
    forward_func: Forward,
    inputs: Tensor,
    maps: Tensor,
    target: Any = None,
    *,
    explain: Explain,
    order: Order = "cascading",
    similarity: Similarity = "spearman",
    seed: int = 0,
    task: Task = "multiclass",
) -> tuple[list[str], Tensor]:
    """Measure how similar the map stays after each layer of the model is re-initialised, from the top down.

    Adebayo et al., NeurIPS 2018, cascading and independent randomisation. Layers are the modules that have parameters
    of their own; the one that begins last in a run is the first. A layer is re-initialised by its own
    ``reset_parameters``. A parameter that this does not change is drawn from a normal distribution with its mean and
    its standard deviation, so that a constant one stays.

    Args:
        forward_func: the model, as for :func:`randomisation`.
        inputs: images, N×C×H×W.
        maps: explanations of the images as ``explain`` gives them.
        target: the explained classes; None means the predicted class of each image.
        explain: the ``attribute`` method of the explainer that made the maps.
        order: "cascading" re-initialises a layer and all layers above it, and "independent" this layer alone.
        similarity: as for :func:`randomisation`.
        seed: as for :func:`randomisation`. A layer gets the same new weights in both orders.
        task: meaning of the model's output.

    Returns:
        The names of L layers, and their similarities N×L.

    Raises:
        CAMError: in the same cases as :func:`randomisation`, or the order is unknown.

    Example::

        cam = cc.GradCAM(model)
        maps = cam.attribute(images, labels)
        layers, similar = metrics.randomisation_curve(model, images, maps, labels, explain=cam.attribute)
        print(dict(zip(layers, similar.mean(0).tolist())))
    """
    check_choice("order", order, get_args(Order))

    def stages(count: int) -> Sequence[int]:
        return range(1, count + 1)

    return _compared(forward_func, inputs, maps, target, explain, stages, order, similarity, seed, task)


def random_logit(
    forward_func: Forward,
    inputs: Tensor,
    maps: Tensor,
    target: Any = None,
    *,
    explain: Explain,
    similarity: Similarity = "spearman",
    seed: int = 0,
    task: Task = "multiclass",
) -> Tensor:
    """Measure how similar the map of a class is to the map of another class, which is drawn at random.

    Sixt et al., "When Explanations Lie", ICML 2020, random logit test.

    Args:
        forward_func: the model; its state does not change.
        inputs: images, N×C×H×W.
        maps: explanations of the images as ``explain`` gives them.
        target: the explained classes; None means the predicted class of each image.
        explain: the ``attribute`` method of the explainer that made the maps.
        similarity: how the maps are compared; see :data:`Similarity`.
        seed: another seed gives other classes. The other class depends only on the seed and on the explained class.
        task: meaning of the model's output.

    Returns:
        N values, −1 to 1, lower is better: 1 for a map that does not depend on the class.

    Raises:
        CAMError: an argument does not fit, the explainer has another task, or the model has only one output.

    Example::

        cam = cc.GradCAM(model)
        maps = cam.attribute(images, labels)
        print(metrics.random_logit(model, images, maps, labels, explain=cam.attribute))
    """
    check_model(forward_func)
    check_same_task(explain, task)
    check_similarity(similarity)
    maps = check_maps(inputs, maps)
    with untouched(forward_func):
        scores = scores_for(forward_func, inputs.detach().clone(), task).view(len(inputs), -1)
    classes, count = classes_of(target, scores).tolist(), scores.shape[1]
    if count < 2:
        raise CAMError(
            "random_logit needs a model with at least two outputs, because it compares the map of one with the map of "
            "another, got one output; take randomisation, which has no need of other classes"
        )
    steps = [int(torch.randint(1, count, (), generator=generator_of(seed, index))) for index in classes]
    others = [(index + step) % count for index, step in zip(classes, steps, strict=True)]
    return similarity_of_maps(maps, _of_same_size(maps, inputs, explain(inputs, others)), similarity)


def _compared(
    forward_func: Forward,
    inputs: Tensor,
    maps: Tensor,
    target: Any,
    explain: Explain,
    stages: Callable[[int], Sequence[int]],
    order: Order,
    similarity: Similarity,
    seed: int,
    task: Task,
) -> tuple[list[str], Tensor]:
    """The names of the lowest layers at each stage, and the similarities N×stages.

    ``stages`` says for a number of layers how many of them, from the top, are re-initialised at each stage.
    """
    check_model(forward_func)
    check_same_task(explain, task)
    check_similarity(similarity)
    maps = check_maps(inputs, maps)
    with untouched(forward_func):
        scores = scores_for(forward_func, inputs.detach().clone(), task).view(len(inputs), -1)
        classes = classes_of(target, scores).tolist()
        network, model, explained = _copy(forward_func, explain)
        _check_apart(forward_func, explained, maps, inputs, classes)
        with untouched(network):
            layers = from_the_top(model, lambda: network(inputs[:1].detach().clone()))
        if not layers:
            raise CAMError("the model must have parameters that can be re-initialised, got a model without any")
        names, done, found = list(layers), 0, list[Tensor]()
        kept = deepcopy(model.state_dict()) if order == "independent" else None
        for stop in stages(len(names)):
            for number in range(done, stop):
                reinitialise(layers[names[number]], generator_of(seed, number).initial_seed())
            try:
                new = _of_same_size(maps, inputs, explained(inputs, classes))
            except CAMError as error:
                raise CAMError(
                    f"after layers from the top to {names[stop - 1]!r} were re-initialised: {error}"
                ) from error
            found.append(similarity_of_maps(maps, new, similarity))
            done = stop
            if kept is not None:
                model.load_state_dict(kept)
    return [names[stop - 1] for stop in stages(len(names))], torch.stack(found, 1)


def _copy(forward_func: Forward, explain: Explain) -> tuple[Forward, nn.Module, Explain]:
    """Copies of the model, alone and as a module, and of the function that explains it; they share no parameters."""
    original = module_of(forward_func)
    if original is None:
        raise CAMError(
            f"the model must be a module, whose layers can be re-initialised, got {brief(forward_func)}; pass the "
            "torch.nn.Module"
        )
    try:
        explained, network = deepcopy((explain, unwrap(forward_func)))
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        raise CAMError(
            "the model and its explainer must be copied, so that the layers of the copy can be re-initialised, but "
            f"copy.deepcopy raised {type(error).__name__}: {str(error)[:120]}; remove what cannot be copied from their "
            "attributes"
        ) from error
    copied = module_of(network)
    mine = {id(parameter) for parameter in original.parameters()}
    if copied is None or mine & {id(parameter) for parameter in copied.parameters()}:
        raise CAMError(
            "a copy of the model must have parameters of its own, but copy.deepcopy gave a model that shares them, "
            "perhaps by its __deepcopy__; let it copy them, since the layers of the copy are re-initialised"
        )
    return network, copied, explained


def _check_apart(forward_func: Forward, explained: Explain, maps: Tensor, inputs: Tensor, classes: list[int]) -> None:
    """Explain the first image by the copy, which also finds its layer before the weights change.

    Raises:
        CAMError: the copy runs modules of the original, whose weights stay as they are.
    """
    original, seen = module_of(forward_func), list[nn.Module]()
    assert original is not None
    with running(original.modules(), seen.append):
        _of_same_size(maps[:1], inputs[:1], explained(inputs[:1], classes[:1]))
    if seen:
        raise CAMError(
            "explain must be copied together with its model, but its copy still runs the model itself, as a function "
            "does that holds the model; pass the attribute method of an explainer"
        )


def _of_same_size(maps: Tensor, inputs: Tensor, others: Tensor) -> Tensor:
    """The other maps N×1×h×w, or an error unless they have the size of the maps."""
    others = check_maps(inputs, others)
    if others.shape != maps.shape:
        raise CAMError(
            f"maps must be those that explain gives, {shape_of(others)}, got {shape_of(maps)}; pass "
            "maps=explain(inputs, target) without resizing them"
        )
    return others
