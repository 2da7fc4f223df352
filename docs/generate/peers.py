"""What other libraries call each method."""

import re
from pathlib import Path

# Only the names that differ from ours; which library has which method stands in docs/features.md.
_CALLED = {
    ("GradCAMPlusPlus", "TorchCAM"): "GradCAMpp",
    ("SmoothGradCAMPlusPlus", "TorchCAM"): "SmoothGradCAMpp",
    ("KPCACAM", "pytorch-grad-cam"): "KPCA_CAM",
    ("MultiLayerCAM", "pytorch-grad-cam"): "RefineCAM",
    ("MultiLayerCAM", "TorchCAM"): "RefineCAM",
    ("GradCAM", "Captum"): "LayerGradCam",
    ("HiResCAM", "Captum"): "LayerGradientXActivation",
    ("GuidedCAM", "Captum"): "GuidedGradCam",
    ("LRP", "zennit"): "EpsilonPlus",
}


def names_elsewhere(page: Path) -> dict[str, dict[str, str]]:
    """Read which libraries have each method: our class → library → the name of the class there.

    Args:
        page: the page that ``python -m benchmarks.features`` wrote.
    """
    header, _, *rows = (line.split("|")[1:-1] for line in page.read_text().splitlines() if line.startswith("|"))
    libraries = [re.sub(r" [\d.]+$", "", cell.strip()) for cell in header[2:]]
    found = {}
    for cells in rows:
        ours = cells[0].strip().strip("`")
        there = [library for library, mark in zip(libraries, cells[2:], strict=True) if mark.strip()]
        found[ours] = {library: _CALLED.get((ours, library), ours) for library in there}
    return found
