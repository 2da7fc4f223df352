"""Base classes of methods that read one run of the model and give a map per channel."""

from abc import abstractmethod
from typing import Any, ClassVar

from torch import Tensor

from captum_cams.bases.attribution import CAMAttribution
from captum_cams.engine.capture import Needs, Seen, as_tuple, capture, runner
from captum_cams.engine.inputs import check_images
from captum_cams.engine.layers import Place, find_layer
from captum_cams.engine.magnitude import product
from captum_cams.engine.precision import full_precision
from captum_cams.engine.untouched import untouched
from captum_cams.errors import CAMError, shape_of


class SpatialCAM(CAMAttribution):
    """A method that reads one run of the model and gives a map per channel; subclasses write :meth:`maps`."""

    needs_gradient: ClassVar[bool] = False
    needs_classifier: ClassVar[bool] = False
    needs_resume: ClassVar[bool] = False
    per_channel: ClassVar[bool] = True
    """Whether the contributions are a map per channel, N×K×h×w."""
    any_dimension: ClassVar[bool] = False
    """Whether maps N×K×t and N×K×d×h×w are served beside N×K×h×w."""

    @property
    def needs(self) -> Needs:
        """What one run has to show."""
        return Needs(self.needs_gradient, self.needs_classifier, self.needs_resume, self.task)

    @abstractmethod
    def maps(self, seen: Seen) -> Tensor:
        """The contributions C of a run: N×K×h×w, or N×1×h×w where channels have no share of their own."""

    def place(self, inputs: tuple[Tensor, ...], additional_forward_args: Any, attribute_to_layer_input: bool) -> Place:
        """Where the model is looked at; the layer is searched for if none is set."""
        kind = type(self).__name__
        check_images(self.forward_func, inputs[0])
        if inputs[0].ndim != 4 and not (self.any_dimension and inputs[0].ndim in (3, 5)):
            raise CAMError(f"{kind} needs images N×C×H×W, got {shape_of(inputs[0])}; is the batch axis missing?")
        if self.layer is None:
            if self.layout is not None:
                raise CAMError(f"{kind} with reshape= needs a layer; pass the first norm of the last block, say")
            run = runner(self.forward_func, inputs, additional_forward_args)
            self.layer = self.found_layer = find_layer(self.forward_func, run, inputs[0].ndim)
        return Place(self.layer, attribute_to_layer_input, self.layout)

    def contributions(
        self,
        inputs: Tensor | tuple[Tensor, ...],
        target: Any = None,
        additional_forward_args: Any = None,
        attribute_to_layer_input: bool = False,
    ) -> Tensor:
        with untouched(self.forward_func):
            tensors = as_tuple(inputs)
            place = self.place(tensors, additional_forward_args, attribute_to_layer_input)
            seen = capture(self.forward_func, place, tensors, target, additional_forward_args, self.needs)
            with full_precision(tensors[0].device):
                return self.maps(seen)


class WeightedCAM(SpatialCAM):
    """A method with one weight per channel, C_k = w_k A_k; subclasses write :meth:`weights`."""

    @abstractmethod
    def weights(self, seen: Seen) -> Tensor:
        """The weights w, N×K."""

    def maps(self, seen: Seen) -> Tensor:
        weights = self.weights(seen)
        return product(weights.reshape(*weights.shape, *[1] * (seen.activation.ndim - 2)), seen.activation)
