"""The forms of a batch that data loaders give."""

from dataclasses import dataclass

import pytest
import torch

from captum_cams import CAMError
from captum_cams.metrics.annotation import Annotation
from lightning_callbacks import images_and_labels
from lightning_callbacks.batches import annotations

IMAGES = torch.rand(2, 3, 8, 8)
LABELS = torch.tensor([1, 0])
BOXES = [torch.tensor([[0, 0, 4, 4]]), torch.tensor([[1, 1, 2, 2], [3, 3, 5, 5]])]


@dataclass
class Named:
    image: torch.Tensor
    label: torch.Tensor


@pytest.mark.parametrize(
    "batch",
    [
        (IMAGES, LABELS),
        [IMAGES, LABELS, "more"],
        {"image": IMAGES, "label": LABELS},
        {"pixel_values": IMAGES, "labels": LABELS, "id": 3},
        Named(IMAGES, LABELS),
        (list(IMAGES), LABELS),
    ],
    ids=["tuple", "list", "mapping", "other names", "dataclass", "list of images"],
)
def test_images_and_labels_are_found(batch):
    images, labels = images_and_labels(batch)
    assert torch.equal(images, IMAGES)
    assert torch.equal(labels, LABELS)
    assert annotations(labels, 2) == [Annotation((1,), labelled=True), Annotation((0,), labelled=True)]


@pytest.mark.parametrize("batch", [IMAGES, (IMAGES,), (IMAGES, torch.rand(2)), (IMAGES, LABELS[:1]), (IMAGES, "ab")])
def test_what_is_no_label_counts_as_none(batch):
    assert images_and_labels(batch)[1] is None
    assert annotations(None, 2) == [Annotation(), Annotation()]


def test_several_classes_with_and_without_regions():
    several = torch.tensor([[0, 1, 1], [0, 0, 0]])
    assert annotations(images_and_labels((IMAGES, several))[1], 2) == [
        Annotation((1, 2), labelled=True),
        Annotation(labelled=True),
    ]
    targets = [{"labels": torch.tensor([5]), "boxes": BOXES[0]}, {"labels": torch.tensor([2, 1]), "boxes": BOXES[1]}]
    first, second = annotations(images_and_labels((IMAGES, targets))[1], 2)
    assert (first.classes, second.classes) == ((5,), (2, 1))
    assert torch.equal(second.regions[1], BOXES[1][1:])
    masks = torch.ones(2, 8, 8)
    given = {"images": IMAGES, "labels": LABELS, "masks": masks}
    assert annotations(images_and_labels(given)[1], 2)[0].regions[1].shape == (1, 8, 8)
    stacked = {"labels": torch.tensor([[0, 1], [2, 2]]), "boxes": torch.tensor([0, 0, 3, 3]).expand(2, 2, 4)}
    first, second = annotations(images_and_labels((IMAGES, stacked))[1], 2)
    assert first.regions[1].shape == (1, 4)
    assert second.regions[2].shape == (2, 4)
    given = {"images": IMAGES, "labels": LABELS, "boxes": BOXES}
    assert torch.equal(annotations(images_and_labels(given)[1], 2)[1].regions[0], BOXES[1])


@pytest.mark.parametrize("batch", ["images", {"a": IMAGES}, (), torch.rand(3, 8, 8), [IMAGES[0], IMAGES[0, :, :4]]])
def test_a_batch_without_images_is_explained(batch):
    with pytest.raises(CAMError, match="pass batch_fn"):
        images_and_labels(batch)


def test_a_region_that_shows_nothing_leaves_its_class():
    nothing = {"labels": torch.tensor([1, 2]), "masks": torch.stack((torch.zeros(8, 8), torch.ones(8, 8)))}
    found = annotations([nothing, {"labels": torch.tensor([3]), "boxes": torch.zeros(0, 4)}], 2)
    assert (found[0].classes, set(found[0].regions)) == ((1, 2), {2})
    assert found[1] == Annotation((3,), labelled=True)


def test_regions_and_labels_of_different_length_are_explained():
    with pytest.raises(CAMError, match="boxes and labels must have the same length, got 2 and 3"):
        annotations([{"labels": torch.arange(3), "boxes": BOXES[1]}], 1)
