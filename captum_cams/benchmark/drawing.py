"""Draw objects on a canvas: shapes in plain colours, each pixel with a code of what was painted there."""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

SIZE = 32
"""Side of the images in pixels."""
PALETTE = torch.tensor(
    [
        *((0.90, 0.15, 0.15), (0.15, 0.25, 0.90)),  # red and blue, which are classes
        *((0.90, 0.85, 0.15), (0.15, 0.75, 0.20), (0.15, 0.80, 0.85), (0.85, 0.20, 0.80)),
    ]
)
"""The colours of objects: red, blue, yellow, green, cyan and magenta."""
_OCCLUDER, _MARK = 1000, 1001  # codes above those of all objects


@dataclass(frozen=True)
class Objects:
    """M objects in each of N scenes; a later one is painted over an earlier one.

    Args:
        kinds: N×M, which shape: 0 disc, 1 square, 2 cross, 3 triangle, 4 ring.
        hues: N×M, which colour of the palette.
        centres: N×M×2, (x, y) in pixels.
        radii: N×M, half of the side of the square around each shape before it is turned, in pixels.
        angles: N×M, how far each shape is turned, in radians.
        present: N×M booleans, whether the object is there.
    """

    kinds: Tensor
    hues: Tensor
    centres: Tensor
    radii: Tensor
    angles: Tensor
    present: Tensor

    def changed(self, **parts: Tensor) -> "Objects":
        """The same objects with other values of some fields."""
        return replace(self, **parts)

    def shapes(self) -> Tensor:
        """The pixels of each object, whether hidden or not: N×M×S×S booleans."""
        x, y = (self.centres[..., axis, None, None] for axis in (0, 1))
        line = torch.arange(SIZE) + 0.5
        across, down = line[None, :] - x, line[:, None] - y
        cos, sin = self.angles.cos()[..., None, None], self.angles.sin()[..., None, None]
        radii = self.radii[..., None, None]
        u, v = (cos * across + sin * down) / radii, (cos * down - sin * across) / radii
        kinds = self.kinds[..., None, None]
        inside = torch.zeros_like(u, dtype=torch.bool)
        for kind, points in enumerate(_outlines(u, v)):
            inside |= points & (kinds == kind)
        return inside & self.present[..., None, None]


def _outlines(u: Tensor, v: Tensor) -> tuple[Tensor, ...]:
    """Which points of the square [−1, 1]² belong to each kind of shape."""
    distance = (u**2 + v**2).sqrt()
    longer, shorter = torch.maximum(u.abs(), v.abs()), torch.minimum(u.abs(), v.abs())
    return (
        distance < 1,
        longer < 0.88,
        (longer < 1) & (shorter < 0.33),
        (v < 0.8) & (v > 2 * u.abs() - 1),
        (distance < 1) & (distance > 0.6),
    )


class Canvas:
    """The background and the textures of N scenes, on which objects are painted as often as wanted.

    The same object has the same pixels each time. So two pictures differ only where their codes do.

    Args:
        count: number of scenes.
        objects: number of objects that a scene has at most.
        textured: whether background and objects have stripes and coarse noise, instead of fine noise only.
        generator: where the random numbers come from.
    """

    def __init__(self, count: int, objects: int, textured: bool, generator: Generator) -> None:
        self._background = (
            0.3 + 0.4 * torch.rand(count, 1, 1, 1, generator=generator) + self._texture(count, textured, generator)
        )
        self._jitter = 0.1 * torch.rand(count, objects, 3, 1, 1, generator=generator) - 0.05
        self._textures = [self._texture(count, textured, generator) for _ in range(objects)]
        self._bar = 0.1 + 0.8 * (torch.rand(count, 1, 1, 1, generator=generator) > 0.5)

    @staticmethod
    def _texture(count: int, textured: bool, generator: Generator) -> Tensor:
        """What is added to a plain colour: N×3×S×S."""
        noise = torch.zeros(count, 3, SIZE, SIZE)
        for cells, strength in ((4, 0.03), (SIZE, 0.02)):
            field = torch.randn(count, 3, cells, cells, generator=generator)
            noise += strength * (field if cells == SIZE else F.interpolate(field, (SIZE, SIZE), mode="bilinear"))
        if textured:
            angle = 2 * torch.pi * torch.rand(2, count, 1, 1, 1, generator=generator)
            line = torch.arange(SIZE) / SIZE
            wave = angle[0].cos() * line[None, :] + angle[0].sin() * line[:, None]
            periods = 3.5 + 3 * torch.rand(count, 1, 1, 1, generator=generator)
            noise += 0.1 * (2 * torch.pi * periods * wave + angle[1]).sin()
            coarse = torch.randn(count, 1, 8, 8, generator=generator)
            noise += 0.06 * F.interpolate(coarse, (SIZE, SIZE), mode="bilinear")
        return noise

    def paint(
        self, objects: Objects, occluder: Tensor | None = None, mark: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Paint objects, then what hides them.

        Args:
            objects: what the scenes show.
            occluder: N×S×S booleans, the pixels of a grey bar over the objects.
            mark: N×S×S integers: 0 for no mark, 1 for black and 2 for white.

        Returns:
            The images N×3×S×S in [0, 1], and the codes N×S×S: 0 for the background, otherwise a number that says which
            object is seen there and in which colour.
        """
        images, codes = self._background, torch.zeros(len(self._background), SIZE, SIZE, dtype=torch.long)
        shapes = objects.shapes()
        for index, texture in enumerate(self._textures):
            hues = objects.hues[:, index]
            colours = PALETTE[hues][..., None, None] + self._jitter[:, index] + texture
            images = images.where(~shapes[:, index, None], colours)
            painted = (1 + index * len(PALETTE) + hues)[:, None, None]
            codes = codes.where(~shapes[:, index], painted)
        if occluder is not None:
            images = images.where(~occluder[:, None], self._bar)
            codes = codes.where(~occluder, _OCCLUDER)
        if mark is not None:
            images = images.where(mark[:, None] == 0, (mark[:, None] - 1).float())
            codes = codes.where(mark == 0, _MARK)
        return images.clamp(0, 1), codes

    @staticmethod
    def seen(codes: Tensor, asked: Tensor) -> Tensor:
        """The visible pixels of the objects ``asked``, N×M booleans, as N×S×S booleans."""
        owner = (codes - 1).div(len(PALETTE), rounding_mode="floor")
        return torch.stack([(owner == m) & asked[:, m, None, None] for m in range(asked.shape[1])], 1).any(1)
