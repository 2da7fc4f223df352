"""The command ``captum-cams evaluate``."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from torch.utils.data import DataLoader

from captum_cams.adapters.map_folder import MapFormat
from captum_cams.adapters.storedmaps import StoredMaps
from captum_cams.engine.scores import Kind
from captum_cams.errors import check_at_least
from captum_cams.metrics.protocols import find_protocol
from lightning_callbacks.command.folders import collate, open_folder
from lightning_callbacks.command.models import load_model
from lightning_callbacks.command.words import listed
from lightning_callbacks.evaluation.evaluate import evaluate
from lightning_callbacks.methods import named


def evaluate_folder(
    model: str,
    data: Path,
    *,
    methods: Sequence[str],
    protocol: str,
    metrics: Sequence[str] | None,
    out: Path,
    devices: int,
    batch_size: int,
    workers: int,
    precision: str,
    layer: str | None,
    checkpoint: Path | None,
    task: Kind,
    skip_unreadable: bool,
    limit: int | None,
    stored: Sequence[tuple[str, Path]],
    shard: tuple[int, int] = (0, 1),
    save_maps: Path | None = None,
    map_format: MapFormat = "npz",
    seeds: int | None = None,
    run: Callable[..., Any] = evaluate,
) -> None:
    """Measure methods on a folder of images and print a table; the command line describes the arguments.

    Args:
        run: what is done with the network, the images and the methods: ``evaluate``, or a function like it.

    Raises:
        CAMError: an argument does not fit.
    """
    check_at_least("devices", devices, 1)
    measured = find_protocol(protocol)
    loaded = load_model(model, checkpoint)
    images = open_folder(data, loaded.transform(measured.whole))
    loader = DataLoader(images, batch_size, collate_fn=collate, num_workers=workers)
    trainer = pl.Trainer(
        devices=devices,
        strategy="ddp" if devices > 1 else "auto",
        precision=precision,  # type: ignore[arg-type]
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
    )
    run(
        loaded.network,
        loader,
        named(listed(methods)) | {name: StoredMaps(folder, name) for name, folder in stored},
        metrics=None if metrics is None else listed(metrics),
        protocol=measured,
        trainer=trainer,
        task=task,
        layer=layer,
        out=out,
        class_names=loaded.class_names or None,
        skip_unreadable=skip_unreadable,
        limit=limit,
        shard=shard,
        save_maps=save_maps,
        map_format=map_format,
        seeds=seeds,
    )
    if loaded.note:
        print(loaded.note, file=sys.stderr)
