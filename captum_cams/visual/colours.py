"""The colours of maps, and how they cover a photograph."""

import torch
from matplotlib import colormaps
from torch import Tensor

from captum_cams.errors import CAMError

ALPHA = 0.75
_PLAIN, _SIGNED = ("plasma", 0.1, 1.0), ("RdBu_r", 0.1, 0.9)
_LUMA = torch.tensor([0.299, 0.587, 0.114])


def palette(signed: bool, colormap: str | None = None) -> Tensor:
    """Take the colours of a map, from its lowest to its highest value.

    Without a sign, they are those of matplotlib's plasma from 0.1 upwards: violet, red, yellow. Their lightness grows
    evenly, so that they survive grey print and colour blindness, and their violet is rare in photographs. Seen over
    photographs of animals, people, food and buildings, viridis tinted faces green, and the low ends of magma and
    inferno looked like shadows. With a sign, they are those of RdBu_r from 0.1 to 0.9: blue below zero, red above.

    Args:
        signed: whether zero is in the middle.
        colormap: the name of another colour map of matplotlib, which is taken from end to end.

    Returns:
        The colours 256×3 in [0, 1].

    Raises:
        CAMError: matplotlib has no such colour map.

    Example::

        from captum_cams import visual

        print(visual.palette(signed=True)[0])  # blue
    """
    name, first, last = (_SIGNED if signed else _PLAIN) if colormap is None else (colormap, 0.0, 1.0)
    if name not in colormaps:
        raise CAMError(f'colormap must be the name of a colour map of matplotlib, got "{name}"; take "viridis", say')
    colours = colormaps[name](torch.linspace(first, last, 256).numpy())[:, :3]
    return torch.from_numpy(colours.copy()).float()


def paint(images: Tensor, values: Tensor, signed: bool, alpha: float = ALPHA, colormap: str | None = None) -> Tensor:
    """Cover images with the colours of scaled maps.

    Where a map is zero, the image stays as it is. With the magnitude v of the value, the image loses its own colours
    by the share v, so that what is coloured there is the map alone, and the colours cover it by the share alpha · v.

    Args:
        images: N×3×H×W or N×3×D×H×W in [0, 1].
        values: N×1×H×W or N×1×D×H×W, in [0, 1], or in [−1, 1] if signed.
        signed: as in :func:`palette`.
        alpha: how much the colours cover the image where the magnitude is 1, 0 to 1.
        colormap: as in :func:`palette`.

    Returns:
        The pictures in [0, 1], with the shape of ``images``.

    Raises:
        CAMError: ``alpha`` is not from 0 to 1, or there is no such colour map.

    Example::

        from captum_cams import visual

        values = torch.linspace(0, 1, 64).expand(2, 1, 64, 64)
        pictures = visual.paint(images, values, signed=False)
        assert torch.equal(pictures[..., 0], images[..., 0])
    """
    if not 0 <= alpha <= 1:
        raise CAMError(f"alpha must be from 0 (the image alone) to 1 (the colours alone), got {alpha}")
    places = ((values[:, 0] + 1) / 2 if signed else values[:, 0]) * 255
    colours = palette(signed, colormap)[places.round().long()].movedim(-1, 1)
    strength = values.abs()
    grey = (images * _LUMA.view(3, *[1] * (images.ndim - 2))).sum(1, keepdim=True)
    base = images + strength * (grey - images)
    return (base + alpha * strength * (colours - base)).clamp(0, 1)
