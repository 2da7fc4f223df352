"""The command that joins the folders of shards."""

import json
import warnings

import numpy as np
import pytest
from PIL import Image

from lightning_callbacks.command.main import main

IMAGES = 5


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """The folders of an evaluation of five pictures, and of its two shards."""
    root = tmp_path_factory.mktemp("merge")
    (root / "images").mkdir()
    for number in range(IMAGES):
        noise = np.random.default_rng(number).integers(0, 255, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(noise).save(root / "images" / f"{number}.png")
    typed = ["evaluate", "--model", "tests.support.evaluation_run:network", "--data", str(root / "images")]
    typed += ["--methods", "gradcam", "random", "--metrics", "complexity", "average_drop", "--batch_size", "1"]
    typed += ["--seeds", "2"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's, of short runs
        for name, shard in (("whole", []), ("zero", ["--shard", "0/2"]), ("one", ["--shard", "1/2"])):
            assert main([*typed, *shard, "--out", str(root / name)]) == 0
    return {name: str(root / name) for name in ("whole", "zero", "one")}


def test_merged_shards_print_and_write_the_table_of_the_whole(folders, tmp_path, capsys):
    out = tmp_path / "merged"
    assert main(["merge", folders["one"], "--out", str(out), folders["zero"]]) == 0  # folders before and after --out
    printed = capsys.readouterr().out
    assert printed.endswith(f"{out / 'table.md'}: {IMAGES} images from 2 folders\n")
    assert (out / "table.md").read_text().startswith(printed.rpartition("\n" + str(out))[0])
    whole, merged = (json.loads((out.parent / path / "table.json").read_text()) for path in (folders["whole"], out))
    assert "Each value of random is a mean over the seeds 0, 1." in printed
    for method in ("gradcam", "random"):
        for metric, cell in whole["table"][method].items():
            assert merged["table"][method][metric] == pytest.approx(cell, abs=1e-6), (method, metric)
    assert main(["merge", folders["zero"], "--out", str(out), "--allow_missing"]) == 0
    assert capsys.readouterr().out.endswith(": 3 images from 1 folder\n")


def test_mistakes_take_one_line(folders, tmp_path, capsys):
    out = ["--out", str(tmp_path / "merged")]
    for typed, words in (
        (out, "there must be at least one folder of a shard, got none; write the --out folders of evaluate"),
        ([folders["zero"]], "required: --out"),
        ([folders["zero"], *out], "2 of 5 batches are missing, of the shards (1, 2)"),
        ([folders["zero"], folders["zero"], *out], "each shard must come once"),
        ([folders["zero"], folders["whole"], *out], "differ in shard"),
        ([str(tmp_path), *out], "must have the settings.json of an evaluation"),
        ([folders["zero"], folders["one"], "--out", folders["whole"]], "out must be a folder of its own"),
        (
            [folders["zero"], *out, "--allow_mising"],
            'unknown argument "--allow_mising"; did you mean "--allow_missing"?',
        ),
    ):
        assert main(["merge", *typed]) == 2
        said = capsys.readouterr().err
        assert said.startswith("captum-cams: ")
        assert said.count("\n") == 1
        assert words in said
    assert not (tmp_path / "merged").exists()
