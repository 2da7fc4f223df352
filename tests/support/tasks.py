"""A small network for each task, and what its probabilities are, written out."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.support.networks import seeded

PROBABILITY = {  # task → scores N×C as the task reads them, as probabilities
    "multiclass": lambda out: out.exp() / out.exp().sum(1, keepdim=True),
    "multilabel": lambda out: 1 / (1 + (-out).exp()),
    "binary": lambda out: torch.cat((1 / (1 + out.exp()), 1 / (1 + (-out).exp())), 1),
    "regression": lambda out: out,
    "function": lambda out: out.abs() / 9,
}
WIDTH = {"multiclass": 4, "multilabel": 4, "binary": 1, "regression": 2, "function": 3}
ALL = list(PROBABILITY)


def task_of(name):
    return PROBABILITY["function"] if name == "function" else name


class Small(nn.Module):
    """Two convolutions and a head; ``flat`` gives N in place of N×1."""

    def __init__(self, outputs: int, flat: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 5, 4, 1)
        self.last = nn.Conv2d(6, 8, 3, 1, 1)
        self.fc = nn.Linear(8, outputs)
        self.flat = flat

    def forward(self, x: Tensor) -> Tensor:
        scores = self.fc(F.relu(self.last(F.relu(self.conv(x)))).mean((2, 3)))
        return scores[:, 0] if self.flat else scores


def small(task, flat=False):
    return seeded(lambda: Small(WIDTH[task], flat), seed=3)


def probability(task, model, x, c):
    with torch.no_grad():
        out = model(x)
    return PROBABILITY[task](out[:, None] if out.ndim == 1 else out)[:, c]
