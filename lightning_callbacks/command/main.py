"""The command line: ``captum-cams explain``, ``captum-cams evaluate`` and ``captum-cams methods``."""

import inspect
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import docstring_parser
import pytorch_lightning as pl
from jsonargparse import ArgumentError, ArgumentParser
from PIL import Image
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from torch.utils.data import DataLoader

from captum_cams import CAMError, __version__, names, visual
from captum_cams.engine.scores import Kind, probabilities
from captum_cams.errors import check_at_least, near
from captum_cams.metrics.protocols import find_protocol
from captum_cams.registry import lookup
from lightning_callbacks.command.folders import collate, open_folder
from lightning_callbacks.command.images import read_image
from lightning_callbacks.command.models import Loaded, load_model
from lightning_callbacks.command.typed import apart, class_index, image_files
from lightning_callbacks.evaluation.evaluate import evaluate
from lightning_callbacks.methods import make, named
from lightning_callbacks.network import Network


def explain(
    images: Sequence[str | Path],
    model: str,
    method: Sequence[str] = ("gradcam",),
    out: Path = Path("cams"),
    layer: str | None = None,
    target: int | str | None = None,
    checkpoint: Path | None = None,
    whole: bool = False,
    skip_unreadable: bool = False,
    task: Kind = "multiclass",
) -> None:
    """Write the heat map of each image over it, one PNG an image.

    Args:
        images: files, folders or patterns.
        model: a torchvision model by name, with its default weights, or module:function that returns a network.
        method: one or more of the names that "captum-cams methods" prints; a column of the picture each.
        out: folder for the pictures.
        layer: dotted name of the layer to explain; the last feature layer otherwise.
        target: index or name of the class to explain; the predicted class otherwise.
        checkpoint: file of weights to use in place of the default ones.
        whole: squeeze the whole image into the network's input, in place of cutting out its centre.
        skip_unreadable: leave out the images that cannot be read.
        task: what the network's output means: softmax of classes, sigmoid of labels, one logit of two sides, or values.
    """
    methods, behind = apart(method)
    files = image_files([*images, *behind])
    loaded = load_model(model, checkpoint)
    prepare, network = loaded.transform(whole), Network(loaded.network, None)
    explainers = {name: make(name, network, layer, task) for name in named(methods)}
    written = [out / f"{file.stem}.png" for file in files]
    if len({*written}) < len(written) or {file.resolve() for file in written} & {file.resolve() for file in files}:
        raise CAMError(f"each image must have a name of its own in {out}, and not be overwritten; pass another --out")
    out.mkdir(parents=True, exist_ok=True)
    for file, place in zip(files, written, strict=True):
        try:
            picture = read_image(file)
        except CAMError as error:
            if not skip_unreadable:
                raise CAMError(f"{error}; mend it or leave it out, or pass --skip_unreadable") from error
            print(f"left out {error}", file=sys.stderr)
            continue
        inputs = prepare(picture)[None]
        scores = network.scores(inputs, task)
        classes = scores.shape[1]
        index = int(scores[0].argmax()) if target is None else class_index(target, loaded.class_names, classes)
        value = float(probabilities(scores, task)[0, index])
        maps = {name: explainer.attribute(inputs, index) for name, explainer in explainers.items()}
        caption = _caption(loaded, index, value, task, predicted=target is None)
        panel = visual.panel(inputs, maps, [caption], mean=loaded.mean, std=loaded.std)
        Image.fromarray(panel).save(place)
        print(f"{place}: {caption}")


def evaluate_folder(
    model: str,
    data: Path,
    methods: Sequence[str] = ("gradcam",),
    protocol: str = "default",
    metrics: Sequence[str] | None = None,
    out: Path = Path("evaluation"),
    devices: int = 1,
    batch_size: int = 8,
    workers: int = 0,
    precision: str = "32-true",
    layer: str | None = None,
    checkpoint: Path | None = None,
    skip_unreadable: bool = False,
    task: Kind = "multiclass",
) -> None:
    """Measure methods on a folder of images and print one table; started again after an interruption, it goes on.

    Args:
        model: a torchvision model by name, with its default weights, or module:function that returns a network.
        data: a folder with labels.csv, VOCdevkit, ImageNet's val, a folder for each class, or images alone.
        methods: names that "captum-cams methods" prints, wrappers as "fgcam(gradcam)".
        protocol: what is measured: default, or as a paper does: fdcam_faithfulness, fdcam_discriminability,
            fgcam_faithfulness, fgcam_localisation, jittercam_accuracy, jittercam_localisation or adcc.
        metrics: others than the protocol's.
        out: folder for the table, the rows of each image, the curves, and the journal of what is done.
        devices: how many of them, a process each.
        batch_size: images in a batch.
        workers: processes that read images.
        precision: as Lightning's Trainer takes it.
        layer: dotted name of the layer to explain; the last feature layer otherwise.
        checkpoint: file of weights to use in place of the default ones.
        skip_unreadable: leave out and count the images that cannot be read.
        task: what the network's output means: softmax of classes, sigmoid of labels, one logit of two sides, or values.
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
    evaluate(
        loaded.network,
        loader,
        methods,
        metrics=metrics,
        protocol=measured,
        trainer=trainer,
        task=task,
        layer=layer,
        out=out,
        class_names=loaded.class_names or None,
        skip_unreadable=skip_unreadable,
    )


def methods() -> None:
    """Print each method: its name, its paper, its cost in forward passes."""
    classes = {name: lookup(name) for name in names()}
    rows = [(name, str(cls.paper or ""), str(cls.cost)) for name, cls in classes.items()]
    widths = [max(len(row[i]) for row in rows) for i in range(2)]
    for name, paper, cost in rows:
        print(f"{name:{widths[0]}}  {paper:{widths[1]}}  {cost}")


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line; what the user got wrong is said in one line, and 2 returned."""
    actions: dict[str, Callable[..., None]] = {"explain": explain, "evaluate": evaluate_folder, "methods": methods}
    parser = ArgumentParser(
        prog="captum-cams", description="Class activation maps.", exit_on_error=False, version=__version__
    )
    commands = parser.add_subcommands(dest="command")
    commands.add_subcommand("explain", _parser(explain, positional="images", several=["method"]))
    commands.add_subcommand("evaluate", _parser(evaluate_folder, several=["methods", "metrics"]))
    commands.add_subcommand("methods", _parser(methods))
    for name, command in commands.choices.items():
        command.prog = f"captum-cams {name}"
    try:
        found = parser.parse_args(args)
        actions[found.command](**found[found.command].as_dict())
    except (ArgumentError, MisconfigurationException, ValueError, OSError) as error:
        last = str(error).strip().splitlines()[-1:] if "Traceback" in str(error) else [str(error)]  # of a worker
        said = re.sub(rf"\b({'|'.join(actions)})\.(?=\w)", "--", " ".join(" ".join(last).split()))
        print(f"captum-cams: {said}{_near_option(said, actions)}", file=sys.stderr)
        return 2
    return 0


def _parser(function: Any, positional: str | None = None, several: Sequence[str] = ()) -> ArgumentParser:
    """The arguments of a function; ``several`` take any number of words, as shells have it."""
    parser = ArgumentParser(description=(inspect.getdoc(function) or "").split("\n")[0], exit_on_error=False)
    parameters = inspect.signature(function).parameters
    flags = [name for name, parameter in parameters.items() if parameter.default is False]
    parser.add_function_arguments(function, skip={*several, *flags, *([positional] if positional else [])})
    said = _said(function)
    for name in several:
        parser.add_argument(f"--{name}", nargs="+", default=parameters[name].default, help=said[name])
    for name in flags:
        parser.add_argument(f"--{name}", action="store_true", help=said[name])
    if positional is not None:
        parser.add_argument(positional, nargs="*", default=[], help=said[positional])
    return parser


def _near_option(said: str, functions: Mapping[str, Callable[..., None]]) -> str:
    unknown = re.search(r"unrecognized arguments: (--[\w-]+)", said)
    known = {f"--{name}" for function in functions.values() for name in inspect.signature(function).parameters}
    return near(unknown[1], known - {"--images"}) if unknown else ""


def _said(function: Any) -> dict[str, str]:
    return {
        one.arg_name: one.description or "" for one in docstring_parser.parse(inspect.getdoc(function) or "").params
    }


def _caption(loaded: Loaded, index: int, value: float, task: Kind, predicted: bool) -> str:
    name = loaded.class_names[index] if index < len(loaded.class_names) else f"class {index}"
    return f"{'predicted ' if predicted else ''}{name}, {'value' if task == 'regression' else 'p'} = {value:.2f}"
