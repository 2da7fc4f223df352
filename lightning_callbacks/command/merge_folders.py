"""The command ``captum-cams merge``."""

from collections.abc import Sequence
from pathlib import Path

from captum_cams.errors import CAMError
from lightning_callbacks.evaluation.merge_tables import merge_tables


def merge_folders(*, folders: Sequence[str | Path], out: Path, allow_missing: bool) -> None:
    """Join the folders of shards, print the table and write its files; the command line describes the arguments.

    Raises:
        CAMError: no folder is given, the shards do not belong together, or some are missing.
    """
    if not folders:
        raise CAMError("there must be at least one folder of a shard, got none; write the --out folders of evaluate")
    table = merge_tables(folders, out=out, allow_missing=allow_missing)
    print(table)
    images, shards = len(table.columns["image"].unique()), f"{len(folders)} folder{'s' * (len(folders) > 1)}"
    print(f"{out / 'table.md'}: {images} images from {shards}")
