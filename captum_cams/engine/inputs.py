"""Check the user's inputs, and say how to correct them if they do not fit the model."""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakValueDictionary

import torch
from torch import Tensor, nn

from captum_cams.engine.untouched import unwrap
from captum_cams.errors import CAMError, brief, shape_of

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_looked_at: WeakValueDictionary[int, Any] = WeakValueDictionary()
"""The models whose first images were checked. Each model is checked once, because the check waits for the GPU."""


@dataclass(frozen=True)
class Further:
    """The further arguments of a model: Captum's ``additional_forward_args``."""

    positional: tuple[Any, ...] = ()
    named: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, additional: Any) -> "Further":
        """Read ``additional_forward_args``.

        Args:
            additional: None for no argument, a tuple of positional arguments, a mapping of keyword arguments, or one
                argument of any other type.

        Raises:
            CAMError: if a mapping has a key that is no name.
        """
        if isinstance(additional, Mapping):
            wrong = next((key for key in additional if not isinstance(key, str)), None)
            if wrong is not None:
                raise CAMError(
                    "a mapping as additional_forward_args holds keyword arguments, so its keys must be names, got "
                    f"{brief(wrong)}; pass a mapping that is one argument itself in a tuple: (mapping,)"
                )
            return cls(named=dict(additional))
        if isinstance(additional, tuple):
            return cls(additional)
        return cls() if additional is None else cls((additional,))

    def __len__(self) -> int:
        return len(self.positional) + len(self.named)

    def each(self, change: Callable[[Any], Any]) -> "Further":
        """Apply a function to each argument."""
        return Further(tuple(map(change, self.positional)), {key: change(value) for key, value in self.named.items()})


def check_batch(inputs: Sequence[Any]) -> int:
    """Return the batch size, or raise a CAMError unless all inputs are tensors with the same non-empty batch axis."""
    if not inputs:
        raise CAMError("inputs must be a tensor N×C×H×W, or a tuple of at least one tensor, got an empty tuple")
    for tensor in inputs:
        if not isinstance(tensor, Tensor):
            raise CAMError(
                f"inputs must be a tensor N×C×H×W, or a tuple of tensors for a model that takes several, got "
                f"{type(tensor).__name__}; {_recipe(tensor)}"
            )
        if tensor.ndim == 0 or tensor.shape[0] == 0:
            raise CAMError(
                f"inputs must hold at least one sample (N×C×H×W), got {shape_of(tensor)}; skip empty batches"
            )
    sizes = {tensor.shape[0] for tensor in inputs}
    if len(sizes) != 1:
        raise CAMError(
            f"all inputs must have the same batch size, got the sizes {sorted(sizes)}; cut them to the same samples"
        )
    return sizes.pop()


def check_images(forward_func: Callable[..., Any], images: Tensor) -> None:
    """Raise a CAMError if an image network gets one image without a batch axis, which some layers would accept.

    Warn, once for each model, if the first images look like bytes that were not normalised.
    """
    model = unwrap(forward_func)
    if images.ndim == 3 and isinstance(model, nn.Module):
        kinds = {type(module) for module in model.modules()}
        if nn.Conv2d in kinds and nn.Conv1d not in kinds:
            raise CAMError(f"inputs must be N×C×H×W, got {shape_of(images)}; add the batch axis: image[None]")
    if id(model) in _looked_at or not images.is_floating_point():
        return
    with suppress(TypeError):  # objects without weak references are checked in every call
        _looked_at[id(model)] = model
    if images.ndim == 4 and images.numel():
        least, most = (float(value) for value in images.aminmax())
        if least >= 0 and 20 < most <= 65535:
            warnings.warn(
                f"the inputs range from {least:.3g} to {most:.3g}: are they still in 0…255? Divide them by 255 and "
                "normalise them as in training. If the model does this itself, ignore this warning",
                stacklevel=2,
            )


@contextmanager
def recipes(forward_func: Callable[..., Any], inputs: Any, additional: Any = None) -> Iterator[None]:
    """If the model cannot run on these inputs, raise an error that says how to correct them.

    Nothing is refused before the run, because a model may accept grey, channels-last or integer images.

    Raises:
        CAMError: if the form of the inputs explains the error of the run. Any other error is raised unchanged.
    """
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, TypeError) as error:
        given = inputs if isinstance(inputs, tuple) else (inputs,)
        count = len(given) + len(Further.of(additional).positional)
        remedy = _several(count, error) or _remedy(unwrap(forward_func), given[0], error)
        if remedy is None:
            raise
        raise CAMError(remedy) from error


def _several(count: int, error: Exception) -> str | None:
    if count > 1 and isinstance(error, TypeError) and "positional argument" in str(error):
        return (
            f"the model does not take {count} arguments; each tensor in the tuple of inputs is one argument, and so is "
            "each value of additional_forward_args, the third parameter. For a batch (images, labels) call "
            "attribute(images, labels): the labels are the targets"
        )
    return None


def _remedy(model: Any, images: Tensor, error: Exception) -> str | None:
    if not isinstance(error, RuntimeError):
        return None
    modules = list(model.modules()) if isinstance(model, nn.Module) else []
    weights = [weight for module in modules for weight in module.parameters(False)]
    dtypes = {weight.dtype for weight in weights if weight.is_floating_point()}
    devices = {weight.device for weight in weights}
    if devices and images.device not in devices:
        device = str(devices.pop())
        return f"the inputs must be on the model's device, {device}, got {images.device}; pass inputs.to({device!r})"
    if not images.is_floating_point() and not images.is_complex():
        return (
            f"the inputs must be floating-point numbers for this model, got {images.dtype}; "
            "pass inputs.float() / 255, normalised as in training"
        )
    if len(dtypes) == 1 and images.is_floating_point() and images.dtype not in dtypes and _of_types(error):
        dtype = dtypes.pop()
        name = {torch.float32: "float()", torch.float64: "double()", torch.float16: "half()"}.get(dtype)
        name = name or f"{str(dtype).removeprefix('torch.')}()"
        return f"the inputs must be {dtype} like the weights of the model, got {images.dtype}; pass inputs.{name}"
    first = next((module for module in modules if isinstance(module, _CONVOLUTIONS)), None)
    if first is not None and images.ndim == first.weight.ndim and images.shape[1] != first.in_channels:
        return _channels(images, first.in_channels)
    if first is not None and images.ndim != first.weight.ndim:
        axes = "×".join(("N", "C", "D", "H", "W")) if first.weight.ndim == 5 else "×".join("NCHW"[: first.weight.ndim])
        return (
            f"the first convolution takes inputs {axes}, got {shape_of(images)}; pass the frames of a video as images"
        )
    if "shapes cannot be multiplied" in str(error):
        return (
            f"images {shape_of(images)} do not fit a linear layer of the model, which may accept only one image size; "
            "resize the images as in training"
        )
    return None


def _of_types(error: Exception) -> bool:
    """Tell whether torch's message is about two types that differ."""
    return any(word in str(error) for word in ("type", "Half", "Double", "BFloat16"))


def _channels(images: Tensor, wanted: int) -> str:
    got = images.shape[1]
    if images.ndim == 4 and images.shape[-1] == wanted:
        remedy = "the channels come before height and width: pass inputs.permute(0, 3, 1, 2)"
    elif images.ndim == 4 and got == 1:
        remedy = f"for grey images pass inputs.expand(-1, {wanted}, -1, -1)"
    elif images.ndim == 4 and wanted == 1:
        remedy = "make the images grey: inputs.mean(1, keepdim=True)"
    elif (got, wanted) == (4, 3):
        remedy = "remove the transparency channel: inputs[:, :3]"
    else:
        remedy = "was the model trained on such images?"
    return f"the first convolution takes {wanted} channels, got {got} in inputs {shape_of(images)}; {remedy}"


def _recipe(value: Any) -> str:
    """Say how to make images N×C×H×W from another value."""
    shape = getattr(value, "shape", None)
    if isinstance(value, list) and value and isinstance(value[0], Tensor):
        return "pass torch.stack(inputs); of a batch (images, labels) pass the images, and the labels as target"
    if isinstance(value, dict):
        key = next((str(key) for key, held in value.items() if isinstance(held, Tensor)), "images")
        return f'pass the images alone, such as inputs["{key}"]'
    if isinstance(shape, tuple) and len(shape) == 4:
        return (
            "pass torch.from_numpy(inputs) as float32 and N×C×H×W: .float(), .permute(0, 3, 1, 2) if channels are last"
        )
    if isinstance(shape, tuple):
        source = "Image.fromarray(array)"
    elif isinstance(value, str) or hasattr(value, "__fspath__"):
        source = 'Image.open(path).convert("RGB")'
    elif hasattr(value, "convert"):
        source = 'image.convert("RGB")'
    else:
        return "images come first, then the target: attribute(images, target)"
    return (
        "make a tensor with the transform used in training:\n"
        "    transform = torchvision.models.ResNet50_Weights.DEFAULT.transforms()  # or your own\n"
        f"    inputs = transform({source}).unsqueeze(0)"
    )
