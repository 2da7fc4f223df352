"""Base classes of methods that compute their map from one run of the model."""

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from captum_cams.bases.attribution import CAMAttribution
from captum_cams.bases.plane import check_plane
from captum_cams.engine.arranged import settled
from captum_cams.engine.call import Call
from captum_cams.engine.capture import Needs, Seen, capture
from captum_cams.engine.layers import Place, describe
from captum_cams.engine.layout import CHANNELS_LAST
from captum_cams.engine.magnitude import product
from captum_cams.engine.precision import full_precision
from captum_cams.engine.resume import Pace
from captum_cams.engine.search import find_layer
from captum_cams.errors import CAMError


class SpatialCAM(CAMAttribution):
    """The base class of methods that compute a map of each channel from one run of the model.

    A subclass writes :meth:`maps`, and says with the class constants below what the run has to record.

    Example::

        class Brightest(cc.SpatialCAM):
            cost = cc.Cost()

            def maps(self, seen):
                return seen.activation.amax(1, keepdim=True)

        maps = Brightest(model, "layer4").attribute(images)
    """

    needs_gradient: ClassVar[bool] = False
    """Whether the method reads ``seen.gradient``, the gradient of the score at the layer."""
    needs_curvature: ClassVar[bool] = False
    """Whether the method reads ``seen.curvature``, the Hessian of the score times the activation."""
    needs_classifier: ClassVar[bool] = False
    """Whether the method reads ``seen.classifier``, the linear layer that makes the scores."""
    needs_resume: ClassVar[bool] = False
    """Whether the method calls ``seen.resume``, the part of the model after the layer."""
    needs_attention: ClassVar[bool] = False
    """Whether the method reads ``seen.attention``, what the tokens of a transformer read from each other."""
    needs_tokens: ClassVar[bool] = False
    """Whether the layer must give the tokens of a transformer, whose layout is known."""
    per_channel: ClassVar[bool] = True
    """Whether the contributions have a map for each channel, N×K×h×w."""
    any_dimension: ClassVar[bool] = False
    """Whether the method also explains layers with maps N×K×t and N×K×d×h×w."""

    @property
    def pace(self) -> Pace:
        """How many activations go through the part after the layer at once, for methods that need that part."""
        return Pace()

    @property
    def needs(self) -> Needs:
        """What the run has to record."""
        pace = self.pace if self.needs_resume else None
        return Needs(self.needs_gradient, self.needs_classifier, pace, self.needs_attention, self.needs_curvature)

    @abstractmethod
    def maps(self, seen: Seen) -> Tensor:
        """Compute the contributions C from one run of the model.

        Args:
            seen: what the run recorded: activation, scores, target and, if they are declared, the gradient and more.

        Returns:
            The contributions N×K×h×w, or N×1×h×w if the map is not a sum over channels.
        """

    def find(self, call: Call) -> None:
        settled(call, self.place(call))

    def place(self, call: Call) -> Place:
        """The place to look at in the model; the first call searches for the layer if none was given.

        If ``reshape`` was not given, :func:`settled` finds the layout.
        """
        kind, images = type(self).__name__, call.inputs[0]
        if not (self.any_dimension and images.ndim in (3, 5)):
            check_plane(kind, images)
        if self.layer is None:
            if self.layout is not None:
                raise CAMError(f"{kind} with reshape= needs a layer, got None; pass the first norm of the last block")
            with torch.no_grad():
                self.layer = self.found_layer = find_layer(call).layer
        return Place(self.layer, call.at_input, self.layout)

    def explain(self, call: Call) -> Tensor:
        place = self.place(call)
        if self.needs_tokens:
            place = settled(call, place)
            self._check_tokens(call, place)
        return self.components(capture(call, place, self.needs))

    def _check_tokens(self, call: Call, place: Place) -> None:
        # Methods that read attention say themselves what they need of maps N×h×w×K.
        if place.layout is None or (place.layout is CHANNELS_LAST and not self.needs_attention):
            raise CAMError(
                f"{type(self).__name__} explains the tokens of a transformer, got layer "
                f"{describe(call.network, place.layer)} without a layout of tokens; for a convolutional network use "
                'Grad-CAM, for a transformer pass a layer that gives tokens N×T×K, and reshape="tokens"'
            )

    def map_size(self, call: Call) -> torch.Size:
        if self.at_input_size:
            return call.inputs[0].shape[2:]
        one = call.rows(call.inputs[0][:1], [0])
        return capture(one, self.place(one), Needs()).activation.shape[2:]

    def components(self, seen: Seen) -> Tensor:
        """Compute :meth:`maps` in full precision, also if the run was made in a lower one."""
        with full_precision(seen.activation.device):
            return self.maps(seen)


class WeightedCAM(SpatialCAM):
    """The base class of methods with one weight for each channel: C_k = w_k A_k.

    A subclass writes :meth:`weights`.

    Example::

        class MeanActivation(cc.WeightedCAM):
            cost = cc.Cost()

            def weights(self, seen):
                return seen.activation.flatten(2).mean(2)

        maps = MeanActivation(model, "layer4").attribute(images)
    """

    @abstractmethod
    def weights(self, seen: Seen) -> Tensor:
        """Compute the weight of each channel.

        Args:
            seen: as in :meth:`SpatialCAM.maps`.

        Returns:
            The weights w, N×K.
        """

    def maps(self, seen: Seen) -> Tensor:
        weights = self.weights(seen)
        return product(weights.reshape(*weights.shape, *[1] * (seen.activation.ndim - 2)), seen.activation)
