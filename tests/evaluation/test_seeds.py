"""Methods that draw random numbers, over several seeds, against a loop of evaluations with one seed each."""

import csv
import json

import numpy as np
import pytest
import torch
from scipy import stats

import captum_cams as cc
from captum_cams import statistics
from lightning_callbacks import Protocol, Table, evaluate, merge_tables
from tests.support.evaluation_run import IMAGES, loader, network, quiet

METRICS = ("over_all", "iou", "consistency")  # one value, one at the best threshold, one that compares rows
PROTOCOL = Protocol(METRICS, preset="quick", classes="annotated")
SEEDS = (0, 4, 5)
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # Lightning's, of short runs


def run(methods, model=None, **options) -> Table:
    return evaluate(model or network(), loader(), methods, **{"protocol": PROTOCOL, "trainer": quiet()} | options)


def methods(model, seed=0):
    drawn = {"noise": cc.Random(model, seed=seed), "copy": cc.Blurred(model, base=cc.Random(model, seed=seed))}
    return {"gradcam": "gradcam", **drawn}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("seeds")


@pytest.fixture(scope="module")
def table(folder) -> Table:
    model = network()
    return run(methods(model), model, seeds=SEEDS, out=folder / "out", save_maps=folder / "maps", save_curves=True)


@pytest.fixture(scope="module")
def loop() -> list[Table]:
    """One evaluation for each seed."""
    found = []
    for seed in SEEDS:
        model = network()
        found.append(run(methods(model, seed), model))
    return found


def test_the_rows_are_those_of_the_loop(table, loop):
    assert table.seeds == table.seeds_of("noise") == table.seeds_of("copy") == SEEDS
    assert table.seeds_of("gradcam") == ()
    assert table.rows("gradcam")["seed"].unique().tolist() == [-1]
    for name in ("noise", "copy"):
        rows = table.rows(name)
        for seed, one in zip(SEEDS, loop, strict=True):
            mine = rows["seed"] == seed
            assert torch.equal(rows["image"][mine], one.rows(name)["image"])
            for metric in METRICS:
                torch.testing.assert_close(table.values(name, metric)[mine], one.values(name, metric), equal_nan=True)
        expected = torch.stack([one.curves[name] for one in loop]).mean(0)
        torch.testing.assert_close(table.curves[name], expected)


def test_means_and_intervals_are_those_of_the_loop(table, loop):
    for metric in METRICS:
        for name in ("noise", "copy"):
            means = [one[name, metric].mean for one in loop]
            cell, of = table[name, metric], table.interval(name, metric)
            assert cell.mean == pytest.approx(np.mean(means))
            assert cell.n == loop[0][name, metric].n
            assert of.seed_deviation == pytest.approx(np.std(means, ddof=1))
            values = torch.stack([one.values(name, metric).double() for one in loop]).mean(0)
            known = values[values.isfinite()]
            errors = known.std() / len(known) ** 0.5, np.std(means, ddof=1) / 3**0.5
            assert cell.standard_error == pytest.approx(float(np.hypot(*errors)))
            plain = statistics.intervals(values[:, None], loop[0].rows(name)["image"])[0]
            wide = stats.t.ppf(0.975, 2) * errors[1]
            assert of.high - of.mean == pytest.approx(float(np.hypot(plain.high - plain.mean, wide)))
            assert table.intervals()[name, metric].low == pytest.approx(of.low)
            torch.testing.assert_close(
                table.paired_values(metric)[0][:, table.methods.index(name)], values, equal_nan=True
            )
        assert table["gradcam", metric] == loop[0]["gradcam", metric]
        assert table.interval("gradcam", metric).low == pytest.approx(loop[0].interval("gradcam", metric).low)
        assert table.interval("gradcam", metric).seed_deviation == 0


def test_comparisons_and_ranks_are_those_of_the_means_over_the_seeds(table):
    for metric in METRICS:
        values, images = table.paired_values(metric)
        one = table.compare("noise", "gradcam")[metric]
        p, _ = statistics.signed_rank(values[:, 1] - values[:, 0], images)
        assert one.p == pytest.approx(p)
        assert one.difference == pytest.approx(table["noise", metric].mean - table["gradcam", metric].mean)
    assert table.ranks("over_all").images == IMAGES


def test_every_form_states_the_seeds(table, folder):
    printed = str(table)
    assert "Each value of noise, copy is a mean over the seeds 0, 4, 5." in printed
    assert "| gradcam | " not in table.over_seeds()
    deviation = table.interval("noise", "over_all").seed_deviation
    assert f"| noise | {deviation:.2g} | " in table.over_seeds()
    cells = {(cell["method"], cell["metric"]): cell for cell in table.cells()}
    assert (cells["gradcam", "iou"]["seeds"], cells["noise", "iou"]["seeds"]) == (1, 3)
    assert cells["noise", "over_all"]["seed_deviation"] == pytest.approx(deviation)
    assert table.over_seeds() in (folder / "out" / "table.md").read_text()
    with open(folder / "out" / "rows.csv", newline="") as file:
        rows = [*csv.DictReader(file)]
    assert {(row["method"], row["seed"]) for row in rows} == {
        ("gradcam", ""),
        *((name, str(seed)) for name in ("noise", "copy") for seed in SEEDS),
    }
    assert len(rows) == len(table.columns["image"]) == len(np.load(folder / "out" / "curves.npy"))
    saved = json.loads((folder / "out" / "table.json").read_text())
    assert saved["settings"]["seeds"] == [*SEEDS]
    assert saved["table"]["gradcam"]["iou"]["seed_deviation"] is None


def test_the_maps_of_each_seed_are_saved_and_read(folder, table):
    with pytest.raises(cc.CAMError, match="seeds needs a method that draws random numbers, got again"):
        run({"again": cc.StoredMaps(folder / "maps", "noise[seed=4]")}, metrics="over_all", seeds=2)
    again = run({"again": cc.StoredMaps(folder / "maps", "noise[seed=4]")}, metrics="over_all")
    expected = table.values("noise", "over_all")[table.rows("noise")["seed"] == 4]
    assert torch.equal(again.values("again", "over_all"), expected)


def test_shards_over_seeds_are_the_whole(table, folder, tmp_path):
    model = network()
    parts = []
    for k in range(2):
        parts.append(run(methods(model), model, seeds=SEEDS, shard=(k, 2), out=tmp_path / str(k), save_curves=True))
    for merged in (merge_tables([tmp_path / "1", tmp_path / "0"]), merge_tables(parts)):
        for name in {*table.columns} - {"seconds", "forward_seconds"}:
            torch.testing.assert_close(merged.columns[name], table.columns[name], rtol=0, atol=1e-6, equal_nan=True)
    other = run(methods(model), model, seeds=2, shard=(1, 2), save_curves=True)
    with pytest.raises(cc.CAMError, match="must have the same seeds, got 0, 4, 5 and 0, 1;"):
        merge_tables([parts[0], other])
    with pytest.raises(cc.CAMError, match="differs in seeds"):
        run(methods(model), model, seeds=3, shard=(0, 2), out=tmp_path / "0", save_curves=True)


def test_explainers_stay_as_they_are_and_code_of_others_gets_each_seed():
    model = network()
    noise = cc.Random(model, seed=9)
    table = run(
        {"noise": noise, "own": lambda model, images, target: torch.rand(len(images), 6, 6)},
        model,
        seeds=2,
        metrics="iou",
    )
    assert noise.seed == 9
    first, second = (table.values("own", "iou")[table.rows("own")["seed"] == seed] for seed in (0, 1))
    assert not torch.equal(first, second)
    assert "noise" in str(table.by_class()[0].over_seeds())


@pytest.mark.parametrize(
    ("seeds", "words"),
    [
        (1, "2 or more, or different integers of at least 0, got 1; for one seed, pass explainers"),
        ((3, 3), "got (3, 3)"),
        ((0, -1), "got (0, -1)"),
        ((0, True), "got (0, True)"),
        ("12", 'got "12"'),
        ((), "got ()"),
    ],
)
def test_seeds_must_be_several(seeds, words):
    with pytest.raises(cc.CAMError) as caught:
        run("random", seeds=seeds)
    assert words in str(caught.value)
