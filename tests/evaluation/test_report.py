"""The report of an evaluation: its numbers are those of the table, and nothing of it disturbs the evaluation."""

import json
import shutil
from functools import partial

import pytest
import torch
from torch.utils.data import TensorDataset

import captum_cams as cc
from lightning_callbacks import evaluate, merge_tables, write_report
from lightning_callbacks.command.main import main
from lightning_callbacks.evaluation import pictures, report
from lightning_callbacks.evaluation.pictures import read_pictures
from lightning_callbacks.evaluation.report_rows import read_rows, read_table
from lightning_callbacks.evaluation.report_words import disagreement, ranks_of, words_of
from lightning_callbacks.evaluation.sampling import draw
from tests.support.evaluation_run import IMAGES, loader, network, quiet
from tests.support.volumes import seeded_densenet, volumes

METHODS = {"gradcam": "gradcam", "random": "random", "own layer": "layercam"}
METRICS = ["insertion_auc", "average_drop", "complexity", "energy"]
pytestmark = pytest.mark.filterwarnings("ignore:The 'test_dataloader'", "ignore:.*GPU")
run = partial(evaluate, methods=METHODS, metrics=METRICS, protocol="training")


def kept(folder):
    """The pictures of a folder by image, without the hash of the settings."""
    files = sorted((folder / "pictures").glob("*.json"))
    contents = [json.loads(file.read_text()) for file in files]
    return {one["image"]: {key: value for key, value in one.items() if key != "settings"} for one in contents}


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report") / "whole"
    return run(network(), loader(), trainer=quiet(), out=folder), folder


def test_the_report_says_what_the_table_says(evaluated):
    table, folder = evaluated
    content = read_table(folder)
    rows = read_rows(folder, table.methods, table.metrics)
    words, ranks = words_of(content, rows), ranks_of(content, rows)
    for metric in table.metrics:
        values, images = table.paired_values(metric)
        assert torch.equal(rows.images, images)
        assert torch.equal(rows.values[metric].nan_to_num(-9), values.nan_to_num(-9))
        best = words[metric]["best"]
        assert best == table.methods[max(range(3), key=table.goodness(metric).__getitem__)]
        for method, said in words[metric]["against"].items():
            one = table.compare(method, best)[metric]
            assert said["shown"] == {None: "none", best: "worse", method: "better"}[one.better]
            same = torch.tensor([said[key] for key in ("difference", "low", "high")], dtype=torch.float64)
            torch.testing.assert_close(same, torch.tensor([one.difference, one.low, one.high]).double(), equal_nan=True)
        if metric in ranks:
            assert dict(ranks[metric]["places"]) == {one.method: one.mean_rank for one in table.ranks(metric)}
    assert set(ranks) == {"insertion_auc", "average_drop", "complexity"}  # too few images have boxes for "energy"


def test_seeds_are_kept_apart(tmp_path):
    table = run(network(), loader(), methods=["gradcam", "random"], metrics="complexity", seeds=2, out=tmp_path)
    values, _ = table.seeded_values("complexity")
    assert torch.equal(read_rows(tmp_path, table.methods, table.metrics).values["complexity"], values)
    assert set(next(iter(kept(tmp_path)[0]["rows"].values()))) == {"gradcam", "random"}


def test_shards_that_are_merged_keep_the_pictures_of_the_whole(evaluated, tmp_path):
    for k in range(2):
        run(network(), loader(), trainer=quiet(), out=tmp_path / str(k), shard=(k, 2))
    merge_tables([tmp_path / "0", tmp_path / "1"], out=tmp_path / "merged")
    assert kept(tmp_path / "merged") == kept(evaluated[1])
    assert sorted(kept(evaluated[1])) == [*range(IMAGES)]
    assert main(["report", str(tmp_path / "merged")]) == 0
    ours, whole = ((folder / "report.html").read_text() for folder in (tmp_path / "merged", evaluated[1]))
    assert ours.count("data:image/webp") == whole.count("data:image/webp") == 3 * IMAGES


def test_an_interrupted_evaluation_keeps_the_same_pictures(evaluated, tmp_path):
    shutil.copytree(evaluated[1], tmp_path / "again")
    before = kept(tmp_path / "again")
    journal = tmp_path / "again" / "journal-0.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join(lines[:-2]))
    for index in {int(image) for line in lines[-2:] for image in json.loads(line)["entry"]["images"]}:
        (tmp_path / "again" / "pictures" / f"{index:08}.json").unlink()
    run(network(), loader(), trainer=quiet(), out=tmp_path / "again")
    assert kept(tmp_path / "again") == before
    stray = tmp_path / "again" / "pictures" / "00000000.json"
    stray.write_text(json.dumps(json.loads(stray.read_text()) | {"settings": "another"}))
    mark = json.loads((tmp_path / "again" / "pictures" / "00000001.json").read_text())["settings"]
    assert [one["image"] for one in read_pictures(tmp_path / "again", mark)] == [*range(1, IMAGES)]


def test_a_sample_of_the_images_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "KEPT", 3)
    run(network(), loader(), methods="gradcam", metrics="complexity", trainer=quiet(), out=tmp_path)
    assert sorted(kept(tmp_path)) == sorted(draw(range(IMAGES))[:3])


def test_predictions_are_judged_by_labels_of_the_same_classes_only(evaluated, tmp_path):
    one = kept(evaluated[1])[1]
    assert one["labels"] == [1, 2]
    assert one["predicted"] == int(network()(loader().dataset[1][0][None]).argmax())
    data = loader().dataset
    data.classes = ["a", "b", "c"]  # the network has four
    batches = torch.utils.data.DataLoader(data, 2, collate_fn=loader().collate_fn)
    run(network(), batches, methods="gradcam", metrics="complexity", trainer=quiet(), out=tmp_path)
    assert {one["labels"] is None and one["names"] == {} for one in kept(tmp_path).values()} == {True}


@pytest.mark.parametrize("place", [(pictures, "photograph"), (report, "render")])
def test_an_evaluation_goes_on_without_its_report(place, evaluated, tmp_path, monkeypatch):
    def broken(*args, **options):
        raise RuntimeError("broken")

    monkeypatch.setattr(*place, broken)
    with pytest.warns(UserWarning, match="report.*RuntimeError: broken"):
        table = run(network(), loader(), trainer=quiet(), out=tmp_path)
    for metric in METRICS:
        both = table.paired_values(metric)[0], evaluated[0].paired_values(metric)[0]
        assert torch.equal(*(one.nan_to_num(-1) for one in both))
    assert (tmp_path / "report.html").exists() == (place[1] == "photograph")


def test_volumes_have_a_report_without_pictures(tmp_path):
    data = TensorDataset(volumes(2))
    evaluate(seeded_densenet(), data, "gradcam", metrics="complexity", trainer=quiet(), out=tmp_path)
    assert kept(tmp_path) == {}
    assert "This folder has no pictures" in (tmp_path / "report.html").read_text()


def test_disagreement_is_one_minus_the_mean_correlation():
    maps = torch.rand(3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    correlations = torch.corrcoef(maps.flatten(1))
    expected = 1 - float(correlations[0, 1] + correlations[0, 2] + correlations[1, 2]) / 3
    assert disagreement([*maps]) == pytest.approx(expected, abs=1e-12)
    assert disagreement([maps[0], 2 * maps[0] + 1]) == pytest.approx(0, abs=1e-9)
    assert disagreement([maps[0], -maps[0]]) == pytest.approx(2)
    assert disagreement([maps[0], torch.ones(8, 8)]) == 1
    assert disagreement([maps[0]]) is None


def test_folders_without_a_finished_evaluation_are_refused(evaluated, tmp_path, capsys):
    begun, damaged, other = (tmp_path / name for name in ("begun", "damaged", "other"))
    begun.mkdir()
    (begun / "journal-0.jsonl").touch()
    for folder in (damaged, other):
        shutil.copytree(evaluated[1], folder)
    (damaged / "table.json").write_text("{")
    text = (other / "rows.csv").read_text()
    (other / "rows.csv").write_text(text.replace("random", "unknown"))
    for folder, words in (
        (tmp_path / "none", "there is no such folder"),
        (tmp_path, "has none; pass the out of evaluate"),
        (begun, "has one that is not finished; run the same captum-cams evaluate again"),
        (damaged, "must have a whole table.json and rows.csv of this version"),
        (other, "must have the methods and metrics of table.json"),
    ):
        assert main(["report", str(folder)]) == 2
        assert words in capsys.readouterr().err
        with pytest.raises(cc.CAMError, match=words):
            write_report(folder)
