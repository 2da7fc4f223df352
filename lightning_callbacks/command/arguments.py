"""The arguments of each command, and their help."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn, get_args

from captum_cams import CAMError, __version__
from captum_cams.engine.scores import Kind
from captum_cams.errors import lookup
from captum_cams.metrics.protocols import PROTOCOLS


class _Parser(argparse.ArgumentParser):
    """Raises a mistake instead of ending the process, and takes no shortened names of options."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        raise CAMError(message)


def parse(args: Sequence[str] | None = None) -> tuple[str, dict[str, Any]]:
    """The command that the user typed, and its arguments by name.

    Args:
        args: the words after ``captum-cams``; None takes those that the user typed.

    Raises:
        CAMError: an unknown command or argument, a missing one, or a value of another kind.
    """
    found, unknown = _parser().parse_known_args(args)
    options = vars(found)
    command = options.pop("command")
    if unknown:
        known = {f"--{name}": name for name in options if name != "images"}
        lookup("argument", unknown[0].split("=")[0], known, f"captum-cams {command} --help lists the arguments")
    return command, options


def _parser() -> _Parser:
    parser = _Parser(prog="captum-cams", description="Class activation maps: where in an image a network looks.")
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(title="commands", required=True)
    for name, fill, summary in (
        ("explain", _explain, "Write a picture of each image with the heat maps of the methods over it."),
        ("evaluate", _evaluate, "Measure methods on a folder of images and print one table."),
        ("methods", None, "Print the name, the paper and the cost of each method."),
    ):
        command = commands.add_parser(name, help=summary, description=summary)
        command.set_defaults(command=name)
        if fill is not None:
            fill(command.add_argument)
    return parser


def _explain(add: Callable[..., Any]) -> None:
    add("images", nargs="*", help='files, folders of images, or patterns such as "photos/*.jpg"')
    _shared(add, Path("cams"), "the pictures")
    target = "index or name of the class to explain (default: the predicted class of each image)"
    add("--target", type=_index_or_name, metavar="CLASS", help=target)
    whole = "squeeze the whole image into the size that the network takes, instead of cutting out its centre"
    add("--whole", action="store_true", help=whole)


def _evaluate(add: Callable[..., Any]) -> None:
    data = "folder with labels.csv, VOCdevkit, ImageNet's val, a folder for each class, or images alone"
    add("--data", required=True, type=Path, metavar="FOLDER", help=data)
    written = "the table, the values of each image, the curves and the journal, by which the same command goes on"
    _shared(add, Path("evaluation"), f"{written} after an interruption")
    protocol = f"what is measured, and on which images: {', '.join(PROTOCOLS)} (default: %(default)s)"
    add("--protocol", default="default", metavar="NAME", help=protocol)
    add("--metrics", nargs="+", metavar="METRIC", help="metrics to use instead of the protocol's")
    for name, default, what in (
        ("--devices", 1, "number of devices, with a process for each"),
        ("--batch_size", 8, "number of images in a batch"),
        ("--workers", 0, "number of processes that read images; with 0, no further process is started"),
    ):
        add(name, type=int, default=default, metavar="N", help=f"{what} (default: %(default)s)")
    precision = "precision of the numbers, as Lightning's Trainer takes it, such as bf16-mixed (default: %(default)s)"
    add("--precision", default="32-true", help=precision)


def _shared(add: Callable[..., Any], out: Path, written: str) -> None:
    """The arguments that both commands have."""
    model = "name of a torchvision model, with its default weights, or module:function that returns a network"
    add("--model", required=True, help=model)
    methods = 'names that "captum-cams methods" prints, wrappers as "fgcam(gradcam)" (default: gradcam)'
    add("--methods", nargs="+", default=["gradcam"], metavar="METHOD", help=methods)
    add("--out", type=Path, default=out, metavar="FOLDER", help=f"folder for {written} (default: %(default)s)")
    add("--layer", help="dotted name of the layer to explain (default: the last feature layer)")
    add("--checkpoint", type=Path, metavar="FILE", help="file of weights to use instead of the default weights")
    task = "what the output means: a softmax of classes, a sigmoid of each label, one logit for two classes, or values"
    add("--task", choices=get_args(Kind), default="multiclass", help=f"{task} (default: %(default)s)")
    add("--skip_unreadable", action="store_true", help="leave out the images that cannot be read, and say which")


def _index_or_name(word: str) -> int | str:
    try:
        return int(word)
    except ValueError:
        return word
