"""The abstract class that every method and every wrapper extends."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, final

import torch
from captum.attr import LayerAttribution
from captum.log import log_usage
from torch import Tensor, nn

from captum_cams.argument_names import OF_CALLS, names_checked
from captum_cams.bases.forward_func import check_forward_func
from captum_cams.bases.with_graph import check_differentiable
from captum_cams.cost import Cost
from captum_cams.engine.call import Call
from captum_cams.engine.inputs import recipes
from captum_cams.engine.later_backward import check_graph
from captum_cams.engine.layers import named_layer
from captum_cams.engine.layout import Layout, Reshape, as_layout
from captum_cams.engine.scores import Task, check_task
from captum_cams.engine.untouched import untouched
from captum_cams.errors import CAMError, check_finite, shape_of
from captum_cams.hyperparameters import Declared
from captum_cams.images import heat
from captum_cams.paper import Paper


class CAMAttribution(LayerAttribution, Declared, ABC):
    """The base class of all class activation maps: it checks the call, and its subclasses compute the map.

    A subclass writes :meth:`explain`, which gives the contributions C, N×K×h×w. The map is Φ(Σ_k C_k), with ReLU or the
    identity for Φ; see :attr:`rectifies`. An instance keeps the layer and the hyperparameters, but no tensors.

    A call leaves the model as it was, also if it raises an error: parameters, buffers, attributes, gradients, training
    flags, hooks and the random state.

    Several threads may explain, predict and train at the same time. Explanations of models that share a module wait for
    one another, and so do all explanations of plain functions, whose modules are not known. While one thread explains a
    model, another may predict with it if the model is in eval mode and its forward pass stores nothing. It must not
    train the model, move it to another device, or save it as a whole until the explanation is over; it may save the
    state dict. If a part of the model is compiled, all compiled code of the
    process runs without compilation during the explanation. The library does not see parts of a model that run in
    threads of their own.

    Args:
        forward_func: the model: a module, a method of one, or any function of the inputs. A compiled or data-parallel
            model is explained through the module inside it.
        layer: the layer to explain: a module, or its dotted name. With None, the first call runs the model six times
            more on the first image and changed copies of it, takes the last layer with positions through which all
            scores pass, and names it in a log message; :func:`layers` lists all of them.
        device_ids: accepted because Captum has this argument; not needed.
        reshape: how the output of the layer becomes a map N×K×h×w: "tokens" for ViT, "channels_last" for Swin, a
            function, or a :class:`Layout`. With None, the first call finds it for N×h×w×K and for tokens, by runs
            on changed copies of the first image.
        task: what the output of the model means: "multiclass", "multilabel", "binary", "regression", or a function that
            makes scores from the output; see :data:`captum_cams.engine.scores.Task`.

    Raises:
        CAMError: the model is not callable, the layer is not in the model, ``reshape`` or ``task`` is unknown, or the
            class has no such option.

    Example::

        explainer = cc.GradCAM(model, "layer4")
        assert isinstance(explainer, cc.CAMAttribution)
        print(explainer, explainer.hyperparameters)
    """

    rectifies: ClassVar[bool] = True
    """Whether Φ is ReLU; otherwise it is the identity."""
    differentiable: ClassVar[bool] = False
    """Whether the maps can keep the autograd graph: the class makes them with operations that torch differentiates."""
    cost: ClassVar[Cost]
    """How often the model runs for one image, at most; without the base of a wrapper, see :attr:`total_cost`."""
    paper: ClassVar[Paper | None] = None
    """The publication of the method."""
    layer: nn.Module | None

    def __init__(
        self,
        forward_func: Callable[..., Any],
        layer: nn.Module | str | None = None,
        device_ids: list[int] | None = None,
        *,
        reshape: Reshape = None,
        task: Task = "multiclass",
    ) -> None:
        check_forward_func(forward_func)
        super().__init__(forward_func, None if layer is None else named_layer(forward_func, layer), device_ids)
        as_layout(reshape)  # raises an error if it is unknown
        self.reshape, self.task = reshape, check_task(task)
        self.found_layer: nn.Module | None = None
        """The layer that the first call found; None if the layer was given."""

    @property
    def layout(self) -> Layout | None:
        """The layout that ``reshape`` names; None if each call finds it."""
        return as_layout(self.reshape)

    @property
    def total_cost(self) -> Cost:
        """How often the model runs for one image, at most; the base of a wrapper is included."""
        return self.cost

    @property
    def at_input_size(self) -> bool:
        """Whether the map always has the size of the image."""
        return False

    def find(self, call: Call) -> None:
        """Find the layer and its layout, as far as the method needs them and they are neither given nor known.

        A wrapper that shows its base changed images calls this first, so that both are found on the image itself.

        Args:
            call: the user's call.

        Raises:
            CAMError: there is no such layer, or ``reshape`` was given without a layer.
        """

    @abstractmethod
    def explain(self, call: Call) -> Tensor:
        """Compute the contributions to the map; every method and every wrapper writes this in its own way.

        Args:
            call: the user's call: inputs, further arguments and target, already checked.

        Returns:
            The contributions N×K×h×w, or N×1×h×w if the map is not a sum over channels.
        """

    def map_of(self, call: Call, relu_attributions: bool | None = None) -> Tensor:
        """Make the map from the contributions of :meth:`explain`, as a wrapper needs it from its base.

        Args:
            call: the user's call, or the same call for other images.
            relu_attributions: as in :meth:`attribute`.

        Returns:
            The sum of the contributions over the channels, N×1×h×w.

        Raises:
            CAMError: the contributions have no positions, or their sum contains NaN or Inf.
        """
        components = self.explain(call)
        if components.ndim < 3:
            raise CAMError(
                f"a map needs contributions with positions, got {shape_of(components)} for inputs without positions; "
                "call contributions() for one value per feature, or use a method of captum.attr"
            )
        summed = components.sum(1, keepdim=True)
        check_finite("the map", summed)
        rectify = self.rectifies if relu_attributions is None else relu_attributions
        return (summed.relu() if rectify else summed).contiguous()

    def map_size(self, call: Call) -> torch.Size:
        """The size h×w of the maps of a call; if the class cannot tell it beforehand, one image is explained."""
        return self.map_of(call.rows(call.inputs[0][:1], [0])).shape[2:]

    def _answer(
        self, question: Callable[[Call], Tensor], graph: bool, inputs: Any, target: Any, extra: Any, at_input: bool
    ) -> Tensor:
        """Make and check the user's call, and answer a question about it while the model is protected."""
        if graph:
            check_differentiable(self, (inputs, extra))
        with recipes(self.forward_func, inputs, extra), untouched(self.forward_func, graph) as modules:
            call = Call.of(self.forward_func, inputs, target, extra, at_input, self.task, modules, graph)
            first, *others = (self.answer(part, question) for part in call.parts())
            answer = torch.cat((first, *others)) if others else first
        return check_graph(answer) if graph else answer

    def answer(self, call: Call, question: Callable[[Call], Tensor]) -> Tensor:
        """Answer a question about a call; a class that explains another score than the call's overrides this.

        Args:
            call: the user's call, of all samples or of one whose target is a function of its own.
            question: gives N rows for a call with N samples.

        Returns:
            The answer for the samples of the call.
        """
        return question(call)

    @final
    def contributions(
        self,
        inputs: Tensor | tuple[Tensor, ...],
        target: Any = None,
        additional_forward_args: Any = None,
        attribute_to_layer_input: bool = False,
        *,
        differentiable: bool = False,
    ) -> Tensor:
        """Compute the share of each channel in the map, before the sum over channels and the ReLU.

        Args:
            inputs: as in :meth:`attribute`.
            target: as in :meth:`attribute`.
            additional_forward_args: as in :meth:`attribute`.
            attribute_to_layer_input: as in :meth:`attribute`.
            differentiable: as in :meth:`attribute`.

        Returns:
            The contributions N×K×h×w, with positive and negative values; N×1×h×w if the map is not a sum over channels.

        Example::

            shares = cc.GradCAM(model, "layer4").contributions(images, labels)
            strongest = shares.sum((2, 3)).argmax(1)  # the channel that speaks most for the class, for each image
        """
        asked = (inputs, target, additional_forward_args, attribute_to_layer_input)
        return self._answer(self.explain, differentiable, *asked)

    @log_usage()
    @names_checked(OF_CALLS)
    def attribute(
        self,
        inputs: Tensor | tuple[Tensor, ...],
        target: Any = None,
        additional_forward_args: Any = None,
        attribute_to_layer_input: bool = False,
        relu_attributions: bool | None = None,
        *,
        differentiable: bool = False,
    ) -> Tensor:
        """Explain a batch: compute the class activation map of each sample at the size of the layer.

        Args:
            inputs: the images N×C×H×W, or a tuple of tensors with N rows that begins with the images. If the model
                takes them as N×H×W×C or as integers, pass them so; changed images are rounded for such a model. A model
                that takes images by keyword needs :class:`ImageInput`.
            target: the class to explain, in any form that Captum takes: one index for the whole batch, or a list or a
                tensor with one index for each sample. None is the class with the highest score. A function gets the
                output of the model, for any number of rows, and must score each row on its own, for example
                ``lambda output: output[:, 3] - output[:, 5]``. If the score needs something that differs between the
                samples (labels, weights, boxes), pass a list with one function for each sample. Ready functions for
                segmentation, detection, embeddings and texts are in :mod:`captum_cams.targets`.
            additional_forward_args: further arguments of the model: one value, a tuple of values, or a mapping of
                keyword arguments (which Captum's ``NoiseTunnel`` does not know; use a tuple there). A tensor with N
                rows is split with the samples.
            attribute_to_layer_input: explain the input of the layer instead of its output.
            relu_attributions: True keeps the positive values only, False gives the signed map, and None does what the
                paper of the method does.
            differentiable: True keeps the autograd graph from the maps to the parameters, and to the inputs that
                require a gradient, for losses such as :class:`ExplanationLoss`. The model is still explained in eval
                mode, with the running statistics of its BatchNorms. The graph takes the memory of a training step, and
                of one for each run of the model if the method makes several.

        Returns:
            The maps N×1×h×w, as Captum's ``LayerGradCam`` returns them. The values are not scaled: they are 0 or
            greater if the method rectifies its map, and have both signs otherwise.

        Raises:
            CAMError: the layer is not found or its output is not a map, the target does not fit the output, a function
                as the target does not score each row on its own, the batch is empty, or activations, scores or
                gradients contain NaN or Inf. With ``differentiable``: the method has no such maps, torch records no
                gradients, nothing requires one, or the model uses checkpointing.

        Example::

            maps = cc.GradCAM(model, "layer4").attribute(images, labels)
            assert maps.shape[:2] == (2, 1)
        """
        asked = (inputs, target, additional_forward_args, attribute_to_layer_input)
        return self._answer(partial(self.map_of, relu_attributions=relu_attributions), differentiable, *asked)

    @names_checked(OF_CALLS)
    def heatmap(
        self,
        inputs: Tensor | tuple[Tensor, ...],
        target: Any = None,
        additional_forward_args: Any = None,
        *,
        differentiable: bool = False,
    ) -> Tensor:
        """Explain a batch and give each map at the size of its image, scaled for display.

        Args:
            inputs: as in :meth:`attribute`.
            target: as in :meth:`attribute`.
            additional_forward_args: as in :meth:`attribute`.
            differentiable: as in :meth:`attribute`.

        Returns:
            The maps N×H×W, each scaled to [0, 1]; a constant map becomes zero.

        Example::

            heat = cc.GradCAM(model, "layer4").heatmap(images, target=3)
            assert heat.shape == (2, 64, 64)
        """

        def question(call: Call) -> Tensor:
            return heat(self.map_of(call), call.inputs[0].shape[2:])

        return self._answer(question, differentiable, inputs, target, additional_forward_args, False)[:, 0]
