"""Base classes of methods that read one run of the model and give a map per channel."""

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from captum_cams.bases.attribution import CAMAttribution
from captum_cams.engine.call import Call
from captum_cams.engine.capture import Needs, Seen, capture
from captum_cams.engine.layers import Place, find_layer
from captum_cams.engine.magnitude import product
from captum_cams.engine.precision import full_precision
from captum_cams.engine.resume import Pace
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
    def pace(self) -> Pace:
        """The pace of the runs behind the layer, for methods that need them."""
        return Pace()

    @property
    def needs(self) -> Needs:
        """What one run has to show."""
        return Needs(self.needs_gradient, self.needs_classifier, self.pace if self.needs_resume else None)

    @abstractmethod
    def maps(self, seen: Seen) -> Tensor:
        """The contributions C of a run: N×K×h×w, or N×1×h×w where channels have no share of their own."""

    def place(self, call: Call) -> Place:
        """Where the model is looked at; the layer is searched for if none is set."""
        kind, images = type(self).__name__, call.inputs[0]
        if images.ndim != 4 and not (self.any_dimension and images.ndim in (3, 5)):
            raise CAMError(f"{kind} needs images N×C×H×W, got {shape_of(images)}; is the batch axis missing?")
        if self.layer is None:
            if self.layout is not None:
                raise CAMError(f"{kind} with reshape= needs a layer; pass the first norm of the last block, say")
            self.layer = self.found_layer = find_layer(call.network, call.output, images.ndim)
        return Place(self.layer, call.at_input, self.layout)

    def explain(self, call: Call) -> Tensor:
        return self.components(capture(call, self.place(call), self.needs))

    def map_size(self, call: Call) -> torch.Size:
        if self.at_input_size:
            return call.inputs[0].shape[2:]
        one = call.rows(call.inputs[0][:1], [0])
        return capture(one, self.place(one), Needs()).activation.shape[2:]

    def components(self, seen: Seen) -> Tensor:
        """:meth:`maps` in full precision, whatever the precision of the run was."""
        with full_precision(seen.activation.device):
            return self.maps(seen)


class WeightedCAM(SpatialCAM):
    """A method with one weight per channel, C_k = w_k A_k; subclasses write :meth:`weights`."""

    @abstractmethod
    def weights(self, seen: Seen) -> Tensor:
        """The weights w, N×K."""

    def maps(self, seen: Seen) -> Tensor:
        weights = self.weights(seen)
        return product(weights.reshape(*weights.shape, *[1] * (seen.activation.ndim - 2)), seen.activation)
