"""Targets in explainers and metrics: what sees the unchanged sample, and what cannot work is refused."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import captum_cams as cc
from captum_cams.metrics import functional
from captum_cams.targets import Classification, Contrast, Detection, Regression, Segmentation, Similarity
from tests.support.networks import NETWORKS, images, seeded


class ThreeHeads(nn.Module):
    """A segmenter, a detector or an embedding that share their features."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.encoder = nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.ReLU())
        self.head = nn.Conv2d(6, 3, 1)

    def forward(self, x):
        scores = self.head(self.encoder(x))
        if self.kind == "segmentation":
            return {"out": F.interpolate(scores, x.shape[2:], mode="bilinear")}
        pooled = scores.mean((2, 3))
        if self.kind == "embedding":
            return pooled
        box = torch.tensor([[4.0, 4.0, 20.0, 20.0]])
        return [{"boxes": box, "labels": torch.tensor([1]), "scores": row[1:2].sigmoid()} for row in pooled]


TARGETS = {
    "segmentation": Segmentation(1, (4, 4, 20, 20)),
    "detection": Detection((4, 4, 20, 20), 1),
    "embedding": Similarity(torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(5))),
}


def made(kind):
    return seeded(lambda: ThreeHeads(kind))


@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("method", ["gradcam", "ablationcam", "fdcam", "scorecam", "rise", "multilayercam"])
def test_a_batch_is_its_images_one_by_one(kind, method):
    model, x = made(kind), images(3)
    options = {"masks": 5} if method == "rise" else {"layers": ["encoder.0", "encoder.1"]} if "multi" in method else {}
    layer = None if "multi" in method else "encoder.1"
    cam = cc.create(method, model, layer, **options)
    both = cam.attribute(x, TARGETS[kind], relu_attributions=False)
    if method == "rise":  # the masks of each image of a batch differ
        assert torch.isfinite(both).all()
        return
    alone = [cam.attribute(image[None], TARGETS[kind], relu_attributions=False) for image in x]
    torch.testing.assert_close(both, torch.cat(alone))


@pytest.mark.parametrize(
    ("kind", "target", "more"),
    [
        ("segmentation", Segmentation(1), 1),
        ("segmentation", TARGETS["segmentation"], 0),
        ("detection", TARGETS["detection"], 1),
        ("embedding", TARGETS["embedding"], 1),
        ("embedding", Similarity(torch.ones(3)), 0),
    ],
)
def test_the_unchanged_image_is_seen_in_at_most_one_more_run(kind, target, more):
    model, x, rows = made(kind), images(2), []
    model.register_forward_hook(lambda module, args, output: rows.append(len(args[0])))
    cc.GradCAM(model, "encoder.1").attribute(x, target)
    assert rows == [1] * 2 * (1 + more)


def test_scorecam_counts_the_pixels_of_the_unchanged_image():
    model, x = made("segmentation"), images(1)
    with torch.no_grad():
        output = model(x)["out"][0]
        mask = output.argmax(0) == 1
        activation = model.encoder(x)[0]
    assert 0 < mask.sum() < mask.numel()
    large = F.interpolate(activation[:, None], x.shape[2:], mode="bilinear")
    low, high = large.amin((2, 3), keepdim=True), large.amax((2, 3), keepdim=True)
    scaled = (large - low) / (high - low).clamp(min=1e-12)
    with torch.no_grad():
        weights = torch.stack([model(x * one[None])["out"][0, 1][mask].mean() for one in scaled]).softmax(0)
    expected = (weights[:, None, None] * activation).sum(0)
    found = cc.ScoreCAM(model, "encoder.1").attribute(x, Segmentation(1), relu_attributions=False)
    torch.testing.assert_close(found[0, 0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["segmentation", "detection"])
@pytest.mark.parametrize("method", ["augmentedcam", "jittercam", "sess", "cameras"])
def test_places_of_images_that_move_are_refused(kind, method):
    with pytest.raises(cc.CAMError, match="moves or resizes the image, and the target names places"):
        cc.create(method, made(kind), "encoder.1").attribute(images(2), TARGETS[kind])


@pytest.mark.parametrize("method", ["augmentedcam", "jittercam", "cameras"])
def test_similarity_names_no_place(method):
    assert cc.create(method, made("embedding"), "encoder.1").attribute(images(1), TARGETS["embedding"]).std() > 0


@pytest.mark.parametrize("target", [Classification(4), Regression(4)])
@pytest.mark.parametrize("method", ["gradcam", "fdcam", "ablationcam"])
def test_a_class_and_a_value_are_the_index(method, target):
    model, x = NETWORKS["residual"](), images(2)
    cam = cc.create(method, model)
    expected = cam.attribute(x, 4)
    torch.testing.assert_close(cam.attribute(x, target), expected, rtol=1e-4, atol=1e-4 * float(expected.max()))


def test_a_contrast_is_the_difference_of_two_maps():
    model, x = NETWORKS["residual"](), images(2)
    cam = cc.GradCAM(model)
    signed = [cam.attribute(x, c, relu_attributions=False) for c in (4, 7)]
    found = cam.attribute(x, Contrast(4, [7]), relu_attributions=False)
    torch.testing.assert_close(found, signed[0] - signed[1], rtol=1e-3, atol=1e-5)


def test_errors_of_targets_are_not_hidden_behind_others():
    with pytest.raises(cc.CAMError, match=r"^target must be in 0…9, got 10"):
        cc.GradCAM(NETWORKS["residual"]()).attribute(images(2), Classification(10))
    with pytest.raises(cc.CAMError, match=r"^a detection of label 1 must overlap the box"):
        cc.GradCAM(made("detection"), "encoder.1").attribute(images(2), Detection((20, 20, 30, 30), 1))
    with pytest.raises(cc.CAMError, match="one function per sample, expected 2, got 1"):
        cc.GradCAM(made("embedding"), "encoder.1").attribute(images(2), [TARGETS["embedding"]])


@pytest.mark.parametrize("kind", TARGETS)
def test_metrics_say_how_they_take_a_target_and_it_works(kind):
    model, x = made(kind), images(1)
    maps = cc.GradCAM(model, "encoder.1").attribute(x, TARGETS[kind])
    with pytest.raises(cc.CAMError, match=r"target must be a class for metrics, .* task=target"):
        functional.deletion_curve(lambda image: image.mean((2, 3)), x, maps, TARGETS[kind], preset="quick")
    bound = TARGETS[kind].bound(model, x)
    curve = functional.deletion_curve(model, x, maps, preset="quick", task=bound)
    with torch.no_grad():
        ends = [float(bound(model(x))), float(bound(model(torch.zeros_like(x))))]
    assert curve[0, [0, -1]].tolist() == pytest.approx(ends, abs=1e-5)
