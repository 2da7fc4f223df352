"""Another value for each hyperparameter."""

from typing import Any

import captum_cams as cc

# Another value for each argument that is no number and no boolean.
OTHERS: dict[str, Any] = {
    "reshape": "channels_last",
    "batch_norm": "fold",
    "pixel_range": (0.0, 1.0),
    "score": "probability",
    "mask_order": "normalise_first",
    "combine": "product",
    "perturbations_per_eval": 3,
    "to": "0",
    "task": "multilabel",
    "fusion": None,  # its two values differ from class to class
    "interpolation": "nearest",
    "growth": 1,
    "head_fusion": "max",
    "pooling": "head",
    "count_from": 1,
    "layers": ["0", "2"],
    "transformations": [cc.wrappers.augmentedcam.Transformation(angle=3.0)],
    "drop": 0.5,
    "keep": 0.25,
    "kernel": "rbf",
    "gamma": 0.5,
    "form": "plus",
    "weighting": "probability",
    "strength": 0.3,
}


def other(name, before):
    if name == "fusion":
        return {"max": "mean", "mean": "max"}[before]
    if name in OTHERS:
        return OTHERS[name]
    return not before if isinstance(before, bool) else before + 1
