"""A data set of drawn images: coloured shapes of several classes on backgrounds with a texture."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import Dataset

CLASSES = ("circle", "square", "triangle", "cross", "ring")


def shape_mask(kind: int, u: Tensor, v: Tensor) -> Tensor:
    """Tell which points of the square [−1, 1]² belong to a shape."""
    radius = (u**2 + v**2).sqrt()
    longer, shorter = torch.maximum(u.abs(), v.abs()), torch.minimum(u.abs(), v.abs())
    masks = (
        lambda: radius < 1,
        lambda: longer < 0.88,
        lambda: (v < 0.75) & (v > 1.9 * u.abs() - 1.0),
        lambda: (longer < 1) & (shorter < 0.3),
        lambda: (radius < 1) & (radius > 0.55),
    )
    return masks[kind]()


class Shapes(Dataset):
    """Images with three shapes of different classes each; the label is the class of the largest shape.

    The attributes are ``images`` (N×3×S×S in [0, 1]), ``labels`` (N), ``kinds`` (N×3, the classes of the shapes, the
    largest first), ``masks`` (N×3×S×S, the visible part of each shape) and ``boxes`` (N×3×4, x0, y0, x1, y1 around the
    masks, ends excluded).

    Args:
        count: number of images.
        size: side of the images in pixels.
        seed: of the random numbers; the same seed draws the same images.
        transform: function that is applied to the image of each item.
    """

    def __init__(
        self, count: int, size: int = 64, seed: int = 0, transform: Callable[[Tensor], Tensor] | None = None
    ) -> None:
        self.transform = transform or (lambda image: image)
        generator = torch.Generator().manual_seed(seed)
        drawn = [self._draw(size, generator) for _ in range(count)]
        images, kinds, masks = zip(*drawn, strict=True)
        self.images, self.kinds, self.masks = torch.stack(images), torch.stack(kinds), torch.stack(masks)
        self.labels = self.kinds[:, 0]
        self.boxes = torch.stack([_box(mask) for mask in self.masks.flatten(0, 1)]).view(count, 3, 4)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.transform(self.images[index]), self.labels[index]

    @staticmethod
    def _draw(size: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        def uniform(low: float, high: float, *shape: int) -> Tensor:
            return low + (high - low) * torch.rand(*shape, generator=generator)

        image = 0.35 + 0.3 * torch.rand(3, 1, 1, generator=generator).expand(3, size, size)
        for cells in (4, 16, size):
            noise = torch.randn(1, 3, cells, cells, generator=generator)
            image = image + 0.06 * F.interpolate(noise, (size, size), mode="bilinear")[0]
        kinds = torch.randperm(len(CLASSES), generator=generator)[:3]
        y, x = torch.meshgrid(torch.arange(size) + 0.5, torch.arange(size) + 0.5, indexing="ij")
        corners = torch.randperm(4, generator=generator)  # each shape has its own quarter of the image
        masks = torch.zeros(3, size, size, dtype=torch.bool)
        for i in (2, 1, 0):  # the largest is drawn last, over the others
            radius = float(uniform(0.19, 0.23, 1) if i == 0 else uniform(0.10, 0.14, 1)) * size
            quarter = torch.stack((corners[i] % 2, corners[i] // 2)) * 0.5 + 0.25
            cx, cy = (quarter * size + uniform(-0.03, 0.03, 2) * size).tolist()
            angle = float(uniform(-0.3, 0.3, 1))
            u, v = (x - cx) / radius, (y - cy) / radius
            cos, sin = math.cos(angle), math.sin(angle)
            mask = shape_mask(int(kinds[i]), cos * u + sin * v, cos * v - sin * u)
            masks &= ~mask
            masks[i] = mask
            colour = uniform(0.0, 1.0, 3, 1, 1)
            image = torch.where(mask, colour + 0.04 * torch.randn(3, size, size, generator=generator), image)
        return image.clamp(0, 1), kinds, masks


def _box(mask: Tensor) -> Tensor:
    rows, columns = mask.any(1).nonzero()[:, 0], mask.any(0).nonzero()[:, 0]
    return torch.stack((columns[0], rows[0], columns[-1] + 1, rows[-1] + 1))
