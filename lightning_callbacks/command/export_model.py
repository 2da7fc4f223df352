"""The command ``captum-cams export``."""

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from captum_cams import with_map
from captum_cams.errors import CAMError
from captum_cams.export.check import results, within
from captum_cams.extras import import_extra
from lightning_callbacks.command.loaded import Loaded
from lightning_callbacks.command.models import load_model
from lightning_callbacks.command.words import class_index
from lightning_callbacks.network import Network


def export_model(
    *, model: str, method: str, layer: str | None, out: Path, target: int | str | None, checkpoint: Path | None
) -> None:
    """Write a network and its map to a file, and compare the file with PyTorch; the command line describes the rest.

    Raises:
        CAMError: an argument does not fit, the network cannot be exported, or the file gives another result.
    """
    if out.suffix not in (".onnx", ".pt2"):
        raise CAMError(f"--out must end with .onnx or .pt2, got {out}; the ending says which runtime reads the file")
    if out.suffix == ".onnx":
        _onnxruntime()  # said at once if it is missing
    loaded = load_model(model, checkpoint)
    network, (example, other) = loaded.network, _images(loaded)
    index = None
    if target is not None:
        classes = Network(network, None).scores(example, "multiclass").shape[1]
        index = class_index(target, loaded.class_names, classes)
    module = with_map(network, method, layer, inputs=example, target=index)
    # A size of 1 would be taken for a constant.
    images = torch.cat((example, other)) if module.free_batch else example
    axes = {0: torch.export.Dim.DYNAMIC if module.free_batch else None}
    out.parent.mkdir(parents=True, exist_ok=True)
    run = _write_onnx if out.suffix == ".onnx" else _write_program
    found = run(module, images, axes, out, other)
    scores, map_, rounding = results(module, other)
    differences = [float((a - b).abs().max()) for a, b in zip(found, (scores, map_), strict=True)]
    print(f"{out}: largest difference to PyTorch: scores {differences[0]:.1e}, map {differences[1]:.1e}")
    if not (within(found[0], scores, torch.zeros(())) and within(found[1], map_, rounding)):
        raise CAMError(
            f"the file {out} must give the results of PyTorch to 1e-4 of the largest value, or as far as rounding "
            "moves a map of small differences, got other ones; do not use it, and try another method or another ending "
            "of --out"
        )


def _onnxruntime() -> Any:
    """Import what runs a file .onnx, and what torch.onnx needs to write it."""
    import_extra("onnxscript", "onnx", "a file .onnx", ", or pass a file .pt2")
    return import_extra("onnxruntime", "onnx", "a file .onnx", ", or pass a file .pt2")


def _images(loaded: Loaded) -> list[Tensor]:
    """Two images of noise, as the network takes them."""
    generator = torch.Generator().manual_seed(0)
    return list(torch.randn(2, 1, 3, loaded.size, loaded.size, generator=generator))


def _write_program(
    module: nn.Module, images: Tensor, axes: dict[int, object], out: Path, other: Tensor
) -> tuple[Tensor, ...]:
    program = torch.export.export(module, (images,), dynamic_shapes=(axes,))
    torch.export.save(program, out)
    with torch.no_grad():
        return torch.export.load(out).module()(other)


def _write_onnx(
    module: nn.Module, images: Tensor, axes: dict[int, object], out: Path, other: Tensor
) -> tuple[Tensor, ...]:
    with warnings.catch_warnings():
        # The exporter uses what its own libraries have deprecated; no user can change that.
        warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"(onnx|torch\.onnx)")
        names = {"input_names": ["images"], "output_names": ["scores", "map"]}
        program = torch.onnx.export(
            module,
            (images,),
            dynamo=True,
            dynamic_shapes=(axes,),
            verbose=False,
            **names,  # type: ignore[arg-type]
        )
    program.save(str(out))  # type: ignore[union-attr]
    session = _onnxruntime().InferenceSession(str(out), providers=["CPUExecutionProvider"])
    return tuple(map(torch.from_numpy, session.run(None, {"images": other.numpy()})))
