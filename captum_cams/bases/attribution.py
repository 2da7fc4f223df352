"""The abstract classes that every method extends, and the arguments that all of them share."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, final

import torch
from captum.attr import LayerAttribution
from captum.log import log_usage
from torch import Tensor, nn

from captum_cams.argument_names import OF_CALLS, names_checked
from captum_cams.cost import Cost
from captum_cams.engine.call import Call
from captum_cams.engine.inputs import recipes
from captum_cams.engine.layers import named_layer
from captum_cams.engine.layout import Layout, NamedLayout, as_layout
from captum_cams.engine.scores import Task, check_task
from captum_cams.engine.untouched import untouched
from captum_cams.errors import CAMError, brief, check_finite, shape_of
from captum_cams.hyperparameters import Declared
from captum_cams.images import heat
from captum_cams.paper import Paper

Reshape = NamedLayout | Layout | Callable[[Tensor], Tensor] | None


class CAMAttribution(LayerAttribution, Declared, ABC):
    """A class activation map Φ(Σ_k C_k) from per-channel contributions C, N×K×h×w.

    Instances hold hyperparameters and the layer, never tensors. Whatever happens in a call, the model is left
    as it was: parameters, buffers, attributes, gradients, flags, hooks, random state.

    Several threads may explain, predict and train at once. Explanations that share a module wait for one another, as do
    all explanations of plain functions, whose modules are not known beforehand. While one thread explains a network,
    another may predict with it if it is in eval mode and its forward keeps nothing; training it, moving it, or saving
    it whole (not its state dict) has to wait until the explanation is over. A network with a compiled part makes all
    compiled code of the process run eagerly meanwhile. A part of a network that runs in threads of its own is not seen.

    Args:
        forward_func: the model, a module or any function of the inputs. A compiled or data-parallel model is
            explained through the network inside it.
        layer: a module, its dotted name, or None for the last feature layer with a spatial map, found in the
            first call and named in a log line.
        device_ids: for Captum's order of arguments; not needed here.
        reshape: what makes a map N×K×h×w of the layer's output where that is none: "tokens" for ViT, "channels_last"
            for Swin, a function, or a :class:`Layout`.
        task: what the model's output means: "multiclass", "multilabel", "binary", "regression", or a function of the
            output that gives scores; see :data:`captum_cams.engine.scores.Task`.
    """

    rectifies: ClassVar[bool] = True
    """Whether Φ is ReLU (otherwise the identity)."""
    cost: ClassVar[Cost]
    """What one image costs at most; that of a wrapper's base is not in it, see :attr:`total_cost`."""
    paper: ClassVar[Paper | None] = None
    """Where the method was published."""
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
        if not callable(forward_func) or isinstance(forward_func, CAMAttribution | type):
            if isinstance(forward_func, CAMAttribution):
                kind = type(forward_func).__name__
                remedy = f"the explainer {kind}; pass the model, and a base by name: FGCAM(model, base={kind}(model))"
            else:
                remedy = brief(forward_func) + (f"; pass {forward_func.__name__}()" if callable(forward_func) else "")
            raise CAMError(f"forward_func must be the model, a module or a function of the inputs, got {remedy}")
        super().__init__(forward_func, None if layer is None else named_layer(forward_func, layer), device_ids)
        as_layout(reshape)  # raises where it is none
        self.reshape, self.task = reshape, check_task(task)
        self.found_layer: nn.Module | None = None
        """The layer that the first call found, where none was given."""

    @property
    def layout(self) -> Layout | None:
        """What ``reshape`` stands for."""
        return as_layout(self.reshape)

    @property
    def total_cost(self) -> Cost:
        """What one image costs at most, the base of a wrapper included."""
        return self.cost

    @property
    def at_input_size(self) -> bool:
        """Whether the map is as large as the image, whatever the layer."""
        return False

    @abstractmethod
    def explain(self, call: Call) -> Tensor:
        """The contributions to the map of a call, N×K×h×w; a map without shares of channels is N×1×h×w."""

    def map_of(self, call: Call, relu_attributions: bool | None = None) -> Tensor:
        """The map of a call, N×1×h×w: what :meth:`explain` gives, summed over channels and rectified.

        Raises:
            CAMError: the contributions have no positions, or their sum holds NaN or Inf.
        """
        components = self.explain(call)
        if components.ndim < 3:
            raise CAMError(
                f"a map needs positions beside the channels, got {shape_of(components)} for inputs without them; "
                "contributions() gives one value per feature, and so do captum.attr's own methods"
            )
        summed = components.sum(1, keepdim=True)
        check_finite("the map", summed)
        rectify = self.rectifies if relu_attributions is None else relu_attributions
        return (summed.relu() if rectify else summed).contiguous()

    def map_size(self, call: Call) -> torch.Size:
        """The size h×w of the maps of a call. Unless a class knows it better, one image is explained for it."""
        return self.map_of(call.rows(call.inputs[0][:1], [0])).shape[2:]

    def _answer(
        self, question: Callable[[Call], Tensor], inputs: Any, target: Any, extra: Any, at_input: bool
    ) -> Tensor:
        """What a question about the user's call gives; the only place where a call is made, checked and guarded."""
        with recipes(self.forward_func, inputs, extra), untouched(self.forward_func) as modules:
            call = Call.of(self.forward_func, inputs, target, extra, at_input, task=self.task, modules=modules)
            first, *others = map(question, call.parts())
            return torch.cat((first, *others)) if others else first

    @final
    def contributions(
        self,
        inputs: Tensor | tuple[Tensor, ...],
        target: Any = None,
        additional_forward_args: Any = None,
        attribute_to_layer_input: bool = False,
    ) -> Tensor:
        """The map before it is summed over channels and rectified, N×K×h×w; arguments as in :meth:`attribute`."""
        return self._answer(self.explain, inputs, target, additional_forward_args, attribute_to_layer_input)

    @log_usage()
    @names_checked(OF_CALLS)
    def attribute(
        self,
        inputs: Tensor | tuple[Tensor, ...],
        target: Any = None,
        additional_forward_args: Any = None,
        attribute_to_layer_input: bool = False,
        relu_attributions: bool | None = None,
    ) -> Tensor:
        """The class activation map at the layer's size, N×1×h×w, as Captum's ``LayerGradCam`` returns it.

        Args:
            inputs: N×C×H×W, or a tuple of tensors with one batch size.
            target: what to explain, in any of Captum's forms; None is the class with the highest score. A function
                is called with the model's output for any number of rows and scores each row on its own, as
                ``lambda output: output[:, 3] - output[:, 5]``. What differs from sample to sample (labels, weights
                or boxes of the batch) takes a list of functions, one per sample.
            additional_forward_args: further arguments of the model; tensors with N rows belong to the samples.
            attribute_to_layer_input: explain the layer's input instead of its output.
            relu_attributions: True keeps positive values only, False gives the signed map, None is as the
                method's paper has it.

        Raises:
            CAMError: the layer is not found or gives no N×K×h×w map, the target does not fit the output or is a
                function that does not score each row on its own, the batch is empty, or activations, scores or
                gradients hold NaN or Inf.
        """
        question = partial(self.map_of, relu_attributions=relu_attributions)
        return self._answer(question, inputs, target, additional_forward_args, attribute_to_layer_input)

    @names_checked(OF_CALLS)
    def heatmap(
        self, inputs: Tensor | tuple[Tensor, ...], target: Any = None, additional_forward_args: Any = None
    ) -> Tensor:
        """The map at the size of the first input, N×H×W in [0, 1]; a constant map gives zeros."""
        maps = self.attribute(inputs, target, additional_forward_args)
        first = inputs[0] if isinstance(inputs, tuple) else inputs
        return heat(maps, first.shape[2:])[:, 0]
