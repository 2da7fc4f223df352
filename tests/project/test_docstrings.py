"""Every public docstring has its sections, and every example in it runs as it stands."""

import pytest
import torch

import captum_cams as cc
import lightning_callbacks
from captum_cams import metrics, visual
from tests.support.docstrings import faults, public, wrong_example
from tests.support.networks import TinyRes

PACKAGES = (cc, metrics, visual, lightning_callbacks)
PUBLIC = public(PACKAGES)
# What does not say everything yet; a name goes as soon as its docstring does.
MISSING = {
    "Layout",
    "tokens",
    "AblationCAM",
    "CAM",
    "CAMERAS",
    "Centre",
    "CLRP",
    "Constant",
    "EigenCAM",
    "FDCAM",
    "GradCAM",
    "GradCAMPlusPlus",
    "GroupCAM",
    "HiResCAM",
    "IntegratedGradCAM",
    "ISCAM",
    "LayerCAM",
    "LIFTCAM",
    "LRP",
    "LRPCAM",
    "Random",
    "ReciproCAM",
    "RelevanceCAM",
    "RISE",
    "ScoreCAM",
    "SGLRP",
    "SmoothGradCAMPlusPlus",
    "SSCAM",
    "XGradCAM",
    "Propagation",
    "ZBetaRule",
    "ZPlusRule",
    "AugmentedCAM",
    "Transformation",
    "Transformation.matrix",
    "FGCAM",
    "GuidedCAM",
    "JitterCAM",
    "MultiLayerCAM",
    "SESS",
    "Annotation",
    "Case",
    "Conditions",
    "Summary",
    "MetricEntry",
    "register_metric",
    "ADCC",
    "_Faithfulness.update",
    "ImageMean.compute",
    "ImageMean.plot",
    "AverageDrop",
    "AverageIncrease",
    "DeletionAUC",
    "InsertionAUC",
    "OverAll",
    "adcc",
    "adcc_of_parts",
    "coherency",
    "complexity",
    "average_drop",
    "average_increase",
    "curve_area",
    "deletion_curve",
    "drop_and_increase",
    "insertion_curve",
    "energy_inside",
    "is_difficult",
    "localisation_error",
    "pointing_game",
    "region_mask",
    "region_overlap",
    "EnergyPointingGame",
    "_Localisation.update",
    "LocalisationError",
    "LocalisationError.compute",
    "PointingGame",
    "Preset",
    "Preset.counts",
    "Protocol",
    "CAMCallback",
    "Explained",
    "evaluate",
    "CAMEvaluation",
    "Table",
    "Table.__getitem__",
    "Table.rows",
    "Table.seconds",
    "Table.forward_passes",
}


@pytest.fixture
def names(monkeypatch, tmp_path):
    """What every example may use: a network with a layer "layer4", two images with labels, and the packages."""
    torch.manual_seed(0)
    monkeypatch.chdir(tmp_path)  # for what examples write
    monkeypatch.setattr(cc.registry, "_classes", dict(cc.registry._classes))
    entries = dict(metrics.METRICS)
    yield {
        "torch": torch,
        "cc": cc,
        "metrics": metrics,
        "lightning_callbacks": lightning_callbacks,
        "model": TinyRes().eval(),
        "images": torch.rand(2, 3, 64, 64),
        "labels": torch.tensor([3, 7]),
    }
    metrics.METRICS.clear()
    metrics.METRICS.update(entries)


@pytest.mark.filterwarnings("ignore::UserWarning")  # Lightning warns of short runs on small data sets
@pytest.mark.parametrize("name", PUBLIC)
def test_docstring_says_everything(name, names):
    found = faults(PUBLIC[name], PUBLIC, names)
    if name in MISSING:
        assert found, "everything is there now; take the name out of MISSING"
    else:
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


def test_no_name_stands_in_vain():
    assert set(PUBLIC) >= MISSING


def test_no_first_line_stands_twice():
    lines = [(value.__doc__ or "").splitlines()[0] for value in PUBLIC.values()]
    assert len(lines) == len(set(lines))
