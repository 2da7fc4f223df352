"""Which form each method has, made from an example."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from captum_cams.engine.call import Call
from captum_cams.engine.layers import Place
from captum_cams.engine.trace import watch
from captum_cams.engine.windows import windows
from captum_cams.errors import CAMError
from captum_cams.export.affine import constant_gradient
from captum_cams.export.forms import Ablated, ClassWeighted, OneWindow, Principal, Rare, Scaled
from captum_cams.export.graph import CutGraph


@dataclass(frozen=True)
class Example:
    """What the run on the example images showed."""

    method: str
    call: Call
    place: Place
    graph: CutGraph
    maps: Tensor
    """The activation as N×K×h×w."""
    output: Tensor
    """The activation as the layer gives it."""
    scores: Tensor
    settings: Mapping[str, Any]
    """The hyperparameters of the method."""

    @property
    def gradient(self) -> Tensor:
        """The gradient of each score at the map, classes×K×h×w or classes×K×1×1."""
        layout = self.place.layout
        to_map = _same if layout is None else layout.to_map
        return constant_gradient(self.graph, self.output, self.scores.shape[1], to_map, self.method)


def _same(values: Tensor) -> Tensor:
    return values


def _cam(example: Example) -> nn.Module:
    classifier = watch(example.call.output, example.call.modules)[2]
    if classifier is None:
        raise CAMError("CAM needs a classifier that is a module, got none; use gradcam")
    weights = classifier.weight.detach().clone().flatten(1)
    return ClassWeighted(weights[:, :, None, None])


def _grad_cam(example: Example) -> nn.Module:
    return ClassWeighted(example.gradient.mean((2, 3), keepdim=True))


def _one_window(example: Example) -> nn.Module:
    graph = example.graph
    if not (graph.free_batch and graph.separable):
        raise CAMError(
            f'the exported form of "{example.method}" runs the part behind the layer on several activations of one '
            "image, but the exported network fixes the number of samples, or has them on another axis; write "
            "images.shape[0] instead of len(images) in its forward pass, or choose another layer"
        )
    masks = windows(example.maps, example.settings["gaussian"]).to(example.maps.dtype)
    score = nn.Softmax(1) if example.settings["score"] == "probability" else nn.Identity()
    return OneWindow(graph, example.place.layout, masks, score)


def last_step(form: nn.Module, rectifies: bool) -> nn.Module:
    """What a method does with the map of its form."""
    if isinstance(form, OneWindow):
        return Scaled()
    return nn.ReLU() if rectifies else nn.Identity()


FORMS: dict[str, Callable[[Example], nn.Module]] = {
    "cam": _cam,
    "eigencam": lambda example: Principal(),
    "fem": lambda example: Rare(example.settings["deviations"]),
    "reciprocam": _one_window,
    "vitreciprocam": _one_window,
    "gradcam": _grad_cam,
    "layercam": lambda example: ClassWeighted(example.gradient.relu()),
    "hirescam": lambda example: ClassWeighted(example.gradient),
    "ablationcam": lambda example: Ablated(example.gradient),
}
"""The methods that leave PyTorch, by their names in the registry."""
