"""The user's call as one record: the network, its inputs and the target, checked once."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cached_property
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn

from captum_cams.engine.functions import SampleTarget, composed
from captum_cams.engine.image_form import form_of
from captum_cams.engine.inputs import Further, check_batch, check_images
from captum_cams.engine.precision import autocast_of_caller
from captum_cams.engine.scores import Score, Task, probabilities, score_of, scored
from captum_cams.engine.targets import Index, check_output, plain_target, resolve_target, wide
from captum_cams.engine.untouched import modules_of, unwrap
from captum_cams.errors import CAMError
from captum_cams.images import ImageForm


@dataclass(frozen=True, eq=False)
class Call:
    """The user's request to an explainer.

    The inputs are copies of the user's tensors. Each run gets fresh copies again, because a model may write to them.
    """

    network: Callable[..., Any]
    """The eager, single-device network, or the user's function."""
    modules: list[nn.Module] | None
    """All modules of the network; None for a plain function, whose modules are not known."""
    scorer: Callable[..., Any]
    """The network followed by the function that turns its output into scores (the task or the user's target)."""
    task: Task | None
    """How scores become probabilities. None (a target that is a function) uses the scores themselves."""
    inputs: tuple[Tensor, ...]
    """N samples each; the first tensor holds the images as floating-point numbers, N×C×H×W."""
    form: ImageForm
    """The form in which the network takes the images; each run converts them."""
    extra: Further
    """Further arguments of the network. A tensor whose first axis has length N has one entry per sample."""
    target: Any
    """The score that is explained: as the user gave it, or one index per sample after :meth:`resolved`."""
    at_input: bool
    """Whether the layer's input is explained instead of its output."""
    autocast: Callable[[], AbstractContextManager[None]]
    """Makes a context with the user's autocast setting, in which the network runs."""
    differentiable: bool = False
    """Whether the map keeps the autograd graph to the parameters and the inputs."""
    names_places: bool = False
    """Whether the score reads places of the image that the user named, such as a box."""

    @classmethod
    def of(
        cls,
        forward_func: Callable[..., Any],
        inputs: Any,
        target: Any = None,
        additional_forward_args: Any = None,
        at_input: bool = False,
        task: Task = "multiclass",
        modules: list[nn.Module] | None = None,
        differentiable: bool = False,
    ) -> "Call":
        """Check the user's arguments and make the record.

        Args:
            forward_func: the model, as the user gave it.
            inputs: one tensor, N×C×H×W for images, or a tuple of tensors with N samples each.
            target: the score to explain, as in :meth:`CAMAttribution.attribute`.
            additional_forward_args: further arguments of the model, as :meth:`Further.of` reads them.
            at_input: whether the layer's input is explained instead of its output.
            task: what the model's output means.
            modules: all modules of the model, if they are already known.
            differentiable: whether the map keeps the autograd graph.

        Returns:
            The call, with copies of the inputs.

        Raises:
            CAMError: if an input is not a tensor, the batch is empty, the batch sizes differ, or the batch axis is
                missing.
        """
        given = inputs if isinstance(inputs, tuple) else (inputs,)
        check_batch(given)
        # Copies, because inference tensors cannot be part of an autograd graph.
        tensors = tuple((tensor if differentiable else tensor.detach()).clone() for tensor in given)
        network, extra = unwrap(forward_func), Further.of(additional_forward_args)
        check_images(network, tensors[0].detach())
        modules = modules_of(network) if modules is None else modules
        autocast, form = autocast_of_caller(tensors[0].device), ImageForm.of(tensors[0])
        plain = cls(network, modules, network, task, tensors, form, extra, target, at_input, autocast, differentiable)
        with torch.no_grad():
            form = form_of(
                network, modules, tensors[0], lambda: plain.run(tuple(map(fresh, tensors)), extra.each(fresh))
            )
        call = replace(plain, inputs=(form.standard(tensors[0]), *tensors[1:]), form=form)
        return call._of_target(target)

    def _of_target(self, target: Any) -> "Call":
        if isinstance(target, SampleTarget):
            return replace(self, target=[target] * self.samples)  # :meth:`parts` gives each sample a call of its own
        if callable(target):
            return replace(self, scorer=composed(self.network, target), task=None, target=None)
        return replace(self, scorer=scored(self.network, self.task), target=plain_target(target))

    @property
    def samples(self) -> int:
        """The number of samples in the batch, N."""
        return len(self.inputs[0])

    def parts(self) -> list["Call"]:
        """Split the call by sample if the target is a list of functions; otherwise return the call alone.

        Returns:
            One call with all samples, or N calls with one sample each.

        Raises:
            CAMError: if the number of functions differs from the number of samples.
        """
        functions = self.target
        if not isinstance(functions, list) or not functions or not all(map(callable, functions)):
            return [self]
        if len(functions) != self.samples:
            raise CAMError(f"target must hold one function per sample, expected {self.samples}, got {len(functions)}")
        singles = (self.rows(self.inputs[0][n : n + 1], [n]) for n in range(self.samples))
        return [single._bound(function) for single, function in zip(singles, functions, strict=True)]

    def _bound(self, target: Callable[[Any], Tensor]) -> "Call":
        """The call of a single sample with its own target, which may have to see the sample first."""
        if not isinstance(target, SampleTarget):
            return self._of_target(target)

        plain = replace(self, scorer=self.network)

        def network(image: Tensor) -> Any:
            return plain.run((fresh(image), *map(fresh, self.inputs[1:])), self.extra.each(fresh))

        with torch.no_grad():
            function = target.bound(network, self.inputs[0])
        return replace(
            self, scorer=composed(self.network, function), task=None, target=None, names_places=target.names_places
        )

    def check_unmoved(self, method: str) -> None:
        """Raise a CAMError if the target names places, and the method would show the model other parts of the image."""
        if self.names_places:
            raise CAMError(
                f"{method} moves or resizes the image, and the target names places of the unchanged image; use a "
                "method that keeps the image in its place, or a target without box and mask"
            )

    def rows(self, images: Tensor, samples: list[int]) -> "Call":
        """Make the same request for other images.

        Args:
            images: R×C×H×W, used instead of the first input.
            samples: for each of the R images, the index of the sample whose other inputs, further arguments and
                target it gets.

        Returns:
            A call with R samples.
        """

        def pick(value: Any) -> Any:
            return value[samples] if self.of_samples(value) else value

        target = [self.target[n] for n in samples] if isinstance(self.target, list) else self.target
        self.check_split()
        inputs = (images, *map(pick, self.inputs[1:]))
        return replace(self, inputs=inputs, extra=self.extra.each(pick), target=target)

    def check_split(self) -> None:
        """Raise a CAMError unless further arguments with N rows belong to the samples: one sample alone needs its row.

        The texts of CLIP or the weights of classes may have N rows by chance.
        """
        if not self._splits:
            raise CAMError(
                f"a further argument with {self.samples} rows must have one row for each sample, but one sample alone "
                "with its row gets other scores than in the batch; if the rows belong to something else (texts, "
                "classes), explain one image at a time, or bind the argument in a module of your own"
            )

    @cached_property
    def _splits(self) -> bool:
        last = self.samples - 1
        if last == 0 or not any(map(self.of_samples, self.extra.values())):
            return True
        picked = self.extra.each(lambda value: value[last:] if self.of_samples(value) else value)
        alone = replace(self, inputs=tuple(tensor[last:] for tensor in self.inputs), extra=picked)
        with torch.no_grad():
            found, expected = wide(alone.output()), wide(self.output()[last:])
        spread = float(expected.abs().amax().nan_to_num(0)) if expected.numel() else 0.0
        return found.shape == expected.shape and torch.allclose(found, expected, 0, 1e-2 * spread, equal_nan=True)

    def of_samples(self, value: Any) -> bool:
        """Tell whether a value is a tensor with one entry per sample."""
        return isinstance(value, Tensor) and value.ndim > 0 and value.shape[0] == self.samples

    def copied(self) -> "Call":
        """Return the call with copies of its inputs, on which the caller may set marks or ``requires_grad``.

        Raises:
            CAMError: if the images are integers, which have no gradient and no relevance.
        """
        if self.form.is_integer:
            self.output()  # a model that does not take integers either says so first
            raise CAMError(
                f"gradients and relevance of the pixels need floating-point images, got {self.form.dtype}; explain the "
                "part of the model that takes floats, or use a method that needs the gradient at the layer alone"
            )
        return replace(self, inputs=tuple(tensor.clone() for tensor in self.inputs))

    def run(self, inputs: tuple[Tensor, ...], extra: Further) -> Tensor:
        """Run the network on other inputs and further arguments, to which it may write.

        Args:
            inputs: R samples each; the first tensor holds images R×C×H×W, which are converted to the form of the
                network.
            extra: the further arguments.

        Returns:
            The scores, unchecked.
        """
        with self.autocast():
            return self.scorer(self.form.as_taken(inputs[0]), *inputs[1:], *extra.positional, **extra.named)

    def output(self) -> Tensor:
        """Run the network on copies of the inputs and further arguments.

        Returns:
            The scores, with one row per sample.

        Raises:
            CAMError: if the network does not take these inputs by position, or does not return one row per sample.
        """
        try:
            output = self.run(tuple(map(fresh, self.inputs)), self.extra.each(fresh))
        except TypeError as error:
            if len(self.inputs) + len(self.extra.positional) == 1:  # :func:`recipes` explains it if there are several
                _check_positional(self.network, self.inputs, self.extra.named, error)
            raise
        return check_output(output, self.samples)

    def resolved(self, output: Tensor | None = None) -> "Call":
        """Return the call with a target that is a list of N indices, one into the scores of each sample.

        Args:
            output: the scores of the inputs, if they are already known. Otherwise the network runs once; a target
                that is a function needs no run, because it already gives one score per sample.

        Raises:
            CAMError: if the target does not fit the scores.
        """
        if output is None and self.task is None:
            return replace(self, target=[()] * self.samples)
        return replace(self, target=resolve_target(self.target, self.output() if output is None else output))

    def chosen(self, scores: Tensor) -> Tensor:
        """Pick the target from each sample's scores (only after :meth:`resolved`); returns N scores."""
        return torch.stack([scores[n][index] for n, index in enumerate(self.target)])

    def probabilities(self) -> Tensor:
        """Run the network and return the probability of each sample's target, N (only after :meth:`resolved`)."""
        return self.chosen(probabilities(wide(self.output()), self.task))

    def score_of(self, output: Tensor, sample: int, score: Score = "logit") -> Tensor:
        """Read one sample's target from each row of an output R×classes, as a logit or a probability; returns R."""
        index: Index = self.target[sample]
        return score_of(output, index, score, self.task)


def fresh(value: Any) -> Any:
    """A copy of a tensor, because the model may write to its arguments; any other value as it is."""
    return value.clone() if isinstance(value, Tensor) else value


def _check_positional(
    network: Callable[..., Any], given: tuple[Any, ...], named: Mapping[str, Any], error: TypeError
) -> None:
    """Raise a CAMError if the signature of the network does not accept these arguments."""
    try:
        signature(getattr(network, "forward", network)).bind(*given, **named)
    except TypeError as unfit:
        raise CAMError(
            f"the model must take its images by position and the keywords of additional_forward_args, got {unfit}; if "
            'it takes its images by keyword, explain captum_cams.ImageInput(model, "image") with its name for them'
        ) from error
    except ValueError:  # a model without a signature
        pass
