"""Targets as records: what they print, what equals them, and what they refuse."""

import pickle

import numpy as np
import pytest
import torch

import captum_cams as cc
from captum_cams import targets

T = torch.arange(1.0, 4)
MASK = torch.eye(4) > 0
MADE = {
    "Classification(label=3)": lambda: targets.Classification(3),
    "Classification(label=(3, 0, 1))": lambda: targets.Classification((3, 0, 1)),
    "Contrast(label=3, against='others')": lambda: targets.Contrast(3),
    "Contrast(label=3, against=(5, 7))": lambda: targets.Contrast(3, against=[5, 7, 5]),
    "Segmentation(label=2, mask='predicted')": lambda: targets.Segmentation(2),
    "Segmentation(label=2, mask=a tensor 4×4)": lambda: targets.Segmentation(2, MASK),
    "Segmentation(label=2, mask=(0.0, 1.0, 5.0, 6.0))": lambda: targets.Segmentation(2, (0, 1, 5, 6)),
    "Detection(box=(0.0, 1.0, 5.0, 6.0), label=2, iou=0.5, size=None)": lambda: targets.Detection((0, 1, 5, 6), 2),
    "Similarity(reference=a tensor 3)": lambda: targets.Similarity(T),
    "Regression(output=0)": lambda: targets.Regression(),
}


@pytest.mark.parametrize("text", MADE)
def test_a_record_says_what_it_is_and_equals_its_like(text):
    one, other = MADE[text](), MADE[text]()
    assert repr(one) == text
    assert one == other
    assert hash(one) == hash(other)
    assert pickle.loads(pickle.dumps(one)) == one
    for name, make in MADE.items():
        assert (make() == one) == (name == text)
    with pytest.raises(AttributeError):
        one.label = 4  # frozen


def test_other_tensors_make_other_records():
    assert targets.Similarity(T) != targets.Similarity(T + 1)
    assert targets.Segmentation(2, MASK) != targets.Segmentation(2, ~MASK)
    assert targets.Segmentation(2, MASK) == targets.Segmentation(2, MASK.float())


def test_numbers_of_other_libraries_are_numbers():
    assert targets.Classification(torch.tensor(3)) == targets.Classification(np.int64(3)) == targets.Classification(3)
    assert targets.Detection(torch.tensor([0, 1, 5, 6]), 2) == targets.Detection(np.array([0.0, 1, 5, 6]), 2)
    assert targets.Contrast(1, torch.tensor([2, 3])) == targets.Contrast(1, (2, 3))
    assert targets.Segmentation(1, MASK.numpy()) == targets.Segmentation(1, MASK)


def test_a_record_keeps_its_own_copy():
    embedding, mask = T.clone(), MASK.clone()
    similarity, segmentation = targets.Similarity(embedding), targets.Segmentation(1, mask)
    embedding.zero_()
    mask.zero_()
    assert similarity == targets.Similarity(T)
    assert segmentation == targets.Segmentation(1, MASK)


REFUSED = {
    "label must be an index, an integer of at least 0, got 'dog'": lambda: targets.Classification("dog"),
    "label must be an index, an integer of at least 0, got -1": lambda: targets.Classification(-1),
    "got True": lambda: targets.Classification(True),
    "a list with one target for each image": lambda: targets.Classification(torch.tensor([3, 4])),
    "label must be an index, an integer of at least 0, got 1.0": lambda: targets.Detection((0, 0, 1, 1), 1.0),
    'against must be "others" or a list of classes, got ': lambda: targets.Contrast(3, "all"),
    "at least one class, got \\[\\]": lambda: targets.Contrast(3, []),
    "must not hold the class 3 itself": lambda: targets.Contrast(3, [3, 4]),
    "each class of against must be an index": lambda: targets.Contrast(3, [-4]),
    'mask must be "predicted", a mask H×W or a box, got': lambda: targets.Segmentation(3, "all"),
    "mask must be H×W, got 2×4×4; if it differs": lambda: targets.Segmentation(3, torch.ones(2, 4, 4)),
    "at least one pixel of ones, got zeros alone": lambda: targets.Segmentation(3, torch.zeros(4, 4)),
    "got values up to 255; pass mask > 0.5": lambda: targets.Segmentation(3, torch.full((4, 4), 255)),
    "four numbers .* got \\(1, 2, 3\\)": lambda: targets.Segmentation(3, (1, 2, 3)),
    "four numbers .* got a tensor 2×4; if it differs": lambda: targets.Detection(torch.ones(2, 4), 1),
    "x0 < x1 and y0 < y1, got \\(10.0, 0.0, 5.0, 9.0\\)": lambda: targets.Detection((10, 0, 5, 9), 1),
    "iou must be above 0 and at most 1, got 50": lambda: targets.Detection((0, 0, 5, 9), 1, iou=50),
    "got NaN": lambda: targets.Similarity(torch.tensor([1.0, float("nan")])),
    "an embedding of zeros": lambda: targets.Similarity(torch.zeros(3)),
    "got 2×3; of a batch pass one entry": lambda: targets.Similarity(torch.ones(2, 3)),
    "reference must be a tensor": lambda: targets.Similarity([1.0, 2.0]),
    "output must be an index": lambda: targets.Regression(-1),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_a_target_cannot_be_is_said(message):
    with pytest.raises(cc.CAMError, match=message):
        REFUSED[message]()
