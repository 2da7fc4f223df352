"""What an evaluation folder holds is used by one run at a time, and only for what it was made for."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import captum_cams as cc
from captum_cams.metrics.presets import PRESETS
from lightning_callbacks import Protocol, evaluate
from tests.support.evaluation_run import loader, network, quiet

ROOT = Path(__file__).parents[2]
QUICK = Protocol((), preset="quick")
METRICS = ["average_drop", "over_all"]


def run(out, methods=("gradcam", "constant", "random"), data=None, model=None, **options):
    given = loader() if data is None else data
    given = {"model": model or network(), "data": given, "methods": list(methods), "metrics": METRICS}
    return evaluate(**given, trainer=quiet(), protocol=QUICK, out=out, **options)


def numbers(table):
    return {(method, metric): table[method, metric].mean for method in table.methods for metric in METRICS}


def changed(model, at, module):
    model[at] = module
    return model


def test_methods_in_another_order_keep_their_numbers(tmp_path):
    first = run(tmp_path)
    again = run(tmp_path, ("random", "gradcam", "constant"))
    assert again.methods == ("random", "gradcam", "constant")
    assert numbers(again) == numbers(first)
    for name in first.methods:
        one, other = (table.curves[name] for table in (first, again))
        assert torch.equal(one, other)
    with pytest.raises(cc.CAMError, match=r"differs in methods\.eigencam"):
        run(tmp_path, (*first.methods, "eigencam"))


def test_whatever_changes_the_numbers_is_refused(tmp_path):
    images, labels = torch.rand(8, 3, 24, 24), torch.arange(8) % 4
    data = DataLoader(TensorDataset(images, labels), 2)
    run(tmp_path, data=data, output_fn=lambda output: output)
    other = images.clone()
    other[5] = 0
    model = network()
    for options, words in (
        ({"output_fn": lambda output: 9 * output[:, [1, 0, 2, 3]]}, r"differs in functions\.output_fn"),
        ({"data": DataLoader(TensorDataset(other, labels), 2)}, "whose image 5 or its labels were different"),
        ({"data": DataLoader(TensorDataset(images, labels.flip(0)), 2)}, "whose image 0 or its labels were different"),
        ({"model": changed(network(), 1, nn.GELU())}, r"differs in model\.parts\.1;"),
        ({"model": model, "methods": [cc.FGCAM(model, batch_norm="fold")]}, r"differs in methods"),
    ):
        with pytest.raises(cc.CAMError, match=words):
            run(tmp_path, **{"data": data, "output_fn": lambda output: output} | options)
    run(tmp_path, data=data, output_fn=lambda output: output)  # the same code, another function


def test_a_folder_without_a_finished_batch_takes_other_settings(tmp_path):
    with pytest.raises(cc.CAMError, match="cam: CAM needs a head"):
        run(tmp_path, ["cam"], model=nn.Sequential(*network()[:4], nn.Flatten(), nn.Linear(288, 4)).eval())
    run(tmp_path, ["gradcam"])


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: '{"batch": 1, "pla\n' + text,
        lambda text: '{"batch": 999, "places": [], "values": [], "curves": [[[0.0]]]}\n' + text,
        lambda text: "3\n" + text,
        lambda text: text[: len(text) // 2] + text[len(text) // 2 :].replace("0", "1", 1),
        lambda text: text[:-40],
        lambda text: "\x00\xff" + text,
    ],
    ids=["half", "foreign", "number", "digit", "torn", "bytes"],
)
def test_a_damaged_journal_loses_its_damaged_lines_alone(tmp_path, damage):
    expected = numbers(run(tmp_path, ["gradcam"]))
    journal = tmp_path / "journal-0.jsonl"
    whole = {*journal.read_text().splitlines()}
    journal.write_text(damage(journal.read_text()), encoding="latin-1")
    with pytest.warns(UserWarning, match="left out 1 damaged line of the journal") as said:
        assert numbers(run(tmp_path, ["gradcam"])) == expected
    assert sum(issubclass(one.category, UserWarning) for one in said) == 1
    kept = journal.read_text().splitlines()
    assert len(kept) == len(whole)
    assert len(whole & {*kept}) >= len(whole) - 1  # the others were not done again
    run(tmp_path, ["gradcam"])  # and it is whole again


@pytest.mark.parametrize("text", ["", "[]", '{"methods": '])
def test_damaged_settings_are_written_again(tmp_path, text):
    expected = numbers(run(tmp_path, ["gradcam"]))
    before = (tmp_path / "settings.json").read_text()
    (tmp_path / "settings.json").write_text(text)
    with pytest.raises(cc.CAMError, match=r"its settings.json is damaged"):
        run(tmp_path, ["random"])
    with pytest.warns(UserWarning, match=r"left out the damaged settings\.json"):
        assert numbers(run(tmp_path, ["gradcam"])) == expected
    assert json.loads((tmp_path / "settings.json").read_text()) == json.loads(before)


class Broken(TensorDataset):
    def __getitem__(self, index):
        if index in (1, 4, 5):
            raise OSError(f"broken data stream in {index}.jpg")
        return super().__getitem__(index)


def test_images_that_cannot_be_read_are_named_or_left_out_and_counted(tmp_path):
    images, labels = torch.rand(7, 3, 24, 24), torch.arange(7) % 4
    broken = DataLoader(Broken(images, labels), 2)
    with pytest.raises(cc.CAMError, match=r"image 1 of the data cannot be read \(OSError\): broken .* in 1\.jpg"):
        run(None, ["gradcam"], data=broken)
    with pytest.warns(UserWarning, match=r"left out image (\d): broken data stream in \1\.jpg"):
        table = run(tmp_path, ["gradcam"], data=broken, skip_unreadable=True)
    assert table.skipped == (1, 4, 5)  # of which two fill a batch
    assert [*dict.fromkeys(table.columns["image"].tolist())] == [0, 2, 3, 6]
    assert "could not be read: 3 images (1, 4, 5)" in str(table)
    assert json.loads((tmp_path / "table.json").read_text())["skipped"] == [1, 4, 5]
    assert run(tmp_path, ["gradcam"], data=broken, skip_unreadable=True).skipped == (1, 4, 5)
    mended = DataLoader(TensorDataset(images, labels), 2)
    with pytest.raises(cc.CAMError, match="whose image 1 or its labels were different"):
        run(tmp_path, ["gradcam"], data=mended, skip_unreadable=True)


HOLD = """
import sys, warnings
warnings.simplefilter("ignore")
from torch.utils.data import DataLoader
from tests.evaluation.test_journal import Waiting, run
run(sys.argv[1], ["gradcam"], data=DataLoader(Waiting(), 1))
"""


class Waiting(TensorDataset):
    """Says that the run has begun, and waits for a word."""

    def __init__(self):
        super().__init__(torch.rand(2, 3, 24, 24), torch.zeros(2).long())

    def __getitem__(self, index):
        if index:
            print("READING", flush=True)
            sys.stdin.readline()
        return super().__getitem__(index)


@pytest.mark.slow
def test_one_run_at_a_time_and_a_killed_one_leaves_no_lock(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env=environment, text=True, **pipes) as first:
        assert any("READING" in line for line in first.stdout), first.stderr.read()
        with pytest.raises(cc.CAMError, match="another run is using"):
            run(tmp_path, ["gradcam"])
        first.send_signal(signal.SIGKILL)
        first.wait()
    with pytest.raises(cc.CAMError, match="holds another evaluation"):  # the lock is free; other images are another
        run(tmp_path, ["gradcam"])


def test_an_error_and_an_end_leave_no_lock(tmp_path):
    for _ in range(2):
        with pytest.raises(cc.CAMError, match="cannot be read"):
            run(tmp_path, ["gradcam"], data=DataLoader(Broken(torch.rand(2, 3, 24, 24), torch.zeros(2).long()), 2))
    for _ in range(2):
        run(tmp_path, ["gradcam"])


def test_presets_of_ones_own_count(tmp_path):
    def given(value):
        return Protocol(tuple(METRICS), preset=cc.metrics.Preset(10, lambda x: x * value, PRESETS["rise"].deleted))

    arguments = {"model": network(), "data": loader(), "methods": "gradcam", "out": tmp_path}
    evaluate(**arguments, trainer=quiet(), protocol=given(0.0))
    with pytest.raises(cc.CAMError, match=r"differs in protocol\.preset\.deleted"):
        evaluate(**arguments, trainer=quiet(), protocol=given(0.5))


def test_nothing_is_described_without_a_folder():
    lock = threading.Lock()
    table = run(None, ["gradcam"], output_fn=lambda output: (lock.locked(), output)[1])
    assert numbers(table) == numbers(run(None, ["gradcam"]))
