"""What setup.cfg declares is what the files import, and a missing extra is named."""

import ast
import sys
from collections.abc import Callable, Iterator
from configparser import ConfigParser
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import torch
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import captum_cams as cc
from captum_cams import metrics
from captum_cams.adapters.map_folder import check_format
from captum_cams.extras import import_extra
from lightning_callbacks import Table
from lightning_callbacks.command.export_model import export_model
from lightning_callbacks.command.models import load_model
from tests.support.networks import TinyRes, images

ROOT = Path(__file__).parents[2]
OURS = {"captum_cams", "lightning_callbacks", "tests", "examples", "benchmarks"}
# Declared, though no file imports it: Lightning's logger writes with it.
BY_OTHERS = {"tensorboard"}
# Extras of ``all`` that Lightning imports, not we: LightningCLI.
OF_LIGHTNING = {"jsonargparse"}
DISTRIBUTIONS = {
    **{"PIL": "pillow", "cv2": "opencv-python-headless", "open_clip": "open-clip-torch"},
    **{"skimage": "scikit-image", "sklearn": "scikit-learn", "pytorch_grad_cam": "grad-cam"},
}


def declared() -> tuple[set[str], dict[str, set[str]]]:
    """The packages of a plain installation, and those of each extra."""
    config = ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    extras = {name: _packages(config["options.extras_require"][name]) for name in config["options.extras_require"]}
    return _packages(config["options"]["install_requires"]), extras


def _packages(text: str) -> set[str]:
    return {
        canonicalize_name(Requirement(line).name) for line in text.splitlines() if line and not line.startswith("#")
    }


PLAIN, EXTRAS = declared()


def distribution(package: str) -> str:
    return DISTRIBUTIONS.get(package, canonicalize_name(package))


def imports(*folders: str, leave: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """The other packages that the files of folders import as a plain statement, each with its file."""
    files = [file for folder in folders for file in sorted((ROOT / folder).rglob("*.py"))]
    for file in files:
        if any(part in file.parts for part in leave):
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                modules = [node.module]
            for name in {module.split(".")[0] for module in modules} - OURS - sys.stdlib_module_names:
                if not (file.parent / f"{name}.py").exists() and not (ROOT / "examples" / f"{name}.py").exists():
                    yield distribution(name), file.relative_to(ROOT).as_posix()


def extras_asked_for() -> Iterator[tuple[str, str]]:
    """The module and the extra of each call of ``import_extra``."""
    for folder in ("captum_cams", "lightning_callbacks"):
        for file in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and ast.unparse(node.func) == "import_extra":
                    module, extra = map(ast.literal_eval, node.args[:2])
                    yield module, extra


ASKED = sorted({*extras_asked_for()})


def test_a_plain_installation_brings_what_the_library_imports_and_nothing_more():
    assert {package for package, _ in imports("captum_cams", "lightning_callbacks")} == PLAIN - BY_OTHERS


def test_each_extra_brings_what_it_is_asked_for():
    for module, extra in ASKED:
        assert distribution(module.split(".")[0]) in EXTRAS[extra]
    used = {extra for _, extra in ASKED} | OF_LIGHTNING
    assert EXTRAS["all"] == set.union(*(EXTRAS[extra] for extra in used))
    assert not any(PLAIN & packages for packages in EXTRAS.values())


def test_examples_and_tests_import_what_is_declared():
    run = PLAIN | EXTRAS["examples"] | {"tokenizers"}  # a part of transformers
    assert {package for package, _ in imports("examples")} <= run
    leave = ("conformance", "zoo", "mutation", "test_loggers.py", "test_packages.py")
    support = {"packaging", "grad-cam", "torchcam"}  # pytest brings the first; the others are asked for in conformance
    assert {package for package, _ in imports("tests", leave=leave)} - support <= PLAIN | EXTRAS["test"]
    assert {package for package, _ in imports("tests/mutation")} <= PLAIN | EXTRAS["mutation"]


def test_the_names_of_packages_are_right():
    installed = packages_distributions()
    there = DISTRIBUTIONS.keys() & installed  # open_clip is only in the extra of the examples
    assert there >= {"PIL", "cv2", "skimage", "sklearn"}
    for package in there:
        assert DISTRIBUTIONS[package] in map(canonicalize_name, installed[package])


TRIGGERS: dict[str, Callable[[], object]] = {
    "timm": lambda: load_model("timm:resnet18"),
    "transformers": lambda: load_model("hf:vit"),
    "onnx": lambda: export_model(
        model="tests.support.evaluation_run:network",
        method="gradcam",
        layer=None,
        out=Path("network.onnx"),
        target=None,
        checkpoint=None,
    ),
    "concepts": lambda: cc.find_concepts(TinyRes().eval(), images(2), "layer4", count=2),
    "xrai": lambda: cc.XRAI(TinyRes().eval(), steps=1).attribute(images(1), 1),
    "inpainting": lambda: metrics.telea_inpainting(torch.rand(1, 3, 8, 8), torch.ones(1, 1, 8, 8, dtype=torch.bool)),
    "safetensors": lambda: check_format("safetensors"),
    "pandas": lambda: object.__new__(Table).to_pandas(),
}


@pytest.mark.parametrize(("module", "extra"), ASKED)
def test_an_error_names_the_extra(module, extra, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    library = module.split(".")[0]
    for name in [name for name in sys.modules if name.split(".")[0] == library]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    words = rf'needs the package {library}, which is not installed; pip install "captum-cams\[{extra}\]"'
    with pytest.raises(cc.CAMError, match=words):
        TRIGGERS[extra]()


def test_a_library_that_lacks_something_itself_is_not_said_to_be_missing(tmp_path, monkeypatch):
    (tmp_path / "broken_library.py").write_text("import a_package_that_is_nowhere\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="a_package_that_is_nowhere"):
        import_extra("broken_library", "broken", "This test")
