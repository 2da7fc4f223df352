"""The table against the metrics called one by one, and what an evaluation leaves behind."""

import csv
import json
import math
import statistics
from dataclasses import replace
from itertools import chain

import pytest
import torch
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, SubsetRandomSampler, TensorDataset
from torch.utils.data.distributed import DistributedSampler

import captum_cams as cc
from captum_cams import metrics as m
from lightning_callbacks import METRICS, PROTOCOLS, CAMCallback, Protocol, evaluate
from lightning_callbacks.evaluation.sampling import indices_of
from lightning_callbacks.evaluation.shares import Batches, Unrepeated
from tests.support.evaluation_run import IMAGES, Boxed, loader, network, quiet
from tests.support.lightning_modules import Net
from tests.support.untouched import same, state

SIZE = (24, 24)
ANNOTATED = Protocol(("complexity",), classes="annotated")


def labelled(*labels):
    return TensorDataset(torch.rand(len(labels), 3, 24, 24), torch.tensor(labels))


@pytest.fixture
def model():
    return network()


def test_every_cell_is_the_metric_called_by_hand(model):
    table = evaluate(model, loader(), ["gradcam"], metrics=METRICS, trainer=quiet())
    data = Boxed()
    images = data.images
    cam = cc.GradCAM(model)
    classes = model(images).argmax(1).tolist()
    maps = cam.attribute(images, classes)
    arguments = (model, images, maps, classes)
    deletion, insertion = (curve(*arguments, preset="jittercam") for curve in (m.deletion_curve, m.insertion_curve))
    known = [i for i, c in enumerate(classes) if c in data[i][1]["labels"]]
    regions = [data[i][1]["boxes"][data[i][1]["labels"] == classes[i]] for i in known]
    hard = [len(set(data[i][1]["labels"].tolist())) > 1 for i in known]
    hits = m.pointing_game(maps[known], regions, SIZE).float()
    overlaps = {cut: m.region_overlap(maps[known], regions, SIZE, threshold=cut) for cut in ("value", "mean", "energy")}
    similar = m.consistency(maps, classes)
    expected = {
        "deletion_auc": m.curve_area(deletion),
        "insertion_auc": m.curve_area(insertion),
        "over_all": m.curve_area(insertion) - m.curve_area(deletion),
        "average_drop": m.average_drop(*arguments),
        "average_increase": m.average_increase(*arguments),
        "adcc": m.adcc(*arguments, explain=cam.attribute),
        "coherency": m.coherency(images, maps, cam.attribute, classes),
        "complexity": m.complexity(images, maps),
        "road": m.road(*arguments),
        "arcc": m.arcc(*arguments, explain=cam.attribute),
        "average_gain": m.average_gain(*arguments),
        "single_deletion": m.single_deletion(*arguments),
        "calibration": m.calibration(*arguments, preset="jittercam"),
        "pointing_game": hits,
        "pointing_game_difficult": hits[torch.tensor(hard)],
        "energy": m.energy_inside(maps[known], regions, SIZE),
        "relevance_mass": m.relevance_mass(maps[known], regions, SIZE),
        "relevance_rank": m.relevance_rank(maps[known], regions, SIZE),
        "top_k_intersection": m.top_k_intersection(maps[known], regions, SIZE),
        "sparseness": m.sparseness(images, maps),
        "entropy": m.entropy(images, maps),
        "consistency": similar[similar.isfinite()],
        "sensitivity": m.sensitivity(images, maps, cam.attribute, classes),
        "infidelity": m.infidelity(*arguments, preset="jittercam"),
        "randomisation": m.randomisation(*arguments, explain=cam.attribute),
        "random_logit": m.random_logit(*arguments, explain=cam.attribute),
    }
    assert set(expected) | {"iou"} | {f"localisation_error_{cut}" for cut in overlaps} == set(METRICS)
    assert 0 < len(known) < IMAGES  # both kinds are met
    assert any(hard)
    for name, values in expected.items():
        cell = table["gradcam", name]
        assert cell.n == len(values)
        # Single drops of this flat curve are 2e-4, near the rounding of its values.
        rounding = 1e-3 if name == "calibration" else 1e-6
        assert cell.mean == pytest.approx(float(values.mean()), rel=1e-5, abs=rounding), name
        error = statistics.stdev(values.tolist()) / len(values) ** 0.5
        assert cell.standard_error == pytest.approx(error, rel=1e-4, abs=rounding), name
    for cut, overlap in overlaps.items():
        cell = table["gradcam", f"localisation_error_{cut}"]
        assert cell.mean == pytest.approx(float(m.localisation_error(overlap)))
        assert cell.level is not None
    assert table["gradcam", "iou"].mean == pytest.approx(float(overlaps["value"].mean(0).max()))
    torch.testing.assert_close(table.curves["gradcam"], torch.stack((deletion.mean(0), insertion.mean(0))))


def test_annotated_classes_are_each_explained(model):
    table = evaluate(
        model, loader(3), ["gradcam"], metrics=["pointing_game"], trainer=quiet(), protocol="fdcam_discriminability"
    )
    data = Boxed()
    pairs = [(i, c) for i in range(IMAGES) for c in sorted(set(data[i][1]["labels"].tolist()))]
    assert [*zip(table.columns["image"].tolist(), table.columns["class"].tolist(), strict=True)] == pairs
    for (i, c), value in zip(pairs, table.columns["pointing_game"], strict=True):
        image, target = data[i]
        maps = cc.GradCAM(model).attribute(image[None], c)
        assert float(m.pointing_game(maps, [target["boxes"][target["labels"] == c]], SIZE)) == float(value)


def test_protocols_choose_their_images(model):
    class Labelled(Boxed):
        def __getitem__(self, i):
            image, target = super().__getitem__(i)
            large = torch.tensor([[0, 0, 24, 20]])
            return image, target if i % 4 else {"labels": torch.tensor([0]), "boxes": large}

    items = DataLoader(Labelled(), 2, collate_fn=lambda items: tuple(zip(*items, strict=True)))
    table = evaluate(model, items, ["gradcam"], trainer=quiet(), protocol="fgcam_localisation")
    assert table.columns["image"].tolist() == [2, 6, 10]  # one box, and not a large one
    few = Protocol(("complexity",), images=4)
    assert len(evaluate(model, loader(), trainer=quiet(), protocol=few).columns["image"]) == 4
    with pytest.raises(cc.CAMError, match="none of 5 images has one"):
        evaluate(model, TensorDataset(torch.rand(5, 3, 24, 24)), trainer=quiet(), protocol="fgcam_localisation")


@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_protocol_runs(model, name, tmp_path):
    few = replace(PROTOCOLS[name], images=8)
    table = evaluate(model, loader(), ["centre", "gradcam"], trainer=quiet(), protocol=few, out=tmp_path)
    for metric in PROTOCOLS[name].metrics:
        assert math.isfinite(table["gradcam", metric].mean)
    assert {"table.md", "table.csv", "table.json", "rows.csv", "settings.json"} <= {f.name for f in tmp_path.iterdir()}
    assert (tmp_path / "curves.png").exists() == ("over_all" in PROTOCOLS[name].metrics)
    said = "Means ± standard errors over n pairs of image and class. With 95 % bootstrap intervals over the images:"
    assert (tmp_path / "table.md").read_text() == f"{table}\n\n{said}\n\n{table.with_intervals()}\n"
    ranked = any(table.ranked_images(metric) >= 5 for metric in table.metrics)
    assert (tmp_path / "ranks.png").exists() == ranked


def test_files_say_what_the_table_says(model, tmp_path, capsys):
    methods = {"ours": cc.GradCAM(model, "2"), "theirs": "layercam"}
    table = evaluate(model, loader(), methods, metrics=["over_all", "iou"], trainer=quiet(), out=tmp_path)
    assert str(table) in capsys.readouterr().out
    whole = json.loads((tmp_path / "table.json").read_text())
    assert whole["table"]["ours"]["over_all"]["mean"] == table["ours", "over_all"].mean
    assert whole["table"]["ours"]["over_all"]["low"] == table.interval("ours", "over_all").low
    assert whole["settings"]["methods"]["theirs"]["class"] == "LayerCAM"
    with open(tmp_path / "table.csv", newline="") as file:
        long = {(row["method"], row["metric"]): row for row in csv.DictReader(file)}
    assert float(long["theirs", "iou"]["level"]) == table["theirs", "iou"].level
    with open(tmp_path / "rows.csv", newline="") as file:
        mine = [float(row["iou"]) for row in csv.DictReader(file) if row["method"] == "theirs" and row["iou"]]
    assert statistics.mean(mine) == pytest.approx(table["theirs", "iou"].mean)


def test_another_evaluation_does_not_mix_with_this_one(model, tmp_path):
    evaluate(model, loader(), ["gradcam"], metrics=["complexity"], trainer=quiet(), out=tmp_path)
    with pytest.raises(cc.CAMError, match=r"another evaluation, which differs in protocol.metrics; pass another out"):
        evaluate(model, loader(), ["gradcam"], metrics=["energy"], trainer=quiet(), out=tmp_path)
    others = Boxed()
    others.images = others.images.flip(0)
    for data, methods, options, words in (
        (others, ["gradcam"], {}, "whose image 0 or its labels were different"),
        (Boxed(), [cc.GradCAM(model, "0")], {}, r"differs in methods.*, methods\.gradcam\.layer;"),
        (Boxed(), ["gradcam"], {"output_fn": lambda scores: scores}, "differs in functions.output_fn;"),
        (Boxed(), ["gradcam"], {"trainer": quiet(precision="bf16-mixed")}, "differs in precision;"),
        (Boxed(), ["gradcam"], {"protocol": Protocol((), preset=m.Preset(3, torch.zeros_like, m.blur))}, ".preset;"),
    ):
        given = DataLoader(data, 2, collate_fn=loader().collate_fn)
        with pytest.raises(cc.CAMError, match=words):
            evaluate(model, given, methods, metrics=["complexity"], **{"trainer": quiet(), "out": tmp_path, **options})
    with torch.no_grad():
        model[0].weight[0] += 1
    with pytest.raises(cc.CAMError, match=r"differs in model\.weights"):
        evaluate(model, loader(), ["gradcam"], metrics=["complexity"], trainer=quiet(), out=tmp_path)


def test_batches_without_any_class_do_not_stop_a_restart(model, tmp_path):
    class Sparse(Boxed):
        def __getitem__(self, i):
            image, target = super().__getitem__(i)
            return image, target if i > 5 else {"labels": torch.zeros(0, dtype=torch.long)}

    given = DataLoader(Sparse(), 2, collate_fn=loader().collate_fn)
    tables = [
        evaluate(model, given, ["gradcam"], trainer=quiet(), protocol="fdcam_discriminability", out=tmp_path)
        for _ in range(2)
    ]
    assert str(tables[0]) == str(tables[1])


def test_a_network_that_changes_its_input_in_place_is_measured_like_one_that_does_not(model):
    class Hasty(torch.nn.Module):
        def __init__(self, careful):
            super().__init__()
            self.inner, self.careful = model, careful

        def forward(self, x):
            return self.inner((x - 0.5) / 0.1 if self.careful else x.sub_(0.5).div_(0.1))

    given = {"methods": "gradcam", "metrics": ["over_all"]}
    tables = [evaluate(Hasty(careful), loader(), **given, trainer=quiet()) for careful in (True, False)]
    assert torch.equal(tables[0].columns["over_all"], tables[1].columns["over_all"])


def test_the_model_and_the_random_state_are_left_as_they_were(tmp_path):
    torch.manual_seed(0)
    module = Net().train()
    trainer = quiet(max_epochs=1)
    few = DataLoader(TensorDataset(torch.rand(2, 3, 16, 16), torch.zeros(2).long()), 2)
    trainer.fit(module, few, few)
    data = TensorDataset(torch.rand(5, 3, 16, 16), torch.randint(3, (5,)))
    before = state(module)
    evaluate(module, DataLoader(data, 2, shuffle=True), ["gradcam", "random"], trainer=quiet())
    assert same(state(module), before)
    assert module.trainer is trainer
    other = torch.nn.Sequential(module.features, torch.nn.Flatten(), torch.nn.Linear(128, 3))
    other.train()
    with pytest.raises(cc.CAMError, match="cam: CAM needs a head"):
        evaluate(other, data, ["cam"], trainer=quiet())
    assert all(part.training for part in other.modules())


def test_the_trainer_goes_on_with_its_own_module(model, tmp_path):
    module, few = Net(), DataLoader(TensorDataset(torch.rand(2, 3, 16, 16), torch.zeros(2).long()), 2)
    watching = CAMCallback(on_error="raise")
    trainer = quiet(max_epochs=1, callbacks=[watching])
    trainer.fit(module, few, few)
    evaluate(module, few, ["gradcam"], metrics=["complexity"], trainer=trainer)
    assert trainer.lightning_module is module
    trainer.save_checkpoint(tmp_path / "after.ckpt")
    Net.load_from_checkpoint(tmp_path / "after.ckpt")


def test_batches_and_their_shares_cover_each_image_once():
    data = TensorDataset(torch.zeros(11, 1))
    for sampler, expected in ((None, list(range(11))), (SubsetRandomSampler([9, 4, 7, 4]), [4, 7, 9])):
        source = DataLoader(data, 2, sampler=sampler)
        batches = Batches(source, indices_of(source))
        assert [*chain(*batches.parts)] == expected
        for world in (1, 2, 3, 8):
            shares = [list(Unrepeated(batches, {1}, world, rank)) for rank in range(world)]
            assert sorted(k for k in chain(*shares) if k is not None) == [*range(len(batches))]
            assert shares[0][0] == 1  # what is finished is compared first
            assert all(shares)  # a process without any batch would end the others


def test_the_loaders_own_choice_of_images_is_kept():
    data = TensorDataset(torch.zeros(6, 1))
    sampled = BatchSampler(SubsetRandomSampler([1, 2, 5]), 2, drop_last=False)
    assert Batches(DataLoader(data, batch_sampler=sampled), [1, 2, 5]).parts == [[1, 2], [5]]
    assert indices_of(DataLoader(data, batch_sampler=sampled)) == [1, 2, 5]
    assert indices_of(DataLoader(data, sampler=DistributedSampler(data, 2, 0))) == list(range(6))
    few = DataLoader(data, sampler=RandomSampler(data, num_samples=2))
    assert len(indices_of(few)) == 2
    assert indices_of(few) == indices_of(few)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"class_names": list("abc")}, "class_names must name the 4 classes of the model, got 3; pass one for each"),
        ({"class_names": list("abcde")}, "class_names must name the 4 classes of the model, got 5; pass one for each"),
        ({"methods": ["gradcan"]}, 'unknown CAM "gradcan"; did you mean "gradcam"'),
        ({"methods": []}, "at least one method"),
        ({"methods": ["gradcam", "Grad-CAM"]}, "a name of its own"),
        ({"metrics": ["deletion"]}, 'unknown metric "deletion"; did you mean "deletion_auc"?'),
        ({"protocol": "fdcam-faithfullness"}, 'did you mean "fdcam_faithfulness"'),
        ({"data": [torch.zeros(2, 3, 8, 8)]}, "must be a DataLoader or a Dataset with a length"),
        ({"data": TensorDataset(torch.zeros(0, 3, 8, 8))}, "at least one image, got none"),
        ({"data": TensorDataset(torch.zeros(2, 5))}, "a batch must be images"),
        ({"model": lambda x: x}, "must be an nn.Module"),
        (
            {"model": torch.nn.Conv2d(3, 2, 1)},
            "N×classes, got 2×2×24×24, perhaps a score for each pixel as in segmentation; pass output_fn",
        ),
        ({"trainer": lambda: quiet(limit_test_batches=0)}, "ran no batch"),
        (
            {"data": labelled(1, -1, 2), "protocol": ANNOTATED},
            "got [-1]",
        ),
        ({"data": labelled(1, 4, 2), "protocol": ANNOTATED}, "0 to 3"),
        ({"data": DataLoader(Boxed(), batch_size=None)}, "with batch_size=None"),
        ({"trainer": lambda: quiet(devices=2, strategy="ddp_spawn")}, 'use strategy="ddp"'),
        ({"trainer": lambda: quiet(precision="bf16-true")}, "would change the weights"),
    ],
)
def test_mistakes_are_explained(model, change, words):
    arguments = {"model": model, "data": loader(), "methods": ["gradcam"], "trainer": quiet} | change
    arguments["trainer"] = arguments["trainer"]()
    with pytest.raises(cc.CAMError) as caught:
        evaluate(**arguments)
    assert words in str(caught.value)
