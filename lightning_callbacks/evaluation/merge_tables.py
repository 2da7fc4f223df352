"""Join the tables of the shards of an evaluation."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from captum_cams.errors import CAMError, brief, lookup
from captum_cams.metrics.catalogue import METRICS
from lightning_callbacks.evaluation.files import write_files
from lightning_callbacks.evaluation.fingerprints import digest
from lightning_callbacks.evaluation.journal import entries_in, settings_in
from lightning_callbacks.evaluation.pictures import copy_pictures
from lightning_callbacks.evaluation.report import write_report_or_warn
from lightning_callbacks.evaluation.rows import Rows, order_of
from lightning_callbacks.evaluation.settings import differences, listed
from lightning_callbacks.evaluation.table import Table
from lightning_callbacks.pages.page import plain


def merge_tables(
    shards: Sequence[str | Path] | Sequence[Table], *, out: str | Path | None = None, allow_missing: bool = False
) -> Table:
    """Join the results of ``evaluate(..., shard=(k, n))`` into the table of the whole data set.

    The numbers are those of one evaluation without shards. Folders are read from their journals, and their settings are
    compared; tables are only joined, because they do not know their settings. A method has curves in the joined table
    if every table that has rows of it has its curves; a table of ``by_class`` has none.

    Args:
        shards: the ``out`` folders of all shards, or their tables, in any order. Your own metrics must be registered.
        out: folder for the files that :func:`evaluate` writes, except the journal; only for folders.
        allow_missing: accept shards that are missing or not finished; only for folders, since tables do not know it.

    Returns:
        The table of all images.

    Raises:
        CAMError: the shards belong to different evaluations, an image is in two of them, some are missing, or ``out``
            holds an evaluation.

    Example::

        data = torch.utils.data.TensorDataset(images, labels)
        loader = torch.utils.data.DataLoader(data, batch_size=1)
        for k in range(2):  # each on a computer of its own
            options = {"metrics": "complexity", "shard": (k, 2), "out": f"shard{k}"}
            lightning_callbacks.evaluate(model, loader, "gradcam", **options)
        print(lightning_callbacks.merge_tables(["shard0", "shard1"], out="whole"))
    """
    if isinstance(shards, str | Path | Table) or not len(shards):
        raise CAMError(f"shards must be a list of the folders of all shards, or of their tables, got {brief(shards)}")
    tables = [shard for shard in shards if isinstance(shard, Table)]
    folders = [Path(shard) for shard in shards if isinstance(shard, str | Path)]
    if len(folders) == len(shards):
        if out is not None and (Path(out) / "settings.json").exists():
            raise CAMError(f"out must be a folder of its own, but {out} holds an evaluation; pass another out")
        settings = _common_settings(folders)
        table = _read(folders, settings, allow_missing)
        if out is not None:
            Path(out).mkdir(parents=True, exist_ok=True)
            write_files(table, Path(out), settings)
            for folder in folders:
                copy_pictures(folder, digest(settings_in(folder)), Path(out), digest(plain(settings)))
            write_report_or_warn(Path(out))
        return table
    if len(tables) < len(shards):
        raise CAMError(f"shards must be folders or tables, got {brief(shards)}; pass either folders or tables")
    if out is not None:
        raise CAMError("out needs the settings of the evaluation, which tables do not have; pass the folders instead")
    return _joined(tables)


def _common_settings(folders: Sequence[Path]) -> dict[str, Any]:
    """The settings of all shards, with the shard that the joined table has.

    Raises:
        CAMError: a folder has no settings, the settings differ, or two folders have the same shard.
    """
    first: dict[str, Any] | None = None
    numbers: dict[int, Path] = {}
    for folder in folders:
        found = settings_in(folder)
        if found is None or "shard" not in found:
            raise CAMError(f"{folder} must have the settings.json of an evaluation, which is missing, damaged or older")
        k, n = found["shard"]
        one = found | {"shard": [0, n]}
        first = first or one
        if changed := differences(first, one):
            raise CAMError(
                f"the shards must belong to one evaluation, but {folders[0]} and {folder} differ in {listed(changed)}; "
                "evaluate them with the same settings"
            )
        if k in numbers:
            raise CAMError(f"each shard must come once, but {numbers[k]} and {folder} both have shard ({k}, {n})")
        numbers[k] = folder
    assert first is not None
    return first


def _read(folders: Sequence[Path], settings: dict[str, Any], allow_missing: bool) -> Table:
    """The table of all journals.

    Raises:
        CAMError: an image is in two shards, or a batch is missing.
    """
    metrics = settings["protocol"]["metrics"]
    for metric in metrics:
        lookup("metric", metric, METRICS, "register it before the tables are merged")
    rows = Rows([*settings["methods"]], metrics, settings["points"], settings["save_curves"], bool(settings["seeds"]))
    n = settings["shard"][1]
    rows.update(rows.empty, {}, settings["unread"])
    where: dict[str, Path] = {}
    left = {*range(settings["batches"]["count"])}
    for folder in folders:
        for entry in entries_in(folder, digest(settings_in(folder))):
            if twice := [index for index in entry["images"] if index in where]:
                both = f"{where[twice[0]]} and {folder}"
                raise CAMError(
                    f"each image must be in one shard, but image {twice[0]} is in {both}; pass each shard once"
                )
            where |= dict.fromkeys(entry["images"], folder)
            lost = [int(index) for index, mark in entry["images"].items() if mark is None]
            rows.update(*rows.from_json(entry["rows"]), lost)
            left.discard(entry["batch"])
    if left and not allow_missing:
        lacking = listed([f"({k}, {n})" for k in sorted({batch % n for batch in left})])
        raise CAMError(
            f"all {settings['images']} images must be evaluated, but {len(left)} of {settings['batches']['count']} "
            f"batches are missing, of the shards {lacking}; pass their folders, finish them, or pass allow_missing=True"
        )
    return rows.table()


def _joined(tables: Sequence[Table]) -> Table:
    """The table of all rows of some tables.

    Raises:
        CAMError: methods, metrics or columns differ, or an image is in two tables.
    """
    first, seen = tables[0], set[int]()
    for table in tables:
        for what in ("methods", "metrics", "seeds"):
            if getattr(table, what) != getattr(first, what):
                given = " and ".join(", ".join(map(str, getattr(one, what))) or "none" for one in (first, table))
                raise CAMError(f"all tables must have the same {what}, got {given}; evaluate with the same settings")
        if table.columns.keys() != first.columns.keys():
            raise CAMError("all tables must have the same columns; pass the same save_curves and seeds each time")
        own = {*table.columns["image"].tolist(), *table.skipped}
        if twice := own & seen:
            raise CAMError(f"each image must be in one table, but image {min(twice)} is in two; pass each shard once")
        seen |= own
    columns = {name: torch.cat([table.columns[name] for table in tables]) for name in first.columns}
    order = order_of(columns)
    curves = {name: _mean_curves(tables, number, name) for number, name in enumerate(first.methods)}
    skipped = sorted({index for table in tables for index in table.skipped})
    return Table(
        first.methods,
        first.metrics,
        {name: column[order] for name, column in columns.items()},
        {name: both for name, both in curves.items() if both is not None},
        tuple(skipped),
    )


def _mean_curves(tables: Sequence[Table], number: int, method: str) -> Tensor | None:
    """The mean curves of one method, weighted by the rows of each table; None if some rows have no curves."""
    counts = [int((table.columns["method"] == number).sum()) for table in tables]
    parts = [(n, table.curves.get(method)) for n, table in zip(counts, tables, strict=True) if n]
    sums = [n * both.double() for n, both in parts if both is not None]
    return (torch.stack(sums).sum(0) / sum(counts)).float() if sums and len(sums) == len(parts) else None
