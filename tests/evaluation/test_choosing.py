"""Which images are evaluated, and what is read to find out."""

import threading
from types import SimpleNamespace

import pytest
import torch
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Subset
from torchvision.datasets import VisionDataset

import captum_cams as cc
from captum_cams.metrics import region_mask
from lightning_callbacks import CAMEvaluation, Protocol, evaluate, images_and_labels
from lightning_callbacks.command.arguments import parse
from lightning_callbacks.evaluation.choosing import Reader, choose
from lightning_callbacks.evaluation.sampling import draw
from lightning_callbacks.evaluation.shares import Batches
from tests.support.evaluation_run import network, quiet

SMALL = Protocol(("energy",), classes="annotated", single_small_box=True)
COUNT = 150


class Boxes(Dataset):
    """Images with one small box, one large box or two boxes; remembers which images were read."""

    def __init__(self, broken=()) -> None:
        self.read, self.broken = [], broken

    def __len__(self) -> int:
        return COUNT

    def __getitem__(self, index: int):
        self.read.append(index)
        if index in self.broken:
            raise OSError("broken")
        return torch.full((3, 24, 24), index / COUNT), self.labels(index)

    def labels(self, index: int):
        boxes = torch.tensor([[2, 2, 10, 12], [12, 8, 20, 22]])[: 1 + (index % 3 == 1)]
        boxes = torch.tensor([[0, 0, 24, 20]]) if index % 3 == 2 else boxes
        return {"labels": torch.arange(len(boxes)), "boxes": boxes, "size": (24, 24)}


def loaded(data: Dataset) -> DataLoader:
    return DataLoader(data, 4, collate_fn=lambda items: tuple(zip(*items, strict=True)))


def wanted(data: Boxes, count: int) -> list[int]:
    """The first images of the random order with one box of at most half of the image, by a plain loop."""
    found = []
    for index in draw(range(COUNT)):
        boxes = data.labels(index)["boxes"]
        if len(boxes) == 1 and region_mask(boxes, (24, 24)).sum() <= 288 and index not in data.broken:
            found.append(index)
    return found[:count]


class Folder(VisionDataset):
    """Has all labels at hand, as torchvision's data sets of classes do, and reads an image only when it is asked."""

    def __init__(self, data: Boxes) -> None:
        super().__init__("nowhere")
        self.data, self.targets, self.classes = data, [0] * COUNT, ["zero", "one", "two"]

    def __len__(self) -> int:
        return COUNT

    def __getitem__(self, index: int):
        return self.data[index]


KINDS = {
    "plain": lambda data: data,
    "a part": lambda data: Subset(data, range(5, COUNT)),
    "joined": lambda data: ConcatDataset([data, Subset(data, range(7))]),
    "of torchvision": Folder,
}


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_read_before_the_evaluation_begins(kind):
    data = Boxes()
    for protocol in (SMALL, Protocol(("complexity",))):
        for given in (loaded(KINDS[kind](data)), KINDS[kind](data)):
            CAMEvaluation(network(), given, "gradcam", protocol, limit=3)
            CAMEvaluation(network(), given, "gradcam", protocol, limit=3, labels_of=data.labels, shard=(1, 2))
    assert not data.read


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_images_of_the_limit_are_read(kind):
    data = Boxes()
    options = {"metrics": "complexity", "limit": 3, "trainer": quiet()}
    found = evaluate(network(), loaded(KINDS[kind](data)), "centre", **options)
    assert len(found.columns["image"]) == len(data.read) == 3


def test_labels_choose_without_images_and_images_choose_the_same():
    data, other = Boxes(), Boxes()
    given = {"methods": "centre", "protocol": SMALL, "limit": 5}
    by_labels = evaluate(network(), loaded(data), **given, trainer=quiet(), labels_of=data.labels)
    by_images = evaluate(network(), loaded(other), **given, trainer=quiet())
    chosen = by_labels.columns["image"].tolist()
    assert chosen == by_images.columns["image"].tolist() == sorted(wanted(data, 5))
    assert sorted(data.read) == chosen
    assert len(other.read) == 5 + 32  # one round of images was enough


def test_labels_that_contradict_the_batches_are_refused():
    data = Boxes()
    given = {"methods": "centre", "protocol": SMALL, "limit": 5, "trainer": quiet()}
    boxes = torch.tensor([[2, 2, 10, 12]])
    for labels_of, words in (
        (lambda index: {"labels": torch.tensor([0]), "boxes": boxes, "size": (24, 24)}, "its batch says otherwise"),
        (lambda index: {"labels": torch.tensor([0]), "boxes": boxes}, 'must also return "size"'),
        (lambda index: 3, "labels_of must return a mapping"),
        (lambda index: {"labels": torch.tensor([0])}, "none of 150 images has one"),
    ):
        with pytest.raises(cc.CAMError, match=words):
            evaluate(network(), loaded(data), **given, labels_of=labels_of)


@pytest.mark.parametrize("limit", [1, 4, 400])
def test_a_limit_is_a_part_of_every_larger_limit(limit):
    few = Protocol(("complexity",), images=20)
    found = evaluate(network(), loaded(Boxes()), "centre", protocol=few, limit=limit, trainer=quiet())
    assert found.columns["image"].tolist() == sorted(draw(range(COUNT))[: min(limit, 20)])


def test_limits_and_shards_that_are_none_are_refused():
    for options, words in (
        ({"limit": 0}, "limit must be an integer of at least 1, got 0"),
        ({"limit": 2.5}, "limit must be an integer"),
        ({"shard": (2, 2)}, r"0 ≤ k < n, such as \(0, 4\) for the first of four parts, got \(2, 2\)"),
        ({"shard": 1}, "shard must be"),
        ({"shard": (39, 40)}, "each shard must have a batch, but there are only 38 for 40 shards"),
    ):
        with pytest.raises(cc.CAMError, match=words):
            evaluate(network(), loaded(Boxes()), "centre", metrics="complexity", trainer=quiet(), **options)


class Ranks:
    """Processes as threads, which gather a tensor of each."""

    def __init__(self, world: int) -> None:
        self.barrier, self.parts = threading.Barrier(world), [torch.empty(0)] * world

    def trainer(self, rank: int):
        def all_gather(tensor):
            self.parts[rank] = tensor
            self.barrier.wait(60)
            together = torch.stack(self.parts)
            self.barrier.wait(60)
            return together

        strategy = SimpleNamespace(root_device=torch.device("cpu"), all_gather=all_gather)
        return SimpleNamespace(world_size=len(self.parts), global_rank=rank, strategy=strategy)


@pytest.mark.parametrize("count", [1, 20, None])
@pytest.mark.parametrize("world", [1, 2, 3])
def test_the_choice_does_not_depend_on_the_number_of_processes(world, count):
    data = Boxes(broken=draw(range(COUNT))[:60:9])
    order, ranks, found = draw(range(COUNT)), Ranks(world), {}

    def run(rank: int) -> None:
        reader = Reader(images_and_labels, "multiclass")
        found[rank] = choose(loaded(data), order, count, reader, True, ranks.trainer(rank))

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(world)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    expected = wanted(data, COUNT if count is None else count)
    last = COUNT if count is None else order.index(expected[-1])
    for rank in range(world):
        indices, unread = found[rank]
        assert indices == expected
        assert [*unread] == [index for index in order[:last] if index in data.broken]
    with pytest.raises(cc.CAMError, match="cannot be read"):
        choose(loaded(data), order, None, Reader(images_and_labels, "multiclass"), False, Ranks(1).trainer(0))


def test_a_shard_has_every_nth_batch():
    parts = [[*Batches(loaded(Boxes()), range(COUNT), shard=(k, 3)).numbers] for k in range(3)]
    assert parts == [[*range(k, 38, 3)] for k in range(3)]


def test_the_command_line_reads_limit_and_shard():
    typed = ["evaluate", "--model", "resnet18", "--data", "photos"]
    _, options = parse([*typed, "--limit", "7", "--shard", "1/4"])
    assert (options["limit"], options["shard"]) == (7, (1, 4))
    _, options = parse(typed)
    assert (options["limit"], options["shard"]) == (None, (0, 1))
    with pytest.raises(cc.CAMError, match='--shard: must be K/N with integers 0 ≤ K < N, such as 0/4, got "1"'):
        parse([*typed, "--shard", "1"])
