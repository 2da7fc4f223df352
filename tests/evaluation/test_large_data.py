"""What 50,000 images and five methods take on the disk and in memory."""

import math
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from captum_cams.metrics.functional.consistency import PIXELS
from captum_cams.metrics.protocols import PROTOCOLS
from lightning_callbacks.evaluation.journal import Journal
from lightning_callbacks.evaluation.packed import packed, unpacked
from lightning_callbacks.evaluation.rows import Rows
from tests.support.evaluation_run import quiet

ROOT = Path(__file__).parents[2]
METHODS = ["gradcam", "layercam", "fdcam", "fgcam(gradcam)", "scorecam"]
METRICS = [*PROTOCOLS["default"].metrics, "consistency"]  # the one that keeps the most numbers, and the default ones
IMAGES, BATCH, POINTS = 50_000, 8, 29  # the batch size and the number of points that evaluate has by default
NUMBERS = torch.Generator().manual_seed(0)


def batch_of(rows: Rows, number: int) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Random numbers, which cannot be packed well: the largest journal that there can be."""
    images, each = BATCH, len(rows.methods)
    columns = {name: torch.rand(images * each, *one.shape[1:], generator=NUMBERS) for name, one in rows.empty.items()}
    columns["consistency"] = torch.randint(256, (images * each, PIXELS), generator=NUMBERS)
    columns = {name: column.to(rows.empty[name].dtype) for name, column in columns.items()}
    columns["image"] = torch.arange(number * BATCH, number * BATCH + images).repeat_interleave(each)
    columns["class"] = torch.randint(1000, (images,), generator=NUMBERS).repeat_interleave(each)
    columns["method"] = torch.arange(each).repeat(images)
    return columns, {name: images * torch.rand(2, rows.points, generator=NUMBERS) for name in rows.methods}


def write(folder: Path, save_curves: bool, batches: int) -> Rows:
    """Write the journal of an evaluation, and return its rows."""
    rows, journal = Rows(METHODS, METRICS, POINTS, save_curves), Journal(folder, {"save_curves": save_curves})
    journal.open(quiet())
    for number in range(batches):
        columns, curves = batch_of(rows, number)
        rows.update(columns, curves)
        marks = {str(index): f"{random.getrandbits(128):032x}" for index in columns["image"].unique().tolist()}
        journal.write(0, {"batch": number, "images": marks, "rows": rows.to_json(columns, curves)})
    journal.close()
    return rows


RESUME = """
import resource, sys
from pathlib import Path
from tests.evaluation.test_large_data import METHODS, METRICS, POINTS, Journal, Rows, quiet

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # KiB on Linux

save_curves, trainer = sys.argv[2] == "True", quiet()
Rows(METHODS, METRICS, POINTS, save_curves).table()  # what the first call loads does not count
before = peak()
journal = Journal(Path(sys.argv[1]), {"save_curves": save_curves})
journal.open(trainer)
rows = Rows(METHODS, METRICS, POINTS, save_curves)
for entry in journal.entries():
    rows.update(*rows.from_json(entry["rows"]))
table = rows.table()
print(len(table.columns["image"]), float(table["fdcam", "over_all"].mean), peak() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the unit of ru_maxrss differs")
@pytest.mark.parametrize("save_curves", [False, True])
def test_the_journal_and_a_restart_are_bounded(tmp_path, save_curves):
    table = write(tmp_path, save_curves, IMAGES // BATCH).table()
    size = (tmp_path / "journal-0.jsonl").stat().st_size / 1e6
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", "-c", RESUME, str(tmp_path), str(save_curves)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    count, mean, memory = map(float, done.stdout.split()[-3:])
    print(f"journal {size:.1f} MB, restart {memory:.0f} MiB")
    assert count == IMAGES * len(METHODS)
    assert math.isclose(mean, table["fdcam", "over_all"].mean, abs_tol=1e-6)
    if not save_curves:
        assert size <= 60
    assert memory <= 200


def test_a_restart_gives_the_rows_that_were_written(tmp_path):
    rows = write(tmp_path, True, 20)
    journal = Journal(tmp_path, {"save_curves": True})
    journal.open(quiet())
    again = Rows(METHODS[::-1], METRICS, POINTS, True)
    for entry in journal.entries():
        again.update(*again.from_json(entry["rows"]))
    journal.close()
    one, other = rows.table(), again.table()
    for method in METHODS:
        for name, column in one.rows(method).items():
            if name != "method":
                assert torch.equal(column, other.rows(method)[name])
        torch.testing.assert_close(other.curves[method], one.curves[method], rtol=0, atol=1e-6)


def test_columns_are_kept_in_few_parts():
    rows = Rows(METHODS, METRICS, POINTS)
    for number in range(1000):
        rows.update(*batch_of(rows, number))
        assert len(getattr(rows, "column of image")) <= 2 + math.log2(number + 2)
    assert rows.table().columns["image"].tolist() == [i for i in range(1000 * BATCH) for _ in METHODS]


@settings(max_examples=50, deadline=None)
@given(
    numbers=st.lists(st.floats(width=32), max_size=30),
    dtype=st.sampled_from([torch.float32, torch.float16, torch.float64]),
    columns=st.integers(1, 3),
)
def test_packing_loses_no_bit(numbers, dtype, columns):
    values = torch.tensor(numbers[: len(numbers) // columns * columns], dtype=torch.float32)
    values = values.to(dtype).reshape(-1, columns)
    back = unpacked(packed(values), values)
    assert back.dtype == dtype
    assert back.shape == values.shape
    assert values.numpy().tobytes() == back.numpy().tobytes()
