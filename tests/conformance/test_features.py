"""The table that compares libraries says what the installed ones have."""

import importlib
from pathlib import Path

import pytest

from benchmarks import features

ROOT = Path(__file__).parents[2]
for package in ("pytorch_grad_cam", "torchcam", "zennit"):
    pytest.importorskip(package, reason="pip install '.[conformance]'")

# What stands behind a mark of the table, in the order of its columns: pytorch-grad-cam, TorchCAM, Captum.
BEHIND = {
    "finds the layer and proves its layout": ("", "torchcam.methods._utils.locate_candidate_layer", ""),
    "detectors, segmenters, similarity as targets": (
        "pytorch_grad_cam.utils.model_targets.FasterRCNNBoxScoreTarget",
        "",
        "",
    ),
    "concepts of a batch": (
        "pytorch_grad_cam.feature_factorization.deep_feature_factorization.run_dff_on_image",
        "",
        "",
    ),
    "faithfulness metrics": (
        "pytorch_grad_cam.metrics.road.ROADCombined",
        "torchcam.metrics.ClassificationMetric",
        "captum.metrics.infidelity",
    ),
}


def rows(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("| ")]


def test_the_tables_are_those_that_the_command_writes():
    methods = features.methods()
    readme = (ROOT / "README.md").read_text(encoding="utf-8").split("<!-- features -->")[1].split("<!-- end")[0]
    assert rows(readme)[1:] == rows(features.table(features.summary(methods)))[1:]
    page = (ROOT / "docs" / "features.md").read_text(encoding="utf-8")
    assert rows(page)[1:] == rows(features.table(methods))[1:]


@pytest.mark.parametrize("feature", BEHIND)
def test_a_mark_of_another_library_has_something_behind_it(feature):
    for mark, place in zip(features.FEATURES[feature][1:4], BEHIND[feature], strict=True):
        assert bool(mark) == bool(place)
        if place:
            module, name = place.rsplit(".", 1)
            assert hasattr(importlib.import_module(module), name)
