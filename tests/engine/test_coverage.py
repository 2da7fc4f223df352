"""Networks that crop or pad their images: their maps would be shown at wrong places of the images."""

import pytest
import torch
from torch import Tensor, nn

import captum_cams as cc
from tests.support.networks import seeded


def picture(height: int, width: int) -> Tensor:
    return torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(0))


class Cropping(nn.Module):
    """Reads a part of the image; four positions of 8 pixels make a token or a position of a map."""

    def __init__(self, rows: slice, columns: slice, tokens: bool = False) -> None:
        super().__init__()
        self.rows, self.columns, self.tokens = rows, columns, tokens
        self.features = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 12, 3, 4, 1), nn.ReLU())
        self.norm, self.head = nn.LayerNorm(12), nn.Linear(12, 5)

    def forward(self, images: Tensor) -> Tensor:
        features = self.features(images[..., self.rows, self.columns])
        return self.head(self.norm(features.flatten(2).mT).mean(1) if self.tokens else features.mean((2, 3)))


EVERY = slice(None)
CROPS = {
    "upper and lower": (slice(8, 56), EVERY),
    "left and right": (EVERY, slice(8, 40)),
    "upper": (slice(4, None), EVERY),
    "lower": (slice(0, 48), EVERY),
    "right": (EVERY, slice(0, 32)),
    "upper and lower and left and right": (slice(8, 40), slice(4, 36)),
}


@pytest.mark.parametrize("tokens", [False, True])
@pytest.mark.parametrize("edges", CROPS)
def test_a_model_that_crops_its_images_is_refused(edges, tokens):
    rows, columns = CROPS[edges]
    for layer in (None, "norm") if tokens else (None,):
        cam = cc.GradCAM(seeded(lambda: Cropping(rows, columns, tokens)), layer)
        with pytest.raises(cc.CAMError, match=f"pixels at the {edges} edge"):
            cam.attribute(picture(64, 48), 1)
    cropped = picture(64, 48)[..., rows, columns].contiguous()
    assert cc.GradCAM(seeded(lambda: Cropping(EVERY, EVERY, tokens))).attribute(cropped, 1).shape[1] == 1


def test_integer_images_that_are_cropped_are_refused():
    class Bytes(Cropping):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images.float() / 255)

    image = torch.randint(256, (1, 3, 64, 48), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with pytest.raises(cc.CAMError, match="pixels at the upper edge"):
        cc.GradCAM(seeded(lambda: Bytes(slice(4, None), EVERY))).attribute(image, 1)


@pytest.mark.parametrize("side", [48, 51, 55])
@pytest.mark.parametrize("kernels", [(3, 3, 3), (5, 3, 1), (2, 2, 2), (7, 1, 1)])
def test_strides_that_leave_out_the_last_pixels_are_no_crops(side, kernels):
    first, second, third = (nn.Conv2d(width, 8, kernel, 2) for width, kernel in zip((3, 8, 8), kernels, strict=True))
    network = nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), third, nn.Flatten(2), Mean(), nn.Linear(8, 5))
    x = picture(side, side + 3)
    cam = cc.GradCAM(network)
    assert torch.equal(cam.attribute(x, 1), cc.GradCAM(network, "4").attribute(x, 1))
    assert cam.layer is third


class Mean(nn.Module):
    def forward(self, values: Tensor) -> Tensor:
        return values.mean(2)


def test_black_bars_are_read_although_no_gradient_reaches_them():
    layers = (nn.Conv2d(3, 4, 3, 2, 1, bias=False), nn.ReLU(), nn.Conv2d(4, 4, 3, 2, 1, bias=False), nn.ReLU())
    network = seeded(lambda: nn.Sequential(*layers, nn.Flatten(2), Mean(), nn.Linear(4, 5)))
    x = picture(64, 64)
    x[:, :, :20] = x[:, :, 44:] = 0  # bars of a photograph that was not square: ReLU has no gradient at 0
    assert cc.GradCAM(network).attribute(x, 1).shape == (1, 1, 16, 16)


class Padding(nn.Module):
    """Patches of 16×16 pixels of an image that is padded, or resized, to a multiple of 16."""

    def __init__(self, before: bool = False, resize: bool = False) -> None:
        super().__init__()
        self.before, self.resize = before, resize
        self.patches, self.norm, self.head = nn.Conv2d(3, 12, 16, 16), nn.LayerNorm(12), nn.Linear(12, 5)

    def forward(self, images: Tensor) -> Tensor:
        sides = [-side % 16 for side in images.shape[2:]]
        if self.resize:
            whole = [side + missing for side, missing in zip(images.shape[2:], sides, strict=True)]
            images = nn.functional.interpolate(images, whole, mode="bilinear")
        elif self.before:
            images = nn.functional.pad(images, (sides[1], 0, sides[0], 0))
        else:
            images = nn.functional.pad(images, (0, sides[1], 0, sides[0]))
        return self.head(self.norm(self.patches(images).flatten(2).mT).mean(1))


@pytest.mark.parametrize("layer", [None, "norm"])
@pytest.mark.parametrize("before", [False, True])
def test_patches_of_padded_images_are_refused_if_the_map_would_be_shifted(layer, before):
    for sides in ((100, 70), (112, 66), (99, 80)):
        with pytest.raises(cc.CAMError, match=rf"images {sides[0]}×{sides[1]}, which the model pads to 112×80"):
            cc.GradCAM(seeded(lambda: Padding(before)), layer).attribute(picture(*sides), 1)
    for sides in ((112, 80), (108, 76)):  # less than half a patch is padded
        maps = cc.GradCAM(seeded(lambda: Padding(before)), layer).attribute(picture(*sides), 1)
        assert maps.shape == (1, 1, 7, 5)


@pytest.mark.parametrize("layer", [None, "norm"])
def test_patches_of_resized_images_are_where_the_map_shows_them(layer):
    maps = cc.GradCAM(seeded(lambda: Padding(resize=True)), layer).attribute(picture(100, 70), 1)
    assert maps.shape == (1, 1, 7, 5)
