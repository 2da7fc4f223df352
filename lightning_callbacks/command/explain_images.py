"""The command ``captum-cams explain``."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from tqdm import tqdm

from captum_cams import CAMError, visual
from captum_cams.engine.scores import Kind
from captum_cams.registry import title
from lightning_callbacks.command.explained_image import ExplainedImage, explain_image
from lightning_callbacks.command.explained_page import explained_page
from lightning_callbacks.command.models import load_model
from lightning_callbacks.command.read_image import read_image
from lightning_callbacks.command.words import apart, classes_apart, image_files
from lightning_callbacks.methods import make, named
from lightning_callbacks.network import Network

PAGE = "explained.html"


def explain_images(
    images: Sequence[str],
    model: str,
    *,
    methods: Sequence[str],
    out: Path,
    layer: str | None,
    target: Sequence[int | str] | None,
    checkpoint: Path | None,
    whole: bool,
    task: Kind,
    skip_unreadable: bool,
    html: bool = False,
) -> None:
    """Write one PNG file for each image, and perhaps a page; the command line describes the arguments.

    Raises:
        CAMError: an argument does not fit, or an image (with ``skip_unreadable``, every image) cannot be read.
    """
    methods, more = apart(methods)
    targets, others = classes_apart(target or ())
    files = image_files([*images, *more, *others])
    loaded = load_model(model, checkpoint)
    prepare, network = loaded.transform(whole), Network(loaded.network, None)
    explainers = {name: make(name, network, layer, task) for name in named(methods)}
    written = [out / f"{file.stem}.png" for file in files]
    if len({*written}) < len(written) or {file.resolve() for file in written} & {file.resolve() for file in files}:
        raise CAMError(
            f"each picture must have a name of its own in {out} and must not overwrite an image; pass another --out"
        )
    out.mkdir(parents=True, exist_ok=True)
    explained: list[ExplainedImage] = []
    start = time.perf_counter()
    # Only a terminal shows the progress; a file gets the lines alone.
    pairs = tqdm([*zip(files, written, strict=True)], unit="image", disable=None, leave=False)
    for file, target_file in pairs:
        try:
            picture = read_image(file)
        except CAMError as error:
            if not skip_unreadable:
                raise CAMError(f"{error}; repair or remove it, or pass --skip_unreadable") from error
            tqdm.write(f"left out {error}", file=sys.stderr)
            continue
        inputs = prepare(picture)[None]
        one = explain_image(file, inputs, network, explainers, loaded.class_names, targets, task)
        rows = {name: torch.cat([each.maps[name] for each in one.classes]) for name in explainers}
        repeated = inputs.expand(len(one.classes), *inputs.shape[1:])
        captions = [each.caption for each in one.classes]
        panel = visual.panel(repeated, rows, captions, mean=loaded.mean, std=loaded.std)
        Image.fromarray(panel).save(target_file)
        tqdm.write(f"{target_file}: {'; '.join(captions)}")
        explained.append(one)
    if not explained:
        raise CAMError(
            f"at least one image must be readable, got none of {len(files)}; check the files (nothing is in {out})"
        )
    seconds = (time.perf_counter() - start) / len(explained)
    if html:
        (out / PAGE).write_text(explained_page(explained, model, loaded.mean, loaded.std), encoding="utf-8")
    count = f"{len(explained)} picture{'s' * (len(explained) > 1)}{f' and {PAGE}' * html}"
    if loaded.note:
        print(loaded.note, file=sys.stderr)
    print(f"{count} in {out}: {', '.join(map(title, explainers))} of {model}, {seconds:.2g} s for each image")
