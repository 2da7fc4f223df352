"""Parts of an evaluation that are joined are the whole evaluation, and parts that do not fit are refused."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

import captum_cams as cc
from lightning_callbacks import Protocol, Table, evaluate, merge_tables
from tests.support.evaluation_run import IMAGES, loader, network, quiet

METHODS = ["gradcam", "random", "centre"]
METRICS = ("over_all", "average_drop", "iou")
QUICK = Protocol(METRICS, preset="quick")


def run(out=None, methods=METHODS, protocol=QUICK, **options) -> Table:
    return evaluate(network(), loader(), methods, protocol=protocol, trainer=quiet(), out=out, **options)


def assert_same(one: Table, other: Table) -> None:
    """All numbers agree to 1e-6, except the times."""
    assert (one.methods, one.metrics, one.skipped) == (other.methods, other.metrics, other.skipped)
    assert one.columns.keys() == other.columns.keys()
    for name in set(one.columns) - {"seconds", "forward_seconds"}:
        torch.testing.assert_close(one.columns[name], other.columns[name], rtol=0, atol=1e-6, equal_nan=True)
    assert one.curves.keys() == other.curves.keys()
    for method, both in one.curves.items():
        torch.testing.assert_close(both, other.curves[method], rtol=0, atol=1e-6)


@pytest.fixture(scope="module")
def whole() -> Table:
    return run(save_curves=True)


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """The folders of three shards, of which the first was continued after an interruption, and their tables."""
    root = tmp_path_factory.mktemp("shards")
    folders = [root / str(k) for k in range(3)]
    run(folders[0], shard=(0, 3), save_curves=True)
    journal = folders[0] / "journal-0.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    assert len(lines) == 2  # batches 0 and 3 of 6
    journal.write_text(lines[0])
    return folders, [run(folder, shard=(k, 3), save_curves=True) for k, folder in enumerate(folders)]


def test_shards_from_folders_are_the_whole(whole, shards, tmp_path):
    folders, _ = shards
    merged = merge_tables(folders[::-1], out=tmp_path / "whole")
    assert_same(merged, whole)
    assert len(merged.rows("random")["image"]) == IMAGES
    assert (tmp_path / "whole" / "table.md").read_text().startswith(f"{merged}\n")
    saved = json.loads((tmp_path / "whole" / "table.json").read_text())
    assert saved["settings"]["images"] == IMAGES
    assert saved["settings"]["shard"] == [0, 3]


def test_shards_from_tables_are_the_whole(whole, shards):
    assert_same(merge_tables(shards[1][::-1]), whole)


def test_rows_without_curves_leave_the_joined_curves_out(whole, shards):
    bare = [replace(table, curves={}) for table in shards[1]]
    for given in (bare, [bare[0], *shards[1][1:]], [shards[1][0], *bare[1:]]):
        assert_same(merge_tables(given), replace(whole, curves={}))
    one = replace(bare[0], curves={"gradcam": shards[1][0].curves["gradcam"]})
    assert_same(merge_tables([one, *shards[1][1:]]), replace(whole, curves={"gradcam": whole.curves["gradcam"]}))
    assert_same(merge_tables([*whole.by_class().values()]), replace(whole, curves={}))  # each image has one class


def test_saved_curves_are_those_of_the_means(whole, shards, tmp_path):
    merge_tables(shards[0], out=tmp_path)
    saved = np.load(tmp_path / "curves.npy")
    assert saved.dtype == np.float16
    assert saved.shape == (IMAGES * len(METHODS), 2, 11)
    assert np.array_equal(saved, whole.columns["curves"].numpy())
    for number, method in enumerate(METHODS):
        mine = saved[(whole.columns["method"] == number).numpy()].astype(np.float64).mean(0)
        np.testing.assert_allclose(mine, whole.curves[method].numpy(), rtol=0, atol=1e-3)  # float16
    with pytest.raises(cc.CAMError, match='save_curves needs a metric of the curves, got iou; add "over_all"'):
        run(protocol=Protocol(("iou",)), save_curves=True)


def test_shards_that_do_not_belong_together_are_refused(shards, tmp_path):
    folders, tables = shards
    other = tmp_path / "other"
    run(other, shard=(1, 3), methods=["gradcam"], save_curves=True)
    for given, words in (
        ([folders[0], other], r"differ in methods\.random, methods\.centre"),
        ([*folders, folders[1]], r"each shard must come once, but .*1 and .*1 both have shard \(1, 3\)"),
        (folders[:2], r"2 of 6 batches are missing, of the shards \(2, 3\)"),
        ([tmp_path / "none"], "must have the settings.json of an evaluation"),
        ([*tables, tables[0]], "image 0 is in two"),
        ([tables[0], folders[1]], "pass either folders or tables"),
        ([], "must be a list of the folders"),
        (folders[0], "must be a list of the folders"),
    ):
        with pytest.raises(cc.CAMError, match=words):
            merge_tables(given)
    before = (folders[0] / "table.md").read_text()
    with pytest.raises(cc.CAMError, match=r"out must be a folder of its own, but .*0 holds an evaluation"):
        merge_tables(folders, out=folders[0])
    assert (folders[0] / "table.md").read_text() == before
    with pytest.raises(cc.CAMError, match="out needs the settings"):
        merge_tables(tables, out=tmp_path)
    part = merge_tables(folders[:2], allow_missing=True)
    assert len(part.rows("random")["image"]) == IMAGES - 3  # batches 2 and 5 have two images and one
