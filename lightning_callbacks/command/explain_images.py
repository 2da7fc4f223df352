"""The command ``captum-cams explain``."""

import sys
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from captum_cams import CAMError, visual
from captum_cams.engine.scores import Kind, probabilities
from lightning_callbacks.command.loaded import Loaded
from lightning_callbacks.command.models import load_model
from lightning_callbacks.command.read_image import read_image
from lightning_callbacks.command.words import apart, class_index, image_files
from lightning_callbacks.methods import make, named
from lightning_callbacks.network import Network


def explain_images(
    images: Sequence[str],
    model: str,
    *,
    methods: Sequence[str],
    out: Path,
    layer: str | None,
    target: int | str | None,
    checkpoint: Path | None,
    whole: bool,
    task: Kind,
    skip_unreadable: bool,
) -> None:
    """Write one PNG file for each image; the command line describes the arguments.

    Raises:
        CAMError: an argument does not fit, or an image (with ``skip_unreadable``, every image) cannot be read.
    """
    methods, more = apart(methods)
    files = image_files([*images, *more])
    loaded = load_model(model, checkpoint)
    prepare, network = loaded.transform(whole), Network(loaded.network, None)
    explainers = {name: make(name, network, layer, task) for name in named(methods)}
    written = [out / f"{file.stem}.png" for file in files]
    if len({*written}) < len(written) or {file.resolve() for file in written} & {file.resolve() for file in files}:
        raise CAMError(
            f"each picture must have a name of its own in {out} and must not overwrite an image; pass another --out"
        )
    out.mkdir(parents=True, exist_ok=True)
    left_out = 0
    for file, target_file in zip(files, written, strict=True):
        try:
            picture = read_image(file)
        except CAMError as error:
            if not skip_unreadable:
                raise CAMError(f"{error}; repair or remove it, or pass --skip_unreadable") from error
            print(f"left out {error}", file=sys.stderr)
            left_out += 1
            continue
        inputs = prepare(picture)[None]
        scores = network.scores(inputs, task)
        classes = scores.shape[1]
        index = int(scores[0].argmax()) if target is None else class_index(target, loaded.class_names, classes)
        value = float(probabilities(scores, task)[0, index])
        maps = {name: explainer.attribute(inputs, index) for name, explainer in explainers.items()}
        caption = _caption(loaded, index, value, task, predicted=target is None)
        panel = visual.panel(inputs, maps, [caption], mean=loaded.mean, std=loaded.std)
        Image.fromarray(panel).save(target_file)
        print(f"{target_file}: {caption}")
    if left_out == len(files):
        raise CAMError(
            f"at least one image must be readable, got none of {left_out}; check the files (nothing is in {out})"
        )


def _caption(loaded: Loaded, index: int, value: float, task: Kind, predicted: bool) -> str:
    """The text below a picture: the explained class and its probability."""
    name = loaded.class_names[index] if index < len(loaded.class_names) else f"class {index}"
    return f"{'predicted ' if predicted else ''}{name}, {'value' if task == 'regression' else 'p'} = {value:.2f}"
