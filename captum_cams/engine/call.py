"""The user's call: a network, its inputs and what to explain, checked once and handed on as one record."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn

from captum_cams.engine.functions import composed
from captum_cams.engine.inputs import as_arguments, check_batch, check_images
from captum_cams.engine.precision import autocast_of_caller
from captum_cams.engine.scores import Score, Task, probabilities, score_of, scored
from captum_cams.engine.targets import Index, check_output, plain_target, resolve_target, wide
from captum_cams.engine.untouched import modules_of, unwrap
from captum_cams.errors import CAMError


@dataclass(frozen=True, eq=False)
class Call:
    """What the user asks of an explainer. Its inputs are copies, and each run is made on further copies of them."""

    network: Callable[..., Any]
    """The eager, single-device network, or the user's function."""
    modules: list[nn.Module] | None
    """All modules of the network; None for a plain function, whose modules are not known."""
    scorer: Callable[..., Any]
    """The network, followed by what makes scores of its output: the task, or a target that is a function."""
    task: Task | None
    """How a probability is read from the scores; None takes them as they are, as with a target that is a function."""
    inputs: tuple[Tensor, ...]
    """N rows each; the first one holds the images."""
    extra: tuple[Any, ...]
    """Further arguments of the network; tensors with N rows belong to the samples."""
    target: Any
    """The explained entry of each sample's output: as the user gave it, or a list of indices (:meth:`resolved`)."""
    at_input: bool
    """Whether the layer's input is explained, not its output."""
    autocast: Callable[[], AbstractContextManager[None]]
    """Contexts with the autocast of the user's call, in which the network runs."""

    @classmethod
    def of(
        cls,
        forward_func: Callable[..., Any],
        inputs: Any,
        target: Any = None,
        additional_forward_args: Any = None,
        at_input: bool = False,
        *,
        task: Task = "multiclass",
        modules: list[nn.Module] | None = None,
    ) -> "Call":
        """Make and check the record of a call.

        Args:
            forward_func: the model, as the user gave it.
            inputs: as in :meth:`CAMAttribution.attribute`.
            target: likewise.
            additional_forward_args: likewise.
            at_input: likewise.
            task: what the model's output means.
            modules: all modules of the model, where they are known already.

        Raises:
            CAMError: no tensor, an empty batch, unequal batch sizes, or a single image without a batch axis.
        """
        given = inputs if isinstance(inputs, tuple) else (inputs,)
        check_batch(given)
        # Fresh tensors, since inference tensors cannot be part of a graph.
        tensors = tuple(tensor.detach().clone() for tensor in given)
        network, extra = unwrap(forward_func), as_arguments(additional_forward_args)
        check_images(network, tensors[0])
        modules = modules_of(network) if modules is None else modules
        autocast = autocast_of_caller(tensors[0].device)
        return cls(network, modules, network, task, tensors, extra, target, at_input, autocast)._of_target(target)

    def _of_target(self, target: Any) -> "Call":
        if callable(target):
            return replace(self, scorer=composed(self.network, target), task=None, target=None)
        return replace(self, scorer=scored(self.network, self.task), target=plain_target(target))

    @property
    def samples(self) -> int:
        """N, the number of samples."""
        return len(self.inputs[0])

    def parts(self) -> list["Call"]:
        """The call itself, or one call for each sample if each has a function of its own as its target.

        Raises:
            CAMError: the number of functions is not the number of samples.
        """
        functions = self.target
        if not isinstance(functions, list) or not functions or not all(map(callable, functions)):
            return [self]
        if len(functions) != self.samples:
            raise CAMError(f"target must be one per sample, expected {self.samples}, got {len(functions)}")
        singles = (self.rows(self.inputs[0][n : n + 1], [n]) for n in range(self.samples))
        return [single._of_target(function) for single, function in zip(singles, functions, strict=True)]

    def rows(self, images: Tensor, samples: list[int]) -> "Call":
        """The same question about other images.

        Args:
            images: R×C×H×W, which take the place of the first input.
            samples: for each image the sample whose other inputs, further arguments and target it gets.
        """

        def pick(value: Any) -> Any:
            return value[samples] if self.of_samples(value) else value

        target = [self.target[n] for n in samples] if isinstance(self.target, list) else self.target
        inputs, extra = (images, *map(pick, self.inputs[1:])), tuple(map(pick, self.extra))
        return replace(self, inputs=inputs, extra=extra, target=target)

    def of_samples(self, value: Any) -> bool:
        """Whether a value is a tensor with one row for each sample."""
        return isinstance(value, Tensor) and value.ndim > 0 and value.shape[0] == self.samples

    def copied(self) -> "Call":
        """The same call on copies of its inputs, which their owner may mark or give a gradient."""
        return replace(self, inputs=tuple(tensor.clone() for tensor in self.inputs))

    def output(self) -> Tensor:
        """Run the network, on copies of its arguments: scores with one row for each sample.

        Raises:
            CAMError: the network does not take these inputs by position, or does not return one row per sample.
        """
        given = tuple(fresh(value) for value in (*self.inputs, *self.extra))
        try:
            with self.autocast():
                output = self.scorer(*given)
        except TypeError as error:
            if len(given) == 1:  # several may be too many, as labels: that is said where they were given
                _check_positional(self.network, given, error)
            raise
        return check_output(output, self.samples)

    def resolved(self, output: Tensor | None = None) -> "Call":
        """The same call whose target is a list with one index into each sample's scores.

        Args:
            output: the scores of the inputs, if they are known. Otherwise the network is run, unless the target is a
                function, whose scores need no index.

        Raises:
            CAMError: the target does not fit the scores.
        """
        if output is None and self.task is None:
            return replace(self, target=[()] * self.samples)
        return replace(self, target=resolve_target(self.target, self.output() if output is None else output))

    def chosen(self, scores: Tensor) -> Tensor:
        """The explained entry of each row of the scores, of a resolved call: N."""
        return torch.stack([scores[n][index] for n, index in enumerate(self.target)])

    def probabilities(self) -> Tensor:
        """Run the network: the probability of each sample's target, of a resolved call, N."""
        return self.chosen(probabilities(wide(self.output()), self.task))

    def score_of(self, output: Tensor, sample: int, score: Score = "logit") -> Tensor:
        """A sample's target in each row of an output R×classes, as it is or as a "probability": R."""
        index: Index = self.target[sample]
        return score_of(output, index, score, self.task)


def fresh(value: Any) -> Any:
    """A copy of a tensor, because the model may write to its arguments; any other value as it is."""
    return value.clone() if isinstance(value, Tensor) else value


def _check_positional(network: Callable[..., Any], given: tuple[Any, ...], error: TypeError) -> None:
    """Raise a better error if it is the form of the arguments that the network does not take."""
    try:
        signature(getattr(network, "forward", network)).bind(*given)
    except TypeError as unfit:
        raise CAMError(
            f"the model must take its inputs by position, got {unfit}; "
            "pass a function of the inputs, lambda image: model(image=image), and the layer as a module"
        ) from error
    except ValueError:  # a model without a signature
        pass
