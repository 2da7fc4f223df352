"""A model that takes its images by keyword or with the channels last, as a model that takes images N×C×H×W first."""

from inspect import signature
from typing import Any

from torch import Tensor, nn

from captum_cams.errors import CAMError, brief, near


def _keywords(model: nn.Module) -> list[str]:
    """The names of the arguments of the forward pass, with "**" if it takes any."""
    parameters = signature(model.forward).parameters.values()
    return ["**" if parameter.kind is parameter.VAR_KEYWORD else parameter.name for parameter in parameters]


class ImageInput(nn.Module):
    """Lets a model be explained that takes its images by keyword, or with the channels last.

    This module takes images N×C×H×W as its first argument and passes them to the model in the way that the model wants.
    Further arguments are passed on as they are. Layers keep their dotted names of the model.

    Args:
        model: the model.
        keyword: the name of the argument for the images, such as "pixel_values"; None passes them by position.
        channels_last: whether the model takes images N×H×W×C.

    Raises:
        CAMError: the model is not a module, or its forward takes no such keyword.

    Example::

        class Named(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.network = model

            def forward(self, text=None, pixel_values=None):
                return {"logits": self.network(pixel_values)}

        cam = cc.GradCAM(cc.ImageInput(Named(), "pixel_values"), "network.layer4")
        maps = cam.attribute(images, target=1, additional_forward_args={"text": None})
    """

    def __init__(self, model: nn.Module, keyword: str | None = None, *, channels_last: bool = False) -> None:
        if not isinstance(model, nn.Module):
            raise CAMError(
                f"model must be a module, got {brief(model)}; change a function itself: "
                "lambda images: function(pixel_values=images)"
            )
        if keyword is not None and keyword not in (known := _keywords(model)) and "**" not in known:
            raise CAMError(
                f"keyword must be an argument of the model's forward, got {keyword!r}{near(keyword, known)}; "
                f"{type(model).__name__} takes {', '.join(known)}"
            )
        super().__init__()
        self.model, self.keyword, self.channels_last = model, keyword, channels_last
        self.training = model.training

    def forward(self, images: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Run the model on images N×C×H×W."""
        images = images.movedim(1, -1).contiguous() if self.channels_last else images
        if self.keyword is None:
            return self.model(images, *args, **kwargs)
        return self.model(*args, **{self.keyword: images}, **kwargs)
