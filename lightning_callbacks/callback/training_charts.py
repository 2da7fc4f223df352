"""Sort the values that a training run has logged into charts."""

from collections.abc import Mapping, Sequence
from typing import Any

from captum_cams.metrics.catalogue import METRICS


def training_charts(scalars: Sequence[Mapping[str, float]], prefix: str) -> list[dict[str, Any]]:
    """Make a chart for each quantity: the values of the training first, then one chart for each metric of the maps.

    ``train_loss`` and ``val_loss`` have the same last word, so they share the chart "loss". The methods of a metric
    share a chart. What Lightning keeps a second time, as ``…_step`` beside ``…_epoch``, is left out.

    Args:
        scalars: the values at each explained validation, by tag; a tag may be missing at some of them.
        prefix: the first part of the tags of the callback.

    Returns:
        The charts, each with its title and its series; a series has a name and a value or None for each validation.
    """
    training: dict[str, dict[str, str]] = {}
    metrics: dict[str, dict[str, str]] = {}
    tags = dict.fromkeys(tag for values in scalars for tag in values)
    for tag in tags:
        if tag.startswith(f"{prefix}/"):
            method, _, metric = tag.removeprefix(f"{prefix}/").partition("/")
            if metric:
                metrics.setdefault(_titled(metric), {})[method] = tag
        elif not (tag.endswith("_step") and tag.removesuffix("_step") in tags):
            name = tag.removesuffix("_epoch")
            word = name.replace("/", "_").rsplit("_", 1)[-1]
            training.setdefault(word, {}).setdefault(name, tag)
    return [
        {
            "title": title,
            "series": [{"name": name, "y": [at.get(tag) for at in scalars]} for name, tag in lines.items()],
        }
        for title, lines in (*training.items(), *metrics.items())
    ]


def _titled(metric: str) -> str:
    """The name of a metric with an arrow to its better values; drift has no better values."""
    entry = METRICS.get(metric)
    return metric if entry is None else f"{metric} {'↑' if entry.higher_is_better else '↓'}"
