"""Explainers by name, with fewer samples where the default would take minutes."""

from typing import Any

import captum_cams as cc
from captum_cams.registry import wrappers

QUICK: dict[str, dict[str, Any]] = {
    "groupcam": {"groups": 6},
    "iscam": {"steps": 3},
    "rise": {"masks": 40},
    "sscam": {"samples": 3, "sigma": 0.5},
}
# Every method, and every wrapper over its default base and two more: one of positions, one that resumes.
EVERY = [*cc.names(), *(f"{wrapper}({base})" for wrapper in wrappers() for base in ("layercam", "fdcam"))]


def explainer(name: str, model, layer=None, **options) -> cc.CAMAttribution:
    return cc.create(name, model, layer, **{**QUICK.get(name.split("(")[0], {}), **options})
