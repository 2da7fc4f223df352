"""Every golden file says whose numbers it holds, and tests/golden/README.md says the same."""

import re

import numpy as np
import pytest

from tests.support.golden import GOLDEN

FILES = sorted(file.name for file in GOLDEN.glob("*.npz"))


def origins() -> dict[str, str]:
    """File → what the table of the README says of it."""
    found = {}
    for line in (GOLDEN / "README.md").read_text().splitlines():
        if line.startswith("| `") and ".npz" in line:
            files, origin = line.strip("| ").split(" | ")
            for before, choices in re.findall(r"`(\w+?)(?:\{([\w,]+)\})?\.npz`", files):
                found |= {f"{before}{choice}.npz": origin for choice in choices.split(",")}
    return found


def test_there_are_golden_files_and_each_is_in_the_table():
    assert FILES
    assert sorted(origins()) == FILES


@pytest.mark.parametrize("file", FILES)
def test_the_table_names_the_version_that_the_file_names(file):
    source = str(np.load(GOLDEN / file)["meta/source"])
    versions = re.findall(r"\b(?:[0-9a-f]{7}|\d+\.\d+\.\d+)\b", source)
    assert versions
    assert all(version in origins()[file] for version in versions)
