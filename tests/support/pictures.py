"""Colours, and places of pictures in figures, worked out without the code that draws them."""

import matplotlib as mpl
import torch

SIGNED, PLAIN = ("RdBu_r", 0.1, 0.9), ("plasma", 0.1, 1.0)


def plain(*colours: torch.Tensor, side: int = 8) -> torch.Tensor:
    """One image of each colour."""
    return torch.stack(colours)[:, :, None, None].expand(-1, -1, side, side)


def covered(colour: torch.Tensor, value: float, alpha: float = 0.75, kind=PLAIN) -> torch.Tensor:
    """A pixel of this colour under a map with this value."""
    name, first, last = kind
    share = (value + 1) / 2 if kind is SIGNED else value
    over = torch.tensor(mpl.colormaps[name](first + (last - first) * round(share * 255) / 255)[:3])
    grey = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]
    own = (1 - abs(value)) * colour + abs(value) * grey
    return ((1 - alpha * abs(value)) * own + alpha * abs(value) * over).float()


def pictures_of(figure) -> list[tuple[tuple[float, ...], torch.Tensor]]:
    """The pictures of a drawn panel with their places in points (left, right, bottom, top), in the order of drawing."""
    (axes,) = figure.axes
    return [(image.get_extent(), torch.from_numpy(image.get_array().data) / 255) for image in axes.images]


def texts_of(figure) -> dict[str, tuple[float, float, float, float]]:
    """The lines of text of a drawn panel, as left, top, right and bottom in pixels from the upper left corner."""
    figure.pixels()
    (axes,) = figure.axes
    height = figure.bbox.height
    boxes = {text.get_text(): text.get_window_extent() for text in axes.texts}
    return {words: (box.x0, height - box.y1, box.x1, height - box.y0) for words, box in boxes.items()}
