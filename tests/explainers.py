"""Explainers by name, with fewer samples where the default would take minutes."""

from typing import Any

import captum_cams as cc

QUICK: dict[str, dict[str, Any]] = {
    "groupcam": {"groups": 6},
    "iscam": {"steps": 3},
    "rise": {"masks": 40},
    "sscam": {"samples": 3, "sigma": 0.5},
}


def explainer(name: str, model, layer=None, **options) -> cc.CAMAttribution:
    return cc.create(name, model, layer, **{**QUICK.get(name, {}), **options})
