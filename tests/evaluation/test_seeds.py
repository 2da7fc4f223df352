"""Methods that draw random numbers, over several seeds, against a loop of evaluations with one seed each."""

import csv
import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

import captum_cams as cc
from captum_cams import statistics
from lightning_callbacks import Protocol, Table, evaluate, merge_tables
from tests.support.evaluation_run import loader, network, quiet

METRICS = ("over_all", "iou", "consistency")  # one value, one at the best threshold, one that compares rows
PROTOCOL = Protocol(METRICS, preset="quick", classes="annotated")
SEEDS, IMAGES = (0, 4, 5), 7
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # Lightning's, of short runs


def run(methods, model=None, **options) -> Table:
    return evaluate(
        model or network(),
        loader(IMAGES),
        methods,
        **{"protocol": PROTOCOL, "trainer": quiet(), "limit": IMAGES} | options,
    )


def methods(model, seed=0):
    return {"gradcam": "gradcam", "noise": cc.Blurred(model, base=cc.Random(model, seed=seed))}


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
    assert table.seeds == table.seeds_of("noise") == SEEDS
    assert table.seeds_of("gradcam") == ()
    assert table.rows("gradcam")["seed"].unique().tolist() == [-1]
    rows = table.rows("noise")
    for seed, one in zip(SEEDS, loop, strict=True):
        mine = rows["seed"] == seed
        assert torch.equal(rows["image"][mine], one.rows("noise")["image"])
        for metric in METRICS:
            found, expected = table.values("noise", metric)[mine], one.values("noise", metric)
            torch.testing.assert_close(found, expected, equal_nan=True)
    torch.testing.assert_close(table.curves["noise"], torch.stack([one.curves["noise"] for one in loop]).mean(0))


def test_means_and_intervals_are_those_of_the_loop(table, loop):
    intervals = table.intervals()
    for metric in METRICS:
        means = [one["noise", metric].mean for one in loop]
        cell, of, deviation = table["noise", metric], intervals["noise", metric], np.std(means, ddof=1)
        assert cell.mean == pytest.approx(np.mean(means))
        assert cell.n == loop[0]["noise", metric].n
        assert of.seed_deviation == pytest.approx(deviation)
        values = torch.stack([one.values("noise", metric).double() for one in loop]).mean(0)
        known = values[values.isfinite()]
        error = float(known.std()) / len(known) ** 0.5
        assert cell.standard_error == pytest.approx(math.hypot(error, deviation / 3**0.5))
        plain = statistics.intervals(values[:, None], loop[0].rows("noise")["image"])[0]
        wide = stats.t.ppf(0.975, 2) * deviation / 3**0.5
        assert of.high - of.mean == pytest.approx(math.hypot(plain.high - plain.mean, wide))
        torch.testing.assert_close(table.paired_values(metric)[0][:, 1], values, equal_nan=True)
        assert table["gradcam", metric] == loop[0]["gradcam", metric]
        assert intervals["gradcam", metric].seed_deviation == 0
    alone = loop[0].interval("gradcam", "over_all")
    assert intervals["gradcam", "over_all"].low == pytest.approx(alone.low)
    assert table.interval("noise", "over_all") == intervals["noise", "over_all"]


def test_comparisons_and_ranks_are_those_of_the_means_over_the_seeds(table):
    values, images = table.paired_values("over_all")
    one = table.compare("noise", "gradcam")["over_all"]
    assert one.p == pytest.approx(statistics.signed_rank(values[:, 1] - values[:, 0], images)[0])
    assert one.difference == pytest.approx(table["noise", "over_all"].mean - table["gradcam", "over_all"].mean)
    assert table.ranks("over_all").images == IMAGES


def test_every_form_states_the_seeds(table, folder):
    printed = str(table)
    assert "Each value of noise is a mean over the seeds 0, 4, 5." in printed
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
        *(("noise", str(seed)) for seed in SEEDS),
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


def test_shards_over_seeds_are_the_whole(tmp_path):
    quick = {"seeds": (0, 4), "metrics": "complexity"}
    folders, model = [tmp_path / str(k) for k in range(2)], network()
    data = loader(2)
    whole = evaluate(model, data, methods(model), trainer=quiet(), **quick)
    options = [{"shard": (k, 2), "out": folder, "trainer": quiet(), **quick} for k, folder in enumerate(folders)]
    parts = [evaluate(model, data, methods(model), **one) for one in options]
    for merged in (merge_tables(folders[::-1]), merge_tables(parts[::-1])):
        for name in {*whole.columns} - {"seconds", "forward_seconds"}:
            torch.testing.assert_close(merged.columns[name], whole.columns[name], rtol=0, atol=1e-6, equal_nan=True)
    with pytest.raises(cc.CAMError, match="differs in seeds"):
        evaluate(model, data, methods(model), **options[0] | {"seeds": (0, 5)})
    columns = {**parts[1].columns, "seed": parts[1].columns["seed"].clamp(max=3)}
    with pytest.raises(cc.CAMError, match="must have the same seeds, got 0, 4 and 0, 3;"):
        merge_tables([parts[0], replace(parts[1], columns=columns)])


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
        ("12", "got '12'"),
        ((), "got ()"),
    ],
)
def test_seeds_must_be_several(seeds, words):
    with pytest.raises(cc.CAMError) as caught:
        run("random", seeds=seeds)
    assert words in str(caught.value)
