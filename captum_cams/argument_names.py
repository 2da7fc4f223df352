"""Check the names of arguments, and translate the names that other libraries use."""

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
_PLACE = "the maps are on the device of the model and the images: call model.to(device) and images.to(device)"
_IN_THE_CALL = "pass it to the call instead: attribute(images, target)"
_IMAGES = "here they are called inputs and come first: attribute(images)"
_TARGET = "here it is called target: one class, or a list or a tensor with a class for each image"
_CHUNK = "here it is called perturbations_per_eval; only methods that run the model on changed images have it"

# The names of arguments in pytorch-grad-cam, TorchCAM and Captum, each with its name here.
OF_CONSTRUCTORS = {
    **dict.fromkeys(("model", "net", "network"), _MODEL),
    **dict.fromkeys(("target_layers", "target_layer", "target_layer_names", "conv_layer", "layers"), _LAYER),
    **dict.fromkeys(("use_cuda", "device", "cuda"), _PLACE),
    **dict.fromkeys(("target", "targets", "inputs", "input_tensor"), _IN_THE_CALL),
    **dict.fromkeys(("batch_size", "internal_batch_size"), _CHUNK),
    "reshape_transform": 'here it is called reshape: "tokens" for ViT, "channels_last" for Swin, or a function',
    "input_shape": "it is not needed, because the first call finds the layer",
}
OF_CALLS = {
    **dict.fromkeys(("input_tensor", "input", "images", "image", "x"), _IMAGES),
    **dict.fromkeys(("targets", "target_category", "class_idx", "class_index", "label", "labels"), _TARGET),
    **dict.fromkeys(("batch_size", "internal_batch_size"), _CHUNK + "; pass it to the constructor"),
    "eigen_smooth": "EigenCAM gives the first principal component of the activations",
    "aug_smooth": "AugmentedCAM(model, base=…) gives the mean over changed images",
    "relu": "here it is called relu_attributions",
}


class Called:
    """Checks the options of a constructor, and says what to use instead of calling the explainer itself."""

    wraps: ClassVar[bool] = False
    """Whether the class is a wrapper, which takes another explainer as its ``base``."""

    def __new__(cls: type[_Self], *args: Any, **options: Any) -> _Self:
        known = (*options_of(cls), *_OF_ALL)
        for name in options:
            if name not in known:
                refuse_option(cls, name)
        return super().__new__(cls)

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Say which method to call instead.

        Raises:
            CAMError: always.
        """
        raise CAMError(
            "an explainer is not a function: call .attribute(images, target) for maps at the layer's size, or "
            ".heatmap(images, target) for maps in [0, 1] at the images' size"
        )

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Do nothing, because every call removes its own hooks."""


def options_of(cls: type) -> dict[str, Any]:
    """Read the hyperparameters of a class, with their defaults, from its constructors.

    They are the arguments except the model, the layer and ``device_ids``. If a constructor takes ``**options``, the
    arguments of the classes that it extends are included.
    """
    found: dict[str, Any] = {}
    for base in cls.__mro__:
        if "__init__" in vars(base):
            parameters = inspect.signature(vars(base)["__init__"]).parameters.values()
            named = [item for item in parameters if item.kind not in (item.VAR_KEYWORD, item.VAR_POSITIONAL)]
            found = {item.name: item.default for item in named if item.name not in ("self", *_OF_ALL)} | found
            if not any(item.kind is item.VAR_KEYWORD for item in parameters):
                break
    return found


def check_kept(explainer: Called) -> None:
    """Raise an error unless each hyperparameter is an attribute of the same name."""
    for name in options_of(type(explainer)):
        if not hasattr(explainer, name):
            raise CAMError(
                f"{type(explainer).__name__} must keep its argument {name} as an attribute of the same name; "
                f"write self.{name} = {name} in its constructor"
            )


def refuse_option(cls: type, name: str) -> NoReturn:
    """Raise an error for an unknown option, with similar names or the translation from another library."""
    known = sorted(options_of(cls))
    raise CAMError(f'{cls.__name__} has no option "{name}"{_hint(name, known, OF_CONSTRUCTORS)}')


def names_checked(foreign: Mapping[str, str]) -> Callable[[Callable[_P, _T]], Callable[_P, _T]]:
    """Make a decorator that explains unknown arguments of a function, also those with a ``foreign`` name."""

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
    """Whether a call with these arguments fits the signature."""
    try:
        signature.bind(*args, **kwargs)
    except TypeError:
        return False
    return True


def _hint(name: str, known: Sequence[str], foreign: Mapping[str, str]) -> str:
    """Write what an unknown argument is called here, similar names, or all names."""
    if name in foreign:
        return f"; {foreign[name]}"
    return near(name, known) or f"; it has {', '.join(known) or 'none'}"
