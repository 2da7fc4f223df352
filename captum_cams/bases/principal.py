"""Base class of methods that show the strongest pattern in a matrix of features."""

from abc import abstractmethod

from torch import Tensor

from captum_cams.bases.spatial import SpatialCAM
from captum_cams.engine.capture import Seen
from captum_cams.engine.first_component import first_component
from captum_cams.engine.magnitude import levelled
from captum_cams.engine.sign import sign_of_mean


class PrincipalCAM(SpatialCAM):
    """The base class of methods that project features F on their first principal component.

    F is a matrix with h·w rows and K columns, which are centred first: F − ⟨F⟩ = U Σ Vᵀ and map = (F − ⟨F⟩) v_1. A
    singular vector has no sign of its own, so a subclass may write :meth:`signs` besides :meth:`features`.

    Raises:
        CAMError: in a call with ``differentiable``, if the first principal component of an image is not unique.

    Example::

        class PositiveEigenCAM(cc.PrincipalCAM):
            cost = cc.Cost()

            def features(self, seen):
                return seen.activation.relu()

        maps = PositiveEigenCAM(model, "layer4").attribute(images)
    """

    any_dimension = True
    differentiable = True

    @abstractmethod
    def features(self, seen: Seen) -> Tensor:
        """Compute the features F from one run of the model.

        Args:
            seen: as in :meth:`SpatialCAM.maps`.

        Returns:
            The features N×K×h×w.
        """

    def signs(self, maps: Tensor, rows: Tensor) -> Tensor:
        """Choose the sign of each map, so that it correlates positively with the mean over the channels.

        Behind a LayerNorm, this mean may be 0 at all positions. Then the larger extreme of the map is positive.

        Args:
            maps: the maps N×h·w×1, whose sign is arbitrary.
            rows: the centred features N×h·w×K.

        Returns:
            1 or −1 for each map, N×1×1.
        """
        return sign_of_mean(maps, rows)

    def maps(self, seen: Seen) -> Tensor:
        features = self.features(seen)
        rows = features.flatten(2).mT
        centred = rows - rows.mean(1, keepdim=True)
        level = levelled(centred, (1, 2))
        first = first_component(level)
        contributions = centred * (first * self.signs(level @ first, level)).mT
        return contributions.mT.reshape(features.shape)
