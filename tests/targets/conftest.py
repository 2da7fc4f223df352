"""The small networks of the examples."""

import sys
from functools import cache
from pathlib import Path

import pytest
import torch

# The libraries that build these networks, which are extras.
LIBRARIES = {
    **dict.fromkeys(("detr", "segformer", "clip", "siglip", "words"), "transformers"),
    "open_clip": "open_clip",
    "unet": "segmentation_models_pytorch",
}
EXAMPLES = str(Path(__file__).parents[2] / "examples")


@cache
def built(name):
    if name in LIBRARIES:
        pytest.importorskip(LIBRARIES[name])
    sys.path.insert(0, EXAMPLES)
    try:
        import task_models
    finally:
        sys.path.remove(EXAMPLES)
    return task_models.words() if name == "words" else task_models.seeded(getattr(task_models, name))


@pytest.fixture
def network():
    """Makes a network of ``examples/task_models.py`` by its name, each once."""
    return built


@pytest.fixture
def x():
    return torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
