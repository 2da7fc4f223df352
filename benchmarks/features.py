"""Write which library has which method, and which other feature: ``python -m benchmarks.features``.

The rows of methods come from the registry, and the marks from what the installed libraries export, so all of them must
be installed: ``pip install -e ".[conformance]"``. The other features were read in their code and documentation.
"""

import argparse
import importlib
import re
from importlib.metadata import version
from pathlib import Path

import captum_cams as cc

ROOT = Path(__file__).parents[1]
LIBRARIES = {
    "pytorch-grad-cam": ("grad-cam", ["pytorch_grad_cam"]),
    "TorchCAM": ("torchcam", ["torchcam.methods"]),
    "Captum": ("captum", ["captum.attr"]),
    "zennit": ("zennit", ["zennit.attribution", "zennit.composites"]),
}
BASELINES = {"random", "centre", "constant", "blurred", "sharpened"}
OTHER_NAMES = {
    "gradcamplusplus": {"gradcampp"},
    "smoothgradcamplusplus": {"smoothgradcampp"},
    "gradcam": {"layergradcam"},
    "hirescam": {"layergradientxactivation"},  # its sum over the channels
    "guidedcam": {"guidedgradcam"},
    "lrp": {"epsilonplus"},  # a composite of rules, with Gradient as its attribution
    "multilayercam": {"refinecam"},  # its product
}
"""What other libraries call a method, in lower case and without underscores."""

FEATURES = {
    "any method explains a contrast of classes": ("✓", "some", "some", "", ""),
    "differentiable maps, as a loss": ("✓", "", "", "", ""),
    "maps that leave with the model (torch.export, ONNX)": ("✓", "", "", "", ""),
    "finds the layer and proves its layout": ("✓", "", "finds", "", ""),
    "relevance through attention": ("✓", "", "", "", ""),
    "detectors, segmenters, similarity as targets": ("✓", "✓", "", "", ""),
    "volumes and signals": ("✓", "volumes", "volumes", "✓", "✓"),
    "concepts of a batch": ("✓", "✓", "", "", ""),
    "faithfulness metrics": ("✓", "✓", "✓", "✓", ""),
    "localisation metrics": ("✓", "", "", "", ""),
    "tables over a data set, on several devices": ("✓", "", "", "", ""),
    "explains while the network trains": ("✓", "", "", "", ""),
}
"""What here, and in each other library, is there; read in the versions of the table."""


def public(modules: list[str]) -> set[str]:
    """The names that a library exports, in lower case and without underscores."""
    found = [name for module in modules for name in vars(importlib.import_module(module))]
    return {name.lower().replace("_", "") for name in found if name[0].isupper()}


def methods() -> list[list[str]]:
    """One row for each method of the registry: its class, and a mark for each library that has it."""
    exported = [public(modules) for _, modules in LIBRARIES.values()]
    rows = []
    for name in cc.names():
        known = {name} | OTHER_NAMES.get(name, set())
        if name not in BASELINES:
            name = cc.registry.lookup(name).__name__
            rows.append([f"`{name}`", "✓", *("✓" if known & one else "" for one in exported)])
    return rows


def table(rows: list[list[str]]) -> str:
    heads = ["", "captum-cams", *(f"{name} {version(package)}" for name, (package, _) in LIBRARIES.items())]
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def summary(rows: list[list[str]]) -> list[list[str]]:
    """How many of the methods each library has, and the other features."""
    counts = [sum(bool(row[column]) for row in rows) for column in range(1, len(rows[0]))]
    return [["maps and wrappers", *map(str, counts)], *([name, *marks] for name, marks in FEATURES.items())]


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    rows = methods()
    page = (
        "# Methods here and in other libraries\n\nWritten by `python -m benchmarks.features`.\n\n" + table(rows) + "\n"
    )
    (ROOT / "docs" / "features.md").write_text(page)
    readme = ROOT / "README.md"
    between = f"<!-- features -->\n{table(summary(rows))}\n<!-- end of features -->"
    readme.write_text(re.sub("<!-- features -->.*<!-- end of features -->", between, readme.read_text(), flags=re.S))


if __name__ == "__main__":
    main()
