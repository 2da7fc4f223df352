"""The stored networks and numbers of tests/golden, and how near to them a result must be (see README.md there)."""

from pathlib import Path

import numpy as np
import torch
from torch import nn

from tests.support.networks import TinyRes, TinyVGG

GOLDEN = Path(__file__).parents[1] / "golden"


def golden(file: str) -> tuple[nn.Module, np.lib.npyio.NpzFile]:
    """A golden network with its stored weights, and its arrays."""
    arrays = np.load(GOLDEN / f"{file}.npz")
    net = TinyRes() if "tinyres" in file else TinyVGG("bn" in file)
    net.load_state_dict({k[6:]: torch.from_numpy(arrays[k]) for k in arrays.files if k.startswith("param/")})
    return net.eval(), arrays


def assert_close(found, expected, tolerance: float = 1e-4) -> None:
    """Equal to ``tolerance`` of the expected array's maximum."""
    found = found.numpy() if isinstance(found, torch.Tensor) else found
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= tolerance * max(np.abs(expected).max(), 1e-12)


def cases(arrays) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.from_numpy(arrays["input/x"])[arrays["case/input"]]
    return x, torch.from_numpy(arrays["case/target"]).long()
