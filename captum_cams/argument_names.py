"""How explainers are made and called: names of arguments are checked, and those of other libraries translated."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any, ClassVar, NoReturn, ParamSpec, TypeVar

from captum_cams.errors import CAMError, near

_P = ParamSpec("_P")
_T = TypeVar("_T")
_Self = TypeVar("_Self", bound="Called")

_OF_ALL = ("forward_func", "layer", "device_ids")

_MODEL = "here it is called forward_func and comes first: GradCAM(model)"
_LAYER = "here it is called layer: one module, or its dotted name; several: MultiLayerCAM(model, layers=[…])"
_PLACE = "the maps are made where the model and the images are: model.to(device), images.to(device)"
_IN_THE_CALL = "it belongs to the call: attribute(images, target)"
_IMAGES = "here they are called inputs and come first: attribute(images)"
_TARGET = "here it is called target: a class, or one for each image in a list or a tensor"
_CHUNK = "here it is called perturbations_per_eval, which the methods have that run changed images"

# What pytorch-grad-cam, TorchCAM and Captum call the arguments of their constructors, and of their calls.
OF_CONSTRUCTORS = {
    **dict.fromkeys(("model", "net", "network"), _MODEL),
    **dict.fromkeys(("target_layers", "target_layer", "target_layer_names", "conv_layer", "layers"), _LAYER),
    **dict.fromkeys(("use_cuda", "device", "cuda"), _PLACE),
    **dict.fromkeys(("target", "targets", "inputs", "input_tensor"), _IN_THE_CALL),
    **dict.fromkeys(("batch_size", "internal_batch_size"), _CHUNK),
    "reshape_transform": 'here it is called reshape: "tokens" for ViT, "channels_last" for Swin, or a function',
    "input_shape": "no shape is needed, since the layer is found in the first call",
}
OF_CALLS = {
    **dict.fromkeys(("input_tensor", "input", "images", "image", "x"), _IMAGES),
    **dict.fromkeys(("targets", "target_category", "class_idx", "class_index", "label", "labels"), _TARGET),
    **dict.fromkeys(("batch_size", "internal_batch_size"), _CHUNK + "; it belongs to the constructor"),
    "eigen_smooth": "the first principal component of the activations is EigenCAM's map",
    "aug_smooth": "the mean over changed images is AugmentedCAM(model, base=…)",
    "relu": "here it is called relu_attributions",
}


class Called:
    """What a constructor's arguments, a call and a ``with`` mean to an explainer."""

    wraps: ClassVar[bool] = False
    """Whether the class explains with another explainer, its ``base``."""

    def __new__(cls: type[_Self], *args: Any, **options: Any) -> _Self:
        known = (*options_of(cls), *_OF_ALL)
        for name in options:
            if name not in known:
                refuse_option(cls, name)
        return super().__new__(cls)

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Say what to call.

        Raises:
            CAMError: always.
        """
        raise CAMError(
            "an explainer is no function: call .attribute(images, target) for maps at the layer's size, or "
            ".heatmap(images, target) for maps in [0, 1] at the images' size"
        )

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(self, *error: object) -> None:
        """There is nothing to give back: hooks live for one call."""


def options_of(cls: type) -> dict[str, Any]:
    """The hyperparameters of a class, with their defaults.

    They are the arguments of its constructor beside the model, the layer and ``device_ids``, and where it hands on
    ``**options``, those of the classes that it extends.
    """
    found: dict[str, Any] = {}
    for base in cls.__mro__:
        if "__init__" in vars(base):
            parameters = inspect.signature(vars(base)["__init__"]).parameters.values()
            named = [one for one in parameters if one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL)]
            found = {one.name: one.default for one in named if one.name not in ("self", *_OF_ALL)} | found
            if not any(one.kind is one.VAR_KEYWORD for one in parameters):
                break
    return found


def check_kept(explainer: Called) -> None:
    """Raise unless each hyperparameter is an attribute of the same name."""
    for name in options_of(type(explainer)):
        if not hasattr(explainer, name):
            raise CAMError(
                f"{type(explainer).__name__} must keep its argument {name} as an attribute of the same name; "
                f"write self.{name} = {name} in its constructor"
            )


def refuse_option(cls: type, name: str) -> NoReturn:
    """Raise for an option that a class does not have, with near names or another library's translated."""
    known = sorted(options_of(cls))
    raise CAMError(f'{cls.__name__} has no option "{name}"{_hint(name, known, OF_CONSTRUCTORS)}')


def names_checked(foreign: Mapping[str, str]) -> Callable[[Callable[_P, _T]], Callable[_P, _T]]:
    """Decorate a function whose users may know its arguments by the ``foreign`` names."""

    def decorate(function: Callable[_P, _T]) -> Callable[_P, _T]:
        signature = inspect.signature(function)
        known = [name for name in signature.parameters if name not in ("self", "options")]

        @wraps(function)
        def checked(*args: _P.args, **kwargs: _P.kwargs) -> _T:
            unknown = [name for name in kwargs if name not in known]
            if unknown and not _binds(signature, args, kwargs):
                called = function.__qualname__.removesuffix(".__init__").rpartition(".")[2]
                raise CAMError(f'{called} has no argument "{unknown[0]}"{_hint(unknown[0], known, foreign)}')
            return function(*args, **kwargs)

        return checked

    return decorate


def _binds(signature: inspect.Signature, args: Any, kwargs: Any) -> bool:
    try:
        signature.bind(*args, **kwargs)
    except TypeError:
        return False
    return True


def _hint(name: str, known: Sequence[str], foreign: Mapping[str, str]) -> str:
    if name in foreign:
        return f"; {foreign[name]}"
    return near(name, known) or f"; it has {', '.join(known) or 'none'}"
