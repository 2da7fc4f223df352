"""The page of ``captum-cams explain``."""

from collections.abc import Sequence
from typing import Any

from captum_cams.registry import title
from captum_cams.visual import displayable
from lightning_callbacks.command.explained_image import ExplainedImage
from lightning_callbacks.pages.page import render
from lightning_callbacks.pages.pictures import photograph, small_map


def explained_page(
    explained: Sequence[ExplainedImage], model: str, mean: Sequence[float] | None, std: Sequence[float] | None
) -> str:
    """Write a page that shows the maps of all images.

    Args:
        explained: the images with their maps; there is at least one.
        model: the name of the model, for the heading.
        mean: mean of the normalisation, which the page undoes.
        std: standard deviation of the normalisation.

    Returns:
        The text of the page.
    """
    images: list[dict[str, Any]] = [
        {
            "file": one.file.name,
            "photograph": photograph(displayable(one.inputs, mean, std)[0]),
            "classes": [
                {
                    "caption": each.caption,
                    "maps": {title(method): small_map(map_[0, 0]) for method, map_ in each.maps.items()},
                }
                for each in one.classes
            ],
        }
        for one in explained
    ]
    columns = list(images[0]["classes"][0]["maps"])
    lead = f"{len(images)} image{'s' * (len(images) > 1)}, {', '.join(columns)}"
    return render("explained.html", {"images": images, "columns": columns}, title=f"What {model} looks at", lead=lead)
