"""Fixtures shared by all tests."""

import os
from pathlib import Path

import pytest
import torch


@pytest.fixture(autouse=True)
def _two_threads():
    torch.set_num_threads(2)


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder with real weights and images, named by CAPTUM_CAMS_DATA."""
    folder = os.environ.get("CAPTUM_CAMS_DATA")
    if not folder:
        pytest.skip("CAPTUM_CAMS_DATA names no folder with real weights and images")
    return Path(folder)
