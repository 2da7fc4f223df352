"""Explainers by name, with fewer samples where the default would take minutes."""

import inspect
from typing import Any

import captum_cams as cc
from captum_cams.registry import lookup, wrappers

QUICK: dict[str, dict[str, Any]] = {
    "augmentedcam": {"transformations": cc.wrappers.augmentedcam.PLANE[1:9:3]},
    "cameras": {"resolutions": 2, "step": 20},
    "groupcam": {"groups": 6},
    "integratedgradcam": {"steps": 3},
    "iscam": {"steps": 3},
    "jittercam": {"growth": 1},
    "opticam": {"steps": 3},
    "polycam": {"perturbations_per_eval": 32},
    "rise": {"masks": 40},
    "sess": {"scales": 2, "step": 20, "drop": 0.5},
    "smoothgradcamplusplus": {"samples": 3},
    "sscam": {"samples": 3, "sigma": 0.5},
    "xrai": {"steps": 3, "min_size": 30},
}
# They explain with all layers and refuse one, and with several.
WITHOUT_LAYER, SEVERAL_LAYERS = ("fullgrad", "xrai"), ("multilayercam", "polycam", "zoomcam")
# Methods of tokens need a transformer: tests/methods/test_tokens_contract.py is their contract.
OF_TOKENS = [name for name in cc.names() if getattr(lookup(name), "needs_tokens", False)]
# Needs a network with a branch of its own: tests/methods/test_lficam.py is its contract.
OF_LFI_NETWORKS = ["lficam"]
ANY_LAYER = [name for name in cc.names() if name not in OF_TOKENS + OF_LFI_NETWORKS]
BASES = ("gradcam", "layercam", "fdcam")  # a weight per channel, one per position, and one that resumes
# Every method of any layer, and every wrapper over the bases: a wrapper's own name stands for its default base.
EVERY = [
    *ANY_LAYER,
    *(
        f"{wrapper}({base})"
        for wrapper in wrappers()
        for base in BASES
        if base != inspect.signature(lookup(wrapper)).parameters["base"].default
    ),
]
# Guided CAMs refuse networks that call ReLU as a function; CAM those without a linear head.
ANYWHERE = [name for name in EVERY if not name.startswith("guidedcam")]


def explainer(name: str, model, layer=None, **options) -> cc.CAMAttribution:
    if name in WITHOUT_LAYER:
        layer, _ = None, options.pop("reshape", None)
    return cc.create(name, model, layer, **{**QUICK.get(name.split("(")[0], {}), **options})
