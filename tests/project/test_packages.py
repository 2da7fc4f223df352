"""The wheel and the source distribution as pip gets them: complete, and nothing else in them."""

import os
import subprocess
import sys
import tarfile
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from shutil import copytree, ignore_patterns
from zipfile import ZipFile

import pytest

pytest.importorskip("build", reason="pip install '.[dev]'")
pytest.importorskip("twine", reason="pip install '.[dev]'")

ROOT = Path(__file__).parents[2]
LIBRARY = ("captum_cams", "lightning_callbacks")
CODE_AND_TEXTS = (*LIBRARY, "tests", "examples", "benchmarks", "docs")
NOT_OURS = ignore_patterns(".*", "*.egg-info", "__pycache__", "build", "dist", "_build", "lightning_logs", "runs")
pytestmark = pytest.mark.slow


def run(*words: str, cwd: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    found = subprocess.run(
        [sys.executable, *words], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stdout[-2000:] + found.stderr[-2000:]
    return found.stdout


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """The files of the repository, without what was built or cached beside them."""
    folder = tmp_path_factory.mktemp("source") / "captum-cams"
    copytree(ROOT, folder, ignore=NOT_OURS)
    return folder


@pytest.fixture(scope="module")
def dist(source, tmp_path_factory) -> Path:
    """A folder with the source distribution, and with the wheel that is built from it."""
    folder = tmp_path_factory.mktemp("dist")
    run("-m", "build", "--no-isolation", "--outdir", str(folder), str(source), cwd=folder)
    return folder


def files(folder: Path, *parts: str) -> set[str]:
    return {
        file.relative_to(folder).as_posix() for part in parts for file in (folder / part).rglob("*") if file.is_file()
    }


def metadata(dist: Path) -> Message:
    with ZipFile(next(dist.glob("*.whl"))) as wheel:
        return message_from_bytes(wheel.read(next(name for name in wheel.namelist() if name.endswith("/METADATA"))))


def test_the_wheel_has_the_packages_with_their_data_and_the_examples(source, dist):
    with ZipFile(next(dist.glob("*.whl"))) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    examples = {f"lightning_callbacks/{name}" for name in files(source, "examples")}
    assert names == files(source, *LIBRARY) | examples
    assert {f"{package}/py.typed" for package in LIBRARY} < names
    assert "captum_cams/benchmark/weights/pooled_cnn.pt" in names


def test_the_source_distribution_has_all_that_tests_and_documentation_read(source, dist, tmp_path):
    with tarfile.open(next(dist.glob("*.tar.gz"))) as archive:
        archive.extractall(tmp_path, filter="data")
    (unpacked,) = tmp_path.iterdir()
    texts = {file.name for file in source.iterdir() if file.is_file()}
    generated = {"PKG-INFO", *files(unpacked, "captum_cams.egg-info")}
    assert files(unpacked, ".") - generated == files(source, *CODE_AND_TEXTS) | texts
    quick = ["tests/project/test_design.py", "tests/project/test_dependencies.py", "tests/methods/test_golden.py"]
    assert " passed" in run("-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "not extra", *quick, cwd=unpacked)


def test_the_page_on_pypi_shows_everything(dist):
    run("-m", "twine", "check", "--strict", *map(str, dist.iterdir()), cwd=dist)
    about = metadata(dist)
    assert about["Requires-Python"] == ">=3.10"
    assert len(about.get_all("Project-URL")) >= 4
    assert about["License-File"] == "LICENSE"


def test_the_wheel_serves_from_another_folder(dist, tmp_path):
    with ZipFile(next(dist.glob("*.whl"))) as wheel:
        wheel.extractall(tmp_path / "site")
    begin = "import sys; sys.path.insert(0, 'site'); from lightning_callbacks.command.main import main"
    (tmp_path / "list.py").write_text(f"{begin}; main(['example'])")
    assert "train_shapes" in run("list.py", cwd=tmp_path)
