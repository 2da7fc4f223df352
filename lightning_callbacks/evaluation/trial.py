"""Put the metrics themselves on trial: control maps, and a sweep over what replaces removed pixels."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pytorch_lightning.utilities import rank_zero_only
from torch import nn
from torch.utils.data import DataLoader, Dataset

from captum_cams.errors import CAMError
from captum_cams.metrics.entry import METRICS
from captum_cams.metrics.presets import Replacement, find_preset
from captum_cams.metrics.protocols import Protocol, find_protocol
from captum_cams.metrics.replacements import find_replacements
from lightning_callbacks.evaluation.controls import with_controls
from lightning_callbacks.evaluation.evaluate import evaluate
from lightning_callbacks.evaluation.table import Table
from lightning_callbacks.evaluation.verdicts import UNSWEPT, Trial, judge
from lightning_callbacks.methods import Methods

SWEPT = ("zero", "blur", "mean", "noise", "linear")
"""The replacements of a trial; "telea" is left out, because it needs an extra."""


def trial(
    model: nn.Module,
    data: DataLoader | Dataset,
    methods: Methods = "gradcam",
    *,
    metrics: str | Iterable[str] | None = None,
    replacements: str | Iterable[str] | Mapping[str, Replacement] = SWEPT,
    protocol: str | Protocol = "training",
    out: str | Path | None = None,
    **options: Any,
) -> Trial:
    """Find out which metrics can be trusted on a data set, and say in words what the methods' ranking depends on.

    Every method is measured together with controls that know no more than it does: a blurred and a sharpened copy of
    its own map, noise, a spot in the centre and a constant. A metric that rates a control above the method is gamed.
    The metrics of the deletion and insertion curves are measured once for each replacement of the removed pixels, so
    the maps are computed as often; the other metrics are measured once.

    Args:
        model: a Lightning module or another module that maps images to scores N×classes.
        data: a data set or a data loader, as for :func:`evaluate`.
        methods: one or more names from ``captum_cams.names()``, explainers, or a mapping from your own names to these.
        metrics: one or more names from ``METRICS``, instead of the metrics of the protocol.
        replacements: names from ``REPLACEMENTS``, or a mapping from your own names to functions from images to images
            or to :class:`Imputation` objects.
        protocol: a name from ``PROTOCOLS`` or a :class:`Protocol`. Its preset gives the number of steps of the curves;
            "training" has 10.
        out: folder for trial.md, trial.json and the folder of each evaluation, which can continue after an
            interruption.
        **options: further arguments of :func:`evaluate`: ``trainer``, ``task``, ``layer``, ``batch_fn`` and others.

    Returns:
        The verdicts; ``print(trial)`` shows the report.

    Raises:
        CAMError: an argument does not fit, a method is itself a control, or in the same cases as :func:`evaluate`.

    Example::

        data = torch.utils.data.TensorDataset(images, labels)
        chosen = {"metrics": ["deletion_auc", "complexity"], "replacements": ["zero", "mean"]}
        verdicts = lightning_callbacks.trial(model, data, ["gradcam", "layercam"], **chosen)
        print(verdicts)
    """
    found = find_protocol(protocol, metrics, options.get("task"))
    everything, pairs = with_controls(methods, model, options.get("output_fn"), found.task)
    folder = None if out is None else Path(out)
    tables = dict[str, Table]()
    for name, one in _protocols(found, replacements).items():
        inner = None if folder is None else folder / name
        tables[name] = evaluate(model, data, everything, protocol=one, out=inner, **options)
    verdicts = judge(tables, pairs)
    if folder is not None:
        _write(verdicts, folder)
    rank_zero_only(print)(verdicts)
    return verdicts


def _protocols(
    protocol: Protocol, replacements: str | Iterable[str] | Mapping[str, Replacement]
) -> dict[str, Protocol]:
    """What is measured with each replacement of pixels; what reads none is measured with the first one."""
    found = find_replacements(replacements)
    if not found:
        raise CAMError('there must be at least one replacement, got none; pass a name such as "blur"')
    curves = tuple(name for name in protocol.metrics if "curves" in METRICS[name].needs)
    others = tuple(name for name in protocol.metrics if name not in curves)
    preset, each = find_preset(protocol.preset), dict[str, Protocol]()
    if others:
        each[UNSWEPT] = replace(protocol, metrics=others)
    if curves:
        swept = {name: preset.with_replacement(one) for name, one in found.items()}
        each |= {name: replace(protocol, metrics=curves, preset=one) for name, one in swept.items()}
    return each


@rank_zero_only
def _write(verdicts: Trial, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "trial.md").write_text(f"{verdicts}\n")
    (folder / "trial.json").write_text(json.dumps(verdicts.plain, indent=2) + "\n")
