"""LFI-CAM."""

from torch import Tensor

from captum_cams.bases.plane import check_plane
from captum_cams.bases.spatial import SpatialCAM
from captum_cams.cost import Cost
from captum_cams.engine.call import Call
from captum_cams.engine.capture import Seen
from captum_cams.engine.layers import Place
from captum_cams.engine.layout import Layout
from captum_cams.errors import CAMError, brief
from captum_cams.networks.lfinetwork import LFINetwork
from captum_cams.paper import Paper
from captum_cams.registry import register

_AS_IT_IS = Layout(lambda output: output)


@register
class LFICAM(SpatialCAM):
    """Shows where a network with a trained branch reads its features more; the same for every class.

    Lee et al. 2021: the network learns the map M = minmax(ReLU(Σ_k w_k A_k)) with its own weights w, and this method
    returns that map. The values lie in [0, 1], at the size of the features. The model is a :class:`LFINetwork` or has
    one inside; if it has several, pass one of them as the layer.

    Raises:
        CAMError: in a call, if there is no :class:`LFINetwork` or there are several, the layer is not one of them, or
            the input of the layer or a ``reshape`` is asked for.

    Example::

        backbone = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, stride=2), torch.nn.ReLU())
        cam = cc.LFICAM(cc.LFINetwork(backbone, channels=8, classes=10).eval())
        maps = cam.attribute(images)  # values in [0, 1]
    """

    title = "LFI-CAM"
    paper = Paper(
        "Lee et al.",
        "LFI-CAM: Learning Feature Importance for Better Visual Explanation",
        "ICCV",
        2021,
        "https://arxiv.org/abs/2105.00937",
    )
    cost = Cost()
    per_channel = False
    rectifies = False

    def place(self, call: Call) -> Place:
        check_plane("LFICAM", call.inputs[0])
        network = self._network(call)
        if call.at_input or self.reshape is not None:
            asked = "the input of a layer" if call.at_input else f"reshape={brief(self.reshape)}"
            raise CAMError(f"LFICAM returns the map that the network itself makes, got {asked}; leave it out")
        return Place(network.branch, layout=_AS_IT_IS)

    def _network(self, call: Call) -> LFINetwork:
        """The network whose map is returned: the layer, or the only one in the model."""
        if isinstance(self.layer, LFINetwork):
            return self.layer
        found = [module for module in call.modules or () if isinstance(module, LFINetwork)]
        if not found:
            hidden = "a function, whose modules are not known; pass the LFINetwork inside it as the layer, or use"
            plain = f"{brief(call.network)} without one; train LFINetwork(features, channels, classes), or use"
            raise CAMError(
                f"LFICAM needs a model with an LFINetwork, got {hidden if call.modules is None else plain} Grad-CAM"
            )
        if self.layer is not None:
            raise CAMError(
                f"the layer of LFICAM must be an LFINetwork, got {brief(self.layer)}; pass no layer if the model has "
                "one LFINetwork"
            )
        if len(found) > 1:
            raise CAMError(
                f"LFICAM needs to know which LFINetwork of the model to show, got {len(found)} of them; pass one as "
                "the layer, a module or its dotted name"
            )
        return found[0]

    def maps(self, seen: Seen) -> Tensor:
        return seen.activation
