"""Two processes, two nodes, a killed one and the command line, each really started."""

import csv
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.evaluation_run import IMAGES, METHODS

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "tests" / "support" / "evaluation_run.py"


def start(out: Path, devices: int) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(SCRIPT), str(out), str(devices)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def start_node(out: Path, rank: int, port: int) -> subprocess.Popen:
    """Start the launcher of one of two nodes, which has one process, as a cluster does."""
    node = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "NODE_RANK": str(rank)}
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **node}
    command = [sys.executable, str(SCRIPT), str(out), "1", "2"]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def ended(process: subprocess.Popen) -> str:
    said = process.communicate(timeout=300)[0]
    assert process.returncode == 0, said
    return said


def rows(out: Path) -> list[dict[str, str]]:
    with open(out / "rows.csv", newline="") as file:
        return list(csv.DictReader(file))


def assert_same(out: Path, reference: Path) -> None:
    """The tables agree to 1e-6, and so does every row; only what was timed differs."""
    one, other = (json.loads((folder / "table.json").read_text()) for folder in (out, reference))
    for method in METHODS:
        for metric, cell in other["table"][method].items():
            assert one["table"][method][metric] == pytest.approx(cell, abs=1e-6), (method, metric)
    for curves, expected in zip(one["curves"], other["curves"], strict=True):
        for curve, values in zip(curves, expected, strict=True):
            assert curve == pytest.approx(values, abs=1e-6)
    found = rows(out)
    assert len({(row["image"], row["class"], row["method"]) for row in found}) == len(found)
    for row, expected in zip(found, rows(reference), strict=True):
        for key in set(row) - {"seconds"}:
            if key in ("image", "class", "method") or not row[key]:
                assert row[key] == expected[key]
            else:
                assert float(row[key]) == pytest.approx(float(expected[key]), abs=1e-6, rel=1e-6)


@pytest.fixture(scope="module")
def single(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("single")
    ended(start(out, 1))
    found = rows(out)
    assert len(found) == IMAGES * len(METHODS)
    assert {int(row["image"]) for row in found} == set(range(IMAGES))
    return out


def test_two_processes_give_the_table_of_one(single, tmp_path):
    said = ended(start(tmp_path, 2))
    assert {file.name for file in tmp_path.glob("journal-*")} == {"journal-0.jsonl", "journal-1.jsonl"}
    assert said.count('{"rows":') == said.count("| method |") == 1  # rank zero alone prints
    assert_same(tmp_path, single)


@pytest.mark.parametrize("folders", ["shared", "own"])
def test_two_nodes_give_the_table_of_one_process(single, tmp_path, folders):
    """A cluster may have one disk for all nodes, or a disk for each."""
    outs = [tmp_path / ("0" if folders == "shared" else str(rank)) for rank in range(2)]
    port = free_port()
    nodes = [start_node(out, rank, port) for rank, out in enumerate(outs)]
    said = [ended(node) for node in nodes]
    assert ['{"rows":' in words for words in said] == ["| method |" in words for words in said] == [True, False]
    for rank, out in enumerate(outs):
        assert (out / f"journal-{rank}.jsonl").read_text().count("\n") == 3  # of six batches
    assert_same(outs[0], single)
    ended(start(outs[0], 1))  # goes on alone; what is on the disk of the other node is computed again
    assert_same(outs[0], single)


@pytest.mark.parametrize("devices", [1, 2])
def test_killed_and_started_again_it_ends_with_the_same_table(single, tmp_path, devices):
    process = start(tmp_path, 1)
    journal = tmp_path / "journal-0.jsonl"
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        if journal.exists() and journal.read_text().count("\n") >= 2:  # two of six batches: four of eleven images
            break
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    done = journal.read_text().count("\n")
    assert 2 <= done < 6  # with five, the second process has nothing left to do
    assert not (tmp_path / "table.json").exists()
    before = journal.read_text()
    with open(journal, "a") as file:
        file.write('{"places": [[0, 1')  # killed in the middle of a line
    ended(start(tmp_path, devices))
    assert journal.read_text().startswith(before)
    written = "".join(file.read_text() for file in tmp_path.glob("journal-*"))
    assert written.count("\n") == 6  # no batch was done twice
    assert_same(tmp_path, single)


def test_the_command_line_evaluates_with_two_devices(tmp_path):
    from PIL import Image

    for i in range(3):
        Image.new("RGB", (40 + i, 32), (80 * i, 10, 200)).save(tmp_path / f"{i}.png")
    command = [sys.executable, str(Path(sys.executable).parent / "captum-cams"), "evaluate", "--devices", "2"]
    command += [
        "--model",
        "tests.support.evaluation_run:network",
        "--data",
        str(tmp_path),
        "--methods",
        "gradcam",
        "centre",
    ]
    command += ["--metrics", "average_drop", "--batch_size", "8", "--out", str(tmp_path / "out")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr  # though the second process has no batch
    assert "| gradcam |" in done.stdout
    assert len(rows(tmp_path / "out")) == 6
