"""The score of a detection: against loops, under NMS, in any order, and in the detectors of two libraries."""

from functools import partial
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.ops import box_convert, nms

import captum_cams as cc
from captum_cams.methods.rise import _masks
from captum_cams.targets import Detection
from tests.support.independent import gradcam

BOX = (10.0, 20.0, 50.0, 60.0)


def overlap(one, other):
    width = max(0.0, min(one[2], other[2]) - max(one[0], other[0]))
    height = max(0.0, min(one[3], other[3]) - max(one[1], other[1]))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return width * height / (sum(areas) - width * height)


def drawn(seed, count):
    """Boxes around BOX, of two labels, sorted by their scores as detectors do."""
    generator = torch.Generator().manual_seed(seed)
    boxes = torch.tensor(BOX) + 12 * torch.randn(count, 4, generator=generator).clamp(-1.5, 1.5)
    scores = torch.rand(count, generator=generator).sort(descending=True).values.requires_grad_()
    return {"boxes": boxes, "labels": torch.randint(1, 3, (count,), generator=generator), "scores": scores}


def by_hand(target, one):
    best = 0.0
    for box, label, score in zip(one["boxes"].tolist(), one["labels"].tolist(), one["scores"].tolist(), strict=True):
        shared = overlap(target.box, box)
        if label == target.label and shared >= target.iou:
            best = max(best, shared * score)
    return best


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 8), st.floats(0.1, 0.9))
def test_the_score_is_a_loop_over_the_detections_in_any_order(seed, count, iou):
    one, target = drawn(seed, count), Detection(BOX, 1, iou)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    found = target([one, {key: value[order] for key, value in one.items()}])
    assert found.tolist() == pytest.approx([by_hand(target, one)] * 2)
    assert found.requires_grad  # also if nothing is detected
    (gradient,) = torch.autograd.grad(found.sum(), one["scores"])
    assert (gradient != 0).sum() == (by_hand(target, one) > 0)


def test_what_nms_suppresses_does_not_count_but_what_it_keeps_does():
    target = Detection(BOX, 1)
    moved = torch.tensor([BOX, BOX]) + torch.tensor([[2.0], [0.0]])
    scores = torch.tensor([0.9, 0.8])
    kept = nms(moved, scores, 0.5)
    assert kept.tolist() == [0]
    one = {"boxes": moved[kept], "labels": torch.tensor([1]), "scores": scores[kept]}
    assert float(target([one])) == pytest.approx(0.9 * overlap(BOX, moved[0].tolist()))


def bound(target, *boxes, labels=None, scores=None):
    one = {
        "boxes": torch.tensor(boxes).view(-1, 4),
        "labels": torch.tensor(labels or [1] * len(boxes), dtype=torch.long),
        "scores": torch.tensor(scores or [0.5] * len(boxes)),
    }
    return target.bound(lambda image: [one], torch.zeros(1, 3, 80, 100))


def test_an_object_that_is_not_detected_is_explained():
    far = (0.0, 0.0, 30.0, 30.0)
    with pytest.raises(cc.CAMError, match=r"got no detection at all; .* lower the score threshold"):
        bound(Detection(BOX, 1))
    with pytest.raises(cc.CAMError, match=r"label 1 must be detected .* got labels 2, 3"):
        bound(Detection(BOX, 1), BOX, far, labels=[3, 2])
    with pytest.raises(cc.CAMError, match=r"by at least 0.5 .* got at most 0.09 for \(0.0, 0.0, 30.0, 30.0\)"):
        bound(Detection(BOX, 1), far)
    assert bound(Detection(BOX, 1), far, BOX) == Detection(BOX, 1, size=(80, 100))


def test_another_detection_than_the_named_one_is_refused():
    larger = (10.0, 20.0, 50.0, 80.0)
    with pytest.raises(cc.CAMError, match=r"score of 0.3 for it and 0.9 for another one that overlaps it by 0.67"):
        bound(Detection(BOX, 1), BOX, larger, scores=[0.3, 0.9])
    assert bound(Detection(BOX, 1, iou=0.7), BOX, larger, scores=[0.3, 0.9])
    assert bound(Detection((11, 21, 50, 60), 1), BOX, larger, scores=[0.3, 0.9])  # the box of no detection


LAYERS = {
    "faster_rcnn": "backbone.body.layer4",
    "retinanet": "backbone.body.layer4",
    "fcos": "backbone.body.layer3",
    "ssdlite": "backbone.features.0.12",
}


def first_boxes(model, x):
    """The first detection of each image that is not empty: its number, box and label."""
    with torch.no_grad():
        output = model(x)
    sizes = [(one["boxes"][:, 2:] - one["boxes"][:, :2]).amin(1) for one in output]
    numbers = [int((size > 1).nonzero()[0]) for size in sizes]
    return [(i, one["boxes"][i], int(one["labels"][i])) for i, one in zip(numbers, output, strict=True)]


@pytest.mark.parametrize("name", LAYERS)
def test_gradcam_of_torchvisions_detectors_is_a_hook_and_a_gradient(name, network, x):
    model = network(name)
    named = first_boxes(model, x)
    layer = model.get_submodule(LAYERS[name])
    each = [
        gradcam(lambda n=n: model(x[n : n + 1]), layer, lambda output, i=i: output[0]["scores"][i])
        for n, (i, _, _) in enumerate(named)
    ]
    expected = torch.cat(each)
    targets = [Detection(box, label, iou=0.9) for _, box, label in named]
    found = cc.GradCAM(model, LAYERS[name]).attribute(x, targets, relu_attributions=False)
    assert expected.abs().amax((1, 2, 3)).min() > 0
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize("method", [cc.RISE, cc.ScoreCAM])
def test_methods_that_change_the_image_score_the_same_object(method, network, x):
    model = network("ssdlite")
    (_, box, label), _ = first_boxes(model, x)
    options = {"masks": 6} if method is cc.RISE else {}
    layer = "backbone.features.0.3" if method is cc.ScoreCAM else "backbone.features.0.12"
    maps = method(model, layer, **options).attribute(x[:1], Detection(box, label))
    assert torch.isfinite(maps).all()
    assert maps.std() > 0


def test_rise_of_a_detector_is_its_sum_over_masks(network, x):
    model = network("ssdlite")
    (_, box, label), _ = first_boxes(model, x)
    generator = torch.Generator().manual_seed(0)
    grids = (torch.rand(6, 1, 8, 8, generator=generator) < 0.5).float()
    masks = _masks(grids, torch.rand(6, 2, generator=generator), x.shape[-2:])
    found = cc.RISE(model, "backbone.features.0.12", masks=6, grid=8).attribute(x[:1], Detection(box, label))
    with torch.no_grad():
        scores = [by_hand(Detection(box, label), model(x[:1] * mask[None])[0]) for mask in masks]
    expected = sum(score * mask for score, mask in zip(scores, masks, strict=True)) / 3
    torch.testing.assert_close(found[0], expected, rtol=1e-3, atol=1e-4 * float(expected.max()))


def query(model, x):
    """For each image, the query with the most probable class: its number, its box in pixels and its label."""
    with torch.no_grad():
        output = model(x)
    p = output.logits.softmax(2)[..., :-1].amax(2).argmax(1).tolist()
    size = torch.tensor([x.shape[3], x.shape[2]] * 2)
    boxes = [box_convert(output.pred_boxes[n, q], "cxcywh", "xyxy") * size for n, q in enumerate(p)]
    return [(q, box, int(output.logits[n, q, :-1].argmax())) for n, (q, box) in enumerate(zip(p, boxes, strict=True))]


@pytest.mark.parametrize("width", [96, 128])
def test_gradcam_of_detr_is_a_hook_and_a_gradient(width, network, x):
    model, x = network("detr"), x if width == 96 else torch.cat((x, x[..., :32]), 3)
    targets = [Detection(box, label, iou=0.9) for _, box, label in query(model, x)]
    layer = model.model.input_projection

    def score(target, output):
        size = torch.tensor([x.shape[3], x.shape[2]] * 2)
        pixels = box_convert(output.pred_boxes[0], "cxcywh", "xyxy").detach() * size
        shared = torch.tensor([overlap(target.box, box) for box in pixels.tolist()])
        return (shared * (shared >= 0.9) * output.logits[0].softmax(1)[:, target.label]).max()

    each = []
    for n, target in enumerate(targets):
        each.append(gradcam(lambda n=n: model(x[n : n + 1]), layer, partial(score, target)))
    expected = torch.cat(each)
    found = cc.GradCAM(model, layer).attribute(x, targets, relu_attributions=False)
    assert expected.abs().amax((1, 2, 3)).min() > 0
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


def test_ablationcam_of_detr_is_a_loop_over_the_channels(network, x):
    model, x = network("detr"), x[:1]
    ((_, box, label),) = query(model, x)
    target, layer = Detection(box, label), model.model.input_projection
    bound = target.bound(model, x)

    def scored(k):
        kept = []

        def cut(module, args, output):
            kept.append(output)
            return output * torch.tensor([i != k for i in range(output.shape[1])])[:, None, None]

        handle = layer.register_forward_hook(cut)
        with torch.no_grad():
            score = bound(model(x))
        handle.remove()
        return score, kept[0]

    whole, activation = scored(None)
    drops = torch.cat([(whole - scored(k)[0]) / whole for k in range(activation.shape[1])])
    expected = (drops[:, None, None] * activation[0]).sum(0)
    found = cc.AblationCAM(model, layer).attribute(x, target, relu_attributions=False)
    torch.testing.assert_close(found[0, 0], expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


def test_a_class_of_detr_is_a_probability_of_its_own_processing(network, x):
    logits, boxes = torch.randn(1, 3, 5), torch.tensor([[[0.5, 0.5, 0.4, 0.4]]]).expand(1, 3, 4)
    target = Detection((30, 30, 70, 70), 1, size=(100, 100))
    for name, scores in (("DetrObjectDetectionOutput", logits.softmax(2)), ("ConditionalDetr", logits.sigmoid())):
        kind = type(name if name.endswith("Output") else f"{name}ObjectDetectionOutput", (SimpleNamespace,), {})
        found = target(kind(logits=logits, pred_boxes=boxes))
        torch.testing.assert_close(found, scores[:, :, 1].amax(1))
    with pytest.raises(cc.CAMError, match=r"label must be in 0…3, got 4 .* no object"):
        cc.GradCAM(network("detr"), "model.input_projection").attribute(x, Detection(BOX, 4))
    with pytest.raises(cc.CAMError, match="need its size before outputs are scored"):
        Detection(BOX, 1)(network("detr")(x))
