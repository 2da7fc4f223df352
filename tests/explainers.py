"""Explainers by name, with fewer samples where the default would take minutes."""

from typing import Any

import captum_cams as cc
from captum_cams.registry import wrappers

QUICK: dict[str, dict[str, Any]] = {
    "augmentedcam": {"transformations": cc.wrappers.augmentedcam.PLANE[1:9:3]},
    "cameras": {"resolutions": 2, "step": 20},
    "groupcam": {"groups": 6},
    "integratedgradcam": {"steps": 3},
    "iscam": {"steps": 3},
    "jittercam": {"growth": 1},
    "rise": {"masks": 40},
    "sess": {"scales": 2, "step": 20, "drop": 0.5},
    "smoothgradcamplusplus": {"samples": 3},
    "sscam": {"samples": 3, "sigma": 0.5},
}
# Every method, and every wrapper over its default base and two more: one of positions, one that resumes.
EVERY = [*cc.names(), *(f"{wrapper}({base})" for wrapper in wrappers() for base in ("layercam", "fdcam"))]
# Guided CAMs refuse networks that call ReLU as a function; CAM those without a linear head.
ANYWHERE = [name for name in EVERY if not name.startswith("guidedcam")]


def explainer(name: str, model, layer=None, **options) -> cc.CAMAttribution:
    return cc.create(name, model, layer, **{**QUICK.get(name.split("(")[0], {}), **options})
