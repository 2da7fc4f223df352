"""Every public docstring has its sections, and every example in it runs as it stands."""

import pytest
import torch
import torchvision

import captum_cams as cc
import lightning_callbacks
from captum_cams import benchmark, metrics, statistics, targets, visual
from tests.support.docstrings import faults, public, wrong_example
from tests.support.networks import TinyRes

PACKAGES = (cc, benchmark, metrics, statistics, targets, visual, lightning_callbacks)
PUBLIC = public(PACKAGES)


@pytest.fixture
def names(monkeypatch, tmp_path):
    """What every example may use: a network with a layer "layer4", a transformer, images, labels, and the packages."""
    torch.manual_seed(0)
    monkeypatch.chdir(tmp_path)  # for what examples write
    monkeypatch.setattr(cc.registry, "_classes", dict(cc.registry._classes))
    entries = dict(metrics.METRICS)
    vit = torchvision.models.VisionTransformer(64, 16, 12, 2, 16, 16, num_classes=10).eval()
    torch.nn.init.normal_(vit.heads.head.weight)  # torchvision begins with zeros
    yield {
        "torch": torch,
        "cc": cc,
        "metrics": metrics,
        "lightning_callbacks": lightning_callbacks,
        "model": TinyRes().eval(),
        "vit": vit,
        "images": torch.rand(2, 3, 64, 64),
        "labels": torch.tensor([3, 7]),
    }
    metrics.METRICS.clear()
    metrics.METRICS.update(entries)


@pytest.mark.filterwarnings("ignore::UserWarning")  # Lightning warns of short runs on small data sets
@pytest.mark.parametrize("name", PUBLIC)
def test_docstring_says_everything(name, names):
    found = faults(PUBLIC[name], PUBLIC, names)
    assert not found, f"{name}: {'; '.join(found)}"


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_examples_of_the_packages_run(package, names):
    assert not wrong_example(package.__doc__, names)


def wrong(first: int, second: int) -> int:
    """The sum

    Args:
        first: a number.
        third: a number.

    Example::

        wrong(1, 2)
    """
    return first + second


def test_each_fault_is_found(names):
    assert faults(wrong, PUBLIC, names) == [
        "the first line must be a sentence that ends with a full stop",
        "Args: must name second",
        "Args: must not name third",
        "Returns: is missing",
        "Example:: does not run: NameError: name 'wrong' is not defined",
    ]
    assert faults(wrong, PUBLIC, names | {"wrong": wrong})[-1] == "Returns: is missing"


def test_no_first_line_stands_twice():
    lines = [(value.__doc__ or "").splitlines()[0] for value in PUBLIC.values()]
    assert len(lines) == len(set(lines))
