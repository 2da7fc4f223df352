"""Drawn scenes in which, by construction, it is known which pixels decide about a class."""

from dataclasses import dataclass, fields
from typing import Literal, get_args

import torch
from torch import Generator, Tensor

from captum_cams.benchmark.drawing import PALETTE, SIZE, Canvas, Objects
from captum_cams.errors import check_at_least, check_choice

CLASSES = ("disc", "square", "cross", "triangle", "red", "blue", "ring")
"""What a scene may show, any number at once. The mark decides about "ring", see :func:`draw_scenes`."""
Factor = Literal[
    "one_object",
    "several_of_one_class",
    "several_classes",
    "small",
    "large",
    "textured",
    "partly_hidden",
    "shortcut",
    "colour_only",
    "shape_only",
]
"""What is special about a scene; see :func:`draw_scenes`."""
FACTORS: tuple[Factor, ...] = get_args(Factor)
_SHAPES, _COLOURS = 4, 2  # the first classes are shapes, then come colours, then the class of the mark
RING = CLASSES.index("ring")
# The shape that each becomes where shape alone decides: it covers a part of the first shape, never all of it.
_UNLIKE = torch.tensor([CLASSES.index(name) for name in ("cross", "triangle", "triangle", "cross")])


@dataclass(frozen=True)
class Scenes:
    """N scenes with the pixels that decide about one class of each, as :func:`draw_scenes` makes them.

    Args:
        images: N×3×32×32 in [0, 1].
        labels: N×7 booleans, which of ``CLASSES`` a scene has.
        classes: N, the class that is asked about; each scene has it.
        masks: N×32×32 booleans, the visible pixels of the objects of that class.
        deciding: N×32×32 booleans, the pixels in which the counterfactual differs.
        counterfactuals: N×3×32×32, the same scenes without the class that is asked about.
        counterfactual_labels: N×7 booleans.

    Example::

        from captum_cams import benchmark

        scenes = benchmark.draw_scenes("several_classes", 4)
        changed = (scenes.images != scenes.counterfactuals).any(1)
        assert not changed[~scenes.deciding].any()
    """

    images: Tensor
    labels: Tensor
    classes: Tensor
    masks: Tensor
    deciding: Tensor
    counterfactuals: Tensor
    counterfactual_labels: Tensor

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, rows: Tensor | slice) -> "Scenes":
        """Take some of the scenes.

        Args:
            rows: a slice, N booleans, or the numbers of the scenes.

        Returns:
            These scenes, in this order.

        Example::

            from captum_cams import benchmark

            print(len(benchmark.draw_scenes("small", 4)[:2]))  # 2
        """
        return Scenes(*(getattr(self, field.name)[rows] for field in fields(self)))


def draw_scenes(factor: Factor, count: int, seed: int = 0) -> Scenes:
    """Draw scenes of one kind; the same seed draws the same scenes.

    In each scene, some pixels are changed so that one class is no longer there. What the change is depends on the
    factor:

    - ``one_object``, ``small``, ``large``, ``textured`` (background and object have stripes): the only object is
      removed.
    - ``several_of_one_class``: two or three objects of one class, all of which are removed.
    - ``several_classes``: three objects of three classes, of which one is removed.
    - ``partly_hidden``: a grey bar hides a part of the object; the rest is removed, and the bar stays.
    - ``shortcut``: a ring, and a small mark in a corner. The label "ring" is there if and only if the mark is, as in a
      data set in which someone has marked the pictures of a class. The mark is removed, the ring stays.
    - ``colour_only``: three objects of one shape, of which one is red or blue. That one gets another colour.
    - ``shape_only``: three objects in one colour, of which one has the shape that is asked about. That one gets another
      shape in the same place, which covers a part of the object. The pixels that both shapes share do not change, so
      they do not decide; the other pixels of either shape do.

    Args:
        factor: one of ``FACTORS``.
        count: number of scenes, at least 1.
        seed: of the random numbers.

    Returns:
        The scenes.

    Raises:
        CAMError: there is no such factor, or ``count`` is less than 1.

    Example::

        from captum_cams import benchmark

        scenes = benchmark.draw_scenes("partly_hidden", 4, seed=1)
        print([benchmark.CLASSES[index] for index in scenes.classes])
    """
    check_choice("factor", factor, Factor)
    check_at_least("count", count, 1)
    generator = Generator().manual_seed(seed * len(FACTORS) + FACTORS.index(factor))
    return _Pencil(factor, count, generator).scenes()


class _Pencil:
    """Draws scenes of one factor."""

    def __init__(self, factor: Factor, count: int, generator: Generator) -> None:
        self.factor, self.count, self.generator = factor, count, generator

    def scenes(self) -> Scenes:
        several = self.factor in ("several_of_one_class", "several_classes", "colour_only", "shape_only")
        objects = self._several() if several else self._single()
        asked = torch.zeros_like(objects.present)
        asked[:, 0] = True
        other, classes = objects.changed(present=objects.present & ~asked), objects.kinds[:, 0]
        occluder, mark = None, None
        if self.factor == "several_of_one_class":
            asked = objects.present
            other = objects.changed(present=torch.zeros_like(asked))
        elif self.factor == "partly_hidden":
            occluder = self._bar(objects)
        elif self.factor == "shortcut":
            mark, other, classes = draw_mark(self.count, self.generator), objects, torch.full_like(classes, RING)
        elif self.factor == "colour_only":
            neutral = self._integers(_COLOURS, len(PALETTE), self.count)
            other, classes = objects.changed(hues=objects.hues.where(~asked, neutral[:, None])), objects.hues[:, 0]
            classes = classes + _SHAPES
        elif self.factor == "shape_only":
            other = objects.changed(kinds=objects.kinds.where(~asked, _UNLIKE[objects.kinds]))
        canvas = Canvas(self.count, objects.kinds.shape[1], self.factor == "textured", self.generator)
        images, codes = canvas.paint(objects, occluder, mark)
        counterfactuals, other_codes = canvas.paint(other, occluder)
        return Scenes(
            images,
            _labels(objects, mark is not None),
            classes,
            canvas.seen(codes, asked),
            codes != other_codes,
            counterfactuals,
            _labels(other, False),
        )

    def _single(self) -> Objects:
        """One object anywhere in the image."""
        low, high = {"small": (3.7, 4.7), "large": (10.0, 11.5), "shortcut": (6.0, 7.0)}.get(self.factor, (5.7, 7.7))
        radii = self._uniform(low, high, self.count, 1)
        # The corners of a square are farther from its centre than its radius.
        room = (SIZE / 2 - 1.3 * radii if self.factor != "shortcut" else torch.full_like(radii, 1.5)).clamp(min=1)
        centres = SIZE / 2 + room[..., None] * self._uniform(-1, 1, self.count, 1, 2)
        kinds = self._integers(0, _SHAPES, self.count, 1)
        kinds = torch.full_like(kinds, _SHAPES) if self.factor == "shortcut" else kinds
        return self._objects(kinds, self._integers(0, len(PALETTE), self.count, 1), centres, radii)

    def _several(self) -> Objects:
        """Three objects, or two or three of one class, each in a quarter of the image."""
        quarters = self._order(4)[:, :3]
        centres = torch.stack((quarters % 2, quarters // 2), -1) * (SIZE / 2) + SIZE / 4
        centres = centres + self._uniform(-0.8, 0.8, self.count, 3, 2)
        kinds, hues = self._order(_SHAPES)[:, :3], self._order(len(PALETTE))[:, :3]
        if self.factor in ("several_of_one_class", "colour_only"):
            kinds = kinds[:, :1].expand(-1, 3)
        if self.factor == "colour_only":
            # The others have neither the colour that is asked about nor the other one that is a class.
            hues = _COLOURS + self._order(len(PALETTE) - _COLOURS)[:, :3]
            hues[:, 0] = self._integers(0, _COLOURS, self.count)
        elif self.factor == "shape_only":
            hues = hues[:, :1].expand(-1, 3)
        objects = self._objects(kinds, hues, centres, self._uniform(4.5, 5.7, self.count, 3))
        if self.factor == "several_of_one_class":
            objects.present[:, 2] = self._uniform(0, 1, self.count) < 0.5
        return objects

    def _objects(self, kinds: Tensor, hues: Tensor, centres: Tensor, radii: Tensor) -> Objects:
        angles = self._uniform(-0.3, 0.3, *kinds.shape)
        return Objects(kinds, hues, centres, radii, angles, torch.ones_like(kinds, dtype=torch.bool))

    def _bar(self, objects: Objects) -> Tensor:
        """The pixels of a bar that hides about a third of the object: N×S×S booleans."""
        angle = self._uniform(0, 2 * torch.pi, self.count, 1, 1)
        offset = self._uniform(0.2, 0.5, self.count, 1, 1)
        radii, centres = objects.radii[:, 0, None, None], objects.centres[:, 0, :, None, None]
        line = torch.arange(SIZE) + 0.5
        across, down = line[None, :] - centres[:, 0], line[:, None] - centres[:, 1]
        u, v = angle.cos() * across + angle.sin() * down, angle.cos() * down - angle.sin() * across
        return ((u / radii - offset).abs() < 0.3) & ((v / radii).abs() < 1.6)

    def _uniform(self, low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(*shape, generator=self.generator)

    def _integers(self, low: int, high: int, *shape: int) -> Tensor:
        return torch.randint(low, high, shape, generator=self.generator)

    def _order(self, length: int) -> Tensor:
        """A random order of the numbers below ``length`` for each scene, N×length."""
        return torch.rand(self.count, length, generator=self.generator).argsort(1)


def draw_mark(count: int, generator: Generator) -> Tensor:
    """Draw the mark of the shortcut, a chessboard of 4×4 pixels in a corner of each image.

    Args:
        count: number of images.
        generator: where the random numbers come from.

    Returns:
        N×32×32: 0 for no mark, 1 for black and 2 for white.
    """
    margin = torch.randint(1, 3, (count, 2), generator=generator)
    far = torch.randint(0, 2, (count, 2), generator=generator).bool()
    start = margin.where(~far, SIZE - 4 - margin)
    line = torch.arange(SIZE)
    across, down = line - start[:, :1], line - start[:, 1:]
    inside = ((across >= 0) & (across < 4))[:, None, :] & ((down >= 0) & (down < 4))[:, :, None]
    return (1 + (across[:, None, :] // 2 + down[:, :, None] // 2) % 2) * inside


def _labels(objects: Objects, marked: bool) -> Tensor:
    """Which classes are there: N×7 booleans."""

    def among(values: Tensor, count: int) -> Tensor:
        return ((values[..., None] == torch.arange(count)) & objects.present[..., None]).any(1)

    mark = torch.full((len(objects.kinds), 1), marked)
    return torch.cat((among(objects.kinds, _SHAPES), among(objects.hues, _COLOURS), mark), 1)
