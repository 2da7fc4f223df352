"""Layers that see other things than the images: their maps are never shown over the images."""

import pytest
import torch
from torch import Tensor, nn

import captum_cams as cc
from tests.support.networks import images, seeded


class Siamese(nn.Module):
    """Compares the features of two images; the images that are explained come last on demand."""

    def __init__(self, images_last: bool = False) -> None:
        super().__init__()
        self.images_last = images_last
        self.shared = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU())
        self.head = nn.Linear(8, 5)

    def forward(self, images: Tensor, others: Tensor) -> Tensor:
        if self.images_last:
            before = self.shared(others)
            return self.head((self.shared(images) - before).mean((2, 3)))
        return self.head((self.shared(images) - self.shared(others)).mean((2, 3)))


class Stored(Siamese):
    """Compares with an image of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.others = nn.Parameter(torch.randn(1, 3, 40, 40))

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images, self.others)


@pytest.mark.parametrize("name", ["gradcam", "fdcam", "eigencam", "reciprocam"])
@pytest.mark.parametrize("at_input", [False, True])
def test_a_call_that_does_not_depend_on_the_images_is_never_shown(name, at_input):
    x, y = images(2), images(4)[2:]
    cam = cc.create(name, seeded(Siamese), "shared.2")
    for _ in range(2):  # a refused layer is checked again
        with pytest.raises(cc.CAMError, match=r"got 2 calls in one run, of which call 1 depends on them"):
            cam.attribute(x, 1, y, at_input)
    with pytest.raises(cc.CAMError, match=r"got 2 calls in one run"):
        cc.create(name, seeded(Stored), "shared.2").attribute(x, 1, None, at_input)


def test_a_last_call_that_depends_on_the_images_is_shown_as_captum_does():
    x, y = images(2), images(4)[2:]
    model = seeded(lambda: Siamese(images_last=True))
    maps = cc.GradCAM(model, "shared").attribute(x, 1, y, relu_attributions=False)
    with torch.no_grad():
        features = model.shared(x)
    weights = model.head.weight[1] / features[0, 0].numel()  # the features are averaged, and then weighted
    torch.testing.assert_close(maps, (features * weights.view(1, -1, 1, 1)).sum(1, keepdim=True).detach())
    # Both images are inputs: Captum's last call.
    both = cc.GradCAM(seeded(Siamese), "shared").attribute((x, y), 1)
    assert both.shape == maps.shape


class Beside(nn.Module):
    """Adds the scores of two networks, one of which sees the further argument."""

    def __init__(self) -> None:
        super().__init__()
        self.seeing, self.other, self.head = nn.Conv2d(3, 8, 4, 4), nn.Conv2d(3, 8, 4, 4), nn.Linear(8, 5)

    def forward(self, images: Tensor, others: Tensor) -> Tensor:
        return self.head((self.seeing(images).relu() * self.other(others).relu()).mean((2, 3)))


@pytest.mark.parametrize("name", ["gradcam", "scorecam", "lrp", "fgcam"])
def test_a_layer_beside_the_images_is_never_shown(name):
    x, y = images(2), images(4)[2:]
    with pytest.raises(cc.CAMError, match=r"layer other \(Conv2d\) must depend on the inputs"):
        cc.create(name, seeded(Beside), "other").attribute(x, 1, y)
    assert cc.GradCAM(seeded(Beside), "seeing").attribute(x, 1, y).shape[:2] == (2, 1)
    assert cc.GradCAM(seeded(Beside), "other").attribute((x, y), 1).shape[:2] == (2, 1)


def test_a_layer_is_checked_in_the_first_call_alone():
    x, y = images(2), images(4)[2:]
    model = seeded(lambda: Siamese(images_last=True))
    cam, runs = cc.GradCAM(model, "shared"), []
    model.head.register_forward_hook(lambda *_: runs.append(1))
    cam.attribute(x, 1, y)
    first = len(runs)
    cam.attribute(x, 1, y)
    assert len(runs) - first == 1 < first
