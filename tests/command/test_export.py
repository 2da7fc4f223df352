"""The command that writes a network with its map."""

import pytest
import torch

import captum_cams as cc
from lightning_callbacks.command.main import main
from lightning_callbacks.command.models import load_model

MODEL = "tests.support.evaluation_run:network"


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["pt2", "onnx"])
def test_the_file_gives_the_map_of_the_method(ending, tmp_path, capsys):
    file = tmp_path / f"net.{ending}"
    assert main(["export", "--model", MODEL, "--method", "gradcam", "--out", str(file)]) == 0
    assert "largest difference to PyTorch: scores" in capsys.readouterr().out
    images = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    if ending == "pt2":
        scores, maps = torch.export.load(file).module()(images)
    else:
        import onnxruntime

        session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
        scores, maps = map(torch.from_numpy, session.run(None, {"images": images.numpy()}))
    network = load_model(MODEL).network
    torch.testing.assert_close(scores, network(images).detach(), rtol=1e-4, atol=1e-4)
    expected = cc.create("gradcam", network).attribute(images)
    assert expected.max() > 0
    torch.testing.assert_close(maps, expected, rtol=0, atol=1e-4 * float(expected.max()))


def test_another_ending_is_refused(tmp_path, capsys):
    assert main(["export", "--model", MODEL, "--out", str(tmp_path / "net.bin")]) == 2
    assert "must end with .onnx or .pt2" in capsys.readouterr().err
