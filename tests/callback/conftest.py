"""What Lightning warns of in short runs on small data sets is no fault here."""

from pathlib import Path

import pytest

EXPECTED = (
    "ignore:The .*dataloader.* does not have many workers",
    "ignore:The number of training batches",
    "ignore:Your `val_dataloader`'s sampler has shuffling enabled",
    "ignore:Checkpoint directory .* exists and is not empty",
)


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents:
            for expected in EXPECTED:
                item.add_marker(pytest.mark.filterwarnings(expected))
