"""The arguments of each command, and their help texts."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn, get_args

from captum_cams import CAMError, __version__
from captum_cams.adapters.map_folder import MapFormat
from captum_cams.benchmark.networks import NETWORKS
from captum_cams.engine.scores import Kind
from captum_cams.errors import lookup
from captum_cams.export.build import FORMS
from captum_cams.metrics.catalogue import METRICS
from captum_cams.metrics.protocols import PROTOCOLS
from captum_cams.metrics.replacements import REPLACEMENTS
from lightning_callbacks.evaluation.trial import SWEPT


class _Parser(argparse.ArgumentParser):
    """A parser that raises an error instead of ending the process, and accepts only complete names of options."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        raise CAMError(message)


def parse(args: Sequence[str] | None = None) -> tuple[str, dict[str, Any]]:
    """Read the command that the user typed, and its arguments by name.

    Args:
        args: the words after ``captum-cams``; None takes the words that the user typed.

    Raises:
        CAMError: a command or an argument is unknown, an argument is missing, or a value has the wrong type.
    """
    found, unknown = _parser().parse_known_args(args)
    _refuse_repeated(sys.argv[1:] if args is None else args)
    options = vars(found)
    command = options.pop("command")
    listed = [name for name in ("images", "folders") if name in options]
    if listed and not any(word.startswith("-") for word in unknown):
        options[listed[0]] = [*options[listed[0]], *unknown]  # argparse looks for them in one place only
    elif unknown:
        known = {f"--{name}": name for name in options if name not in listed}
        lookup("argument", unknown[0].split("=")[0], known, f"captum-cams {command} --help lists the arguments")
    return command, options


def _refuse_repeated(words: Sequence[str]) -> None:
    """Raise if an argument is there twice, because the first one would have no effect."""
    names = [word.split("=")[0] for word in words if word.startswith("--")]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise CAMError(f"{twice} must be given once, got it {names.count(twice)} times; write all its values after it")


def _parser() -> _Parser:
    parser = _Parser(
        prog="captum-cams",
        description="Show where in an image a network looks, and measure how good the heat maps are.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(title="commands", required=True)
    for name, fill, summary in (
        ("explain", _explain, "Save a picture of each image with heat maps over it, one for each method."),
        ("evaluate", _evaluate, "Measure how good methods are on a folder of images, and print a table."),
        ("merge", _merge, "Join the folders of all shards of an evaluation into one table of the whole data set."),
        ("report", _report, "Write the report of a finished evaluation: one page for a browser, without any network."),
        ("trial", _trial, "Find out which metrics can be trusted on a folder of images, and write a report in words."),
        ("export", _export, "Write a network that returns its scores and a map, and compare the file with PyTorch."),
        ("benchmark", _benchmark, "Grade methods on drawn scenes in which the deciding pixels are known."),
        ("methods", None, "List all methods with their paper and their cost."),
    ):
        command = commands.add_parser(name, help=summary, description=summary)
        command.set_defaults(command=name)
        if fill is not None:
            fill(command.add_argument)
    return parser


def _explain(add: Callable[..., Any]) -> None:
    add("images", nargs="*", help='files, folders of images, or patterns such as "photos/*.jpg"')
    _shared(add, Path("cams"), "the pictures")
    target = "class to explain, by its index or its name (default: the predicted class of each image)"
    add("--target", type=_index_or_name, metavar="CLASS", help=target)
    whole = "resize the whole image to the input size of the network, instead of cropping its centre"
    add("--whole", action="store_true", help=whole)


def _evaluate(add: Callable[..., Any]) -> None:
    written = "the table, the values of each image and the curves; the same command continues after an interruption"
    _measured(add, Path("evaluation"), written, "default")
    saved = "folder for the maps of all methods, with a manifest"
    add("--save_maps", type=Path, metavar="FOLDER", help=saved)
    kind = "format of these maps; safetensors needs captum-cams[safetensors] (default: %(default)s)"
    add("--map_format", choices=get_args(MapFormat), default="npz", help=kind)
    seeds = "measure methods that draw random numbers with N seeds, 0 to N - 1, and state the deviation over them"
    add("--seeds", type=int, metavar="N", help=seeds)
    shard = "evaluate part K of N, counted from 0, with a folder of its own; captum-cams merge joins them"
    add("--shard", type=_shard, default=(0, 1), metavar="K/N", help=shard)


def _merge(add: Callable[..., Any]) -> None:
    folders = "the --out folders of evaluate --shard 0/N, 1/N, …, in any order; a metric of your own needs merge_tables"
    add("folders", nargs="*", metavar="FOLDER", type=Path, help=folders)
    out = "folder for the table, the values of each image and the figures of the whole data set"
    add("--out", required=True, type=Path, metavar="FOLDER", help=out)
    missing = "accept shards that are missing or not finished, and make a table of the images that are there"
    add("--allow_missing", action="store_true", help=missing)


def _report(add: Callable[..., Any]) -> None:
    add("folder", metavar="FOLDER", type=Path, help="the --out folder of evaluate or of merge; gets a report.html")


def _trial(add: Callable[..., Any]) -> None:
    _measured(add, Path("trial"), "trial.md, trial.json and the evaluations, which continue", "training")
    words = f"what replaces removed pixels, one after the other: {', '.join(REPLACEMENTS)} (default: all but telea)"
    add("--replacements", nargs="+", default=[*SWEPT], metavar="NAME", help=words)


def _measured(add: Callable[..., Any], out: Path, written: str, default: str) -> None:
    """Add the arguments that ``evaluate`` and ``trial`` have."""
    data = (
        "folder that has labels.csv, VOCdevkit, the folder val of ImageNet, one folder for each class, or only images"
    )
    add("--data", required=True, type=Path, metavar="FOLDER", help=data)
    _shared(add, out, written)
    protocol = f"named choice of metrics and images: {', '.join(PROTOCOLS)} (default: %(default)s)"
    add("--protocol", default=default, metavar="NAME", help=protocol)
    metrics = f"metrics to compute instead of those of the protocol: {', '.join(METRICS)}"
    add("--metrics", nargs="+", metavar="METRIC", help=metrics)
    stored = "read the maps of method NAME from a FOLDER that --save_maps has written, instead of computing them"
    add("--stored", nargs="+", type=_stored, default=[], metavar="NAME=FOLDER", help=stored)
    for name, number, what in (
        ("--devices", 1, "number of devices; each device gets a process"),
        ("--batch_size", 8, "number of images in a batch"),
        ("--workers", 0, "number of extra processes that read images"),
    ):
        add(name, type=int, default=number, metavar="N", help=f"{what} (default: %(default)s)")
    limit = "evaluate at most N images, a sample that is the same in every run (default: all images)"
    add("--limit", type=int, metavar="N", help=limit)
    precision = "number format for the computation, for example 16-mixed or bf16-mixed (default: %(default)s)"
    add("--precision", default="32-true", metavar="FORMAT", help=precision)


def _export(add: Callable[..., Any]) -> None:
    _network(add)
    add("--method", default="gradcam", choices=[*FORMS], help="method of the map (default: %(default)s)")
    out = "file to write: FILE.onnx, which needs captum-cams[onnx], or FILE.pt2 of torch.export"
    add("--out", required=True, type=Path, metavar="FILE", help=out)
    target = "class to explain, by its index or its name (default: the predicted class of each image)"
    add("--target", type=_index_or_name, metavar="CLASS", help=target)


def _benchmark(add: Callable[..., Any]) -> None:
    _methods(add)
    networks = f"trained networks to explain: {', '.join(NETWORKS)} (default: all)"
    add("--networks", nargs="+", choices=NETWORKS, default=[*NETWORKS], metavar="NETWORK", help=networks)
    scenes = "number of scenes of each kind for each network (default: %(default)s)"
    add("--scenes", type=int, default=20, metavar="N", help=scenes)
    out = "folder for benchmark.md and benchmark.png (default: %(default)s)"
    add("--out", type=Path, default=Path("benchmark"), metavar="FOLDER", help=out)


def _network(add: Callable[..., Any]) -> None:
    """Add the arguments that say what is explained."""
    model = (
        "name of a torchvision model, timm:NAME or hf:NAME_OR_FOLDER (with their own weights and preprocessing), or "
        "module:function that returns your network"
    )
    add("--model", required=True, help=model)
    add("--layer", metavar="NAME", help="layer to explain, for example layer4.1 (default: the last feature layer)")
    add("--checkpoint", type=Path, metavar="FILE", help="file with weights to load instead of the default weights")


def _shared(add: Callable[..., Any], out: Path, written: str) -> None:
    """Add the arguments that ``explain`` and ``evaluate`` have."""
    _network(add)
    _methods(add)
    add("--out", type=Path, default=out, metavar="FOLDER", help=f"folder for {written} (default: %(default)s)")
    task = "meaning of the output: one class of several, any number of labels, one of two classes, or numbers"
    add("--task", choices=get_args(Kind), default="multiclass", help=f"{task} (default: %(default)s)")
    add("--skip_unreadable", action="store_true", help="skip images that cannot be read, with a warning")


def _methods(add: Callable[..., Any]) -> None:
    methods = 'names that "captum-cams methods" lists; write wrappers as "fgcam(gradcam)" (default: gradcam)'
    add("--methods", nargs="+", default=["gradcam"], metavar="METHOD", help=methods)


def _shard(word: str) -> tuple[int, int]:
    """The part and the number of parts in a word such as "0/4"."""
    try:
        k, n = map(int, word.split("/"))
    except ValueError:
        raise argparse.ArgumentTypeError(f'must be K/N with integers 0 ≤ K < N, such as 0/4, got "{word}"') from None
    return k, n


def _index_or_name(word: str) -> int | str:
    """The index of a class as an integer, or its name as it is."""
    try:
        return int(word)
    except ValueError:
        return word


def _stored(word: str) -> tuple[str, Path]:
    """The name and the folder of stored maps."""
    name, equals, folder = word.partition("=")
    if not name or not equals or not folder:
        raise argparse.ArgumentTypeError(f'must be NAME=FOLDER, got "{word}"; write for example gradcam=maps')
    return name, Path(folder)
