"""Make a plain module that gives scores and map."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from captum_cams.engine.arranged import arranged, settled
from captum_cams.engine.call import Call
from captum_cams.engine.layers import Place, dotted, named_layer
from captum_cams.engine.layout import Reshape, as_layout
from captum_cams.engine.search import find_layer
from captum_cams.engine.untouched import module_of, untouched
from captum_cams.errors import CAMError, brief, shape_of
from captum_cams.errors import lookup as named
from captum_cams.export.build import FORMS, Example, last_step
from captum_cams.export.check import check
from captum_cams.export.graph import cut
from captum_cams.export.module import ScoresAndMap
from captum_cams.registry import create


def with_map(
    model: nn.Module,
    method: str,
    layer: nn.Module | str | None = None,
    *,
    inputs: Tensor,
    target: int | None = None,
    size: Sequence[int] | None = None,
    reshape: Reshape = None,
    **hyperparameters: Any,
) -> ScoresAndMap:
    """Make a plain module that computes the scores of a model and a map of the explained class together.

    The module needs neither hooks nor gradients, so ``torch.export.export``, ``torch.onnx.export(…, dynamo=True)`` and
    ``torch.jit.trace`` take it. It holds copies of the weights. The model is exported with ``torch.export``, and its
    graph is cut behind the layer; the rest follows the formula of the method:

    - "cam", "eigencam" and "fem" read the activation. Eigen-CAM takes 4096 steps of a power iteration; the map is that
      of the method if the first two singular values differ by more than 0.2 percent.
    - "reciprocam" and "vitreciprocam" run the part behind the layer once for each position, all at once, so they
      need as much memory as h·w samples behind the layer.
    - "gradcam", "layercam", "hirescam" and "ablationcam" need a part behind the layer that is affine, such as pooling
      and one linear layer, which is proven on the graph. Then the gradient is a constant.

    The map is compared with that of the method itself on ``inputs`` and on their mirror images, to 1e-4 of its largest
    value. A map of Recipro-CAM or ViT-Recipro-CAM is only as exact as the scores of its windows, which may hardly
    differ; then rounding may move it further, but by one percent at most.

    Args:
        model: the network; it takes images alone, and returns scores N×classes.
        method: one of the names above.
        layer: the layer to explain: a module, or its dotted name; None searches for it.
        inputs: example images N×C×H×W. Their size is fixed in the module. The number of samples is free, unless
            the network itself fixes it, as ``len(images)`` does.
        target: the index of the explained class; None explains the class with the highest score of each image.
        size: height and width of the map; None is the size of the layer. Larger maps are interpolated bilinearly.
        reshape: as in :class:`CAMAttribution`.
        **hyperparameters: those of the method, such as ``gaussian=True``.

    Returns:
        A module that takes images and returns (scores N×classes, map N×1×h×w). ``module.free_batch`` says whether the
        number of samples is free.

    Raises:
        CAMError: the method has no exported form, ``torch.export`` refuses the model, the part behind the layer is not
            affine although the method needs it, or scores or map differ from those in PyTorch.

    Example::

        explained = cc.with_map(model, "gradcam", "layer4", inputs=images)
        program = torch.export.export(explained, (images,))
        scores, maps = program.module()(images)
    """
    build = named("exported method", method, FORMS)
    network = module_of(model)
    if network is None or not isinstance(inputs, Tensor) or inputs.ndim != 4 or not inputs.is_floating_point():
        got = brief(model) if network is None else brief(inputs)
        raise CAMError(f"with_map needs an nn.Module and floating-point images N×C×H×W as inputs, got {got}")
    layout = as_layout(reshape)
    with untouched(network) as modules:
        call = Call.of(network, inputs, target, modules=modules)
        given = None if layer is None else Place(named_layer(network, layer), layout=layout)
        place = find_layer(call) if given is None else settled(call, given)
    explainer = create(method, network, place.layer, reshape=layout, **hyperparameters)
    explainer.attribute(inputs, target)  # the method says itself what it cannot explain
    with untouched(network) as modules:
        call = Call.of(network, inputs, target, modules=modules)
        graph = cut(network, inputs, dotted(network, place.layer))
        scores, output, *_ = graph.whole(inputs)
        if scores.ndim != 2:
            raise CAMError(
                f"with_map needs scores N×classes, got {shape_of(scores)}; wrap the model in a module that returns "
                "scores alone"
            )
        maps = arranged(call, place, output, "activations")
        form = build(Example(method, call, place, graph, maps, output, scores, explainer.hyperparameters))
    module = ScoresAndMap(graph, place.layout, form, last_step(form, explainer.rectifies), target, size).eval()
    for images in (inputs, inputs.flip(-1)):  # other images too: a graph could repeat the example alone
        check(module, network, explainer, images, target)
    return module
