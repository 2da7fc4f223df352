"""The tests of the zoo are collected only if a marker asks for them, since timm and transformers import slowly."""

from pathlib import Path

import pytest


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    asked = "zoo" in config.option.markexpr.replace("not zoo", "")
    return True if collection_path.name == "test_zoo.py" and not asked else None
