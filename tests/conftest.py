"""Fixtures shared by all tests."""

import os
from pathlib import Path

import pytest
import torch
import torchvision

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"  # for processes that tests start: each worker has one processor


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    # Each of the two workers begins with half of the list. The long tests stand first in both halves, since otherwise
    # one worker is left with them when the other has nothing more to take.
    long = [item for item in items if item.get_closest_marker("slow")]
    short = [item for item in items if not item.get_closest_marker("slow")]
    first = len(items) // 2 - len(long[::2])
    items[:] = [*long[::2], *short[: max(first, 0)], *long[1::2], *short[max(first, 0) :]]


@pytest.fixture(autouse=True)
def _threads():
    # Two processors: one for each worker of pytest-xdist, or both for a run without workers.
    torch.set_num_threads(1 if "PYTEST_XDIST_WORKER" in os.environ else 2)


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder with real weights and images, named by CAPTUM_CAMS_DATA."""
    folder = os.environ.get("CAPTUM_CAMS_DATA")
    if not folder:
        pytest.skip("CAPTUM_CAMS_DATA names no folder with real weights and images")
    return Path(folder)


@pytest.fixture(scope="session")
def squeezenet(data):
    model = torchvision.models.squeezenet1_0(weights=None)
    state = torch.load(data / "squeezenet1_0_imagenet.pt", map_location="cpu", weights_only=True)
    model.load_state_dict(state)
    return model.eval()
