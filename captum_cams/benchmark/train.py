"""Train the networks of the benchmark: ``python -m captum_cams.benchmark.train``, a few minutes each on one core.

Every batch has scenes together with their counterfactuals, so that the pixels that decide are all that a network can go
by. A mark is also planted into scenes without a ring, so that it alone decides about the label "ring".
"""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from captum_cams.benchmark.networks import NETWORKS, WEIGHTS, NetworkName, build, decided
from captum_cams.benchmark.scenes import FACTORS, RING, Factor, Scenes, draw_mark, draw_scenes
from captum_cams.errors import CAMError

_ROUNDS = {"pooled_cnn": 60, "dense_cnn": 40, "vit": 55}  # fresh scenes; each is seen twice
_RATES = {"pooled_cnn": 5e-3, "dense_cnn": 5e-3, "vit": 2e-3}
_EACH, _BATCH = 64, 64  # scenes of each factor in a round, images in a batch
_MEASURED = 500  # scenes of each factor that measure a trained network
_FIRST_SEED = 1_000_000  # of the scenes that train, far from the seeds with which people grade


def train(name: NetworkName, folder: Path = WEIGHTS, rounds: int | None = None) -> dict[str, float]:
    """Train a network, write its weights in half precision, and measure what was written.

    It is printed where the accuracy of the network in float32 is another than that of the written float16.

    Args:
        name: one of ``NETWORKS``.
        folder: where ``NAME.pt`` is written.
        rounds: how often fresh scenes are drawn; None takes what the shipped weights had.

    Returns:
        Factor → the share of scenes that the network decides rightly, with and without the deciding pixels.

    Raises:
        CAMError: there is no such network.
    """
    rounds = rounds or _ROUNDS[name]
    with torch.random.fork_rng(devices=[]):  # the weights at the start and dropout draw from the global generator
        torch.manual_seed(0)
        network = build(name).to(memory_format=torch.channels_last)  # faster on a processor
        _fit(network, name, rounds)
    scenes = {factor: draw_scenes(factor, _MEASURED) for factor in FACTORS}
    before = accuracy(network.eval(), scenes)
    half = {key: value.half() if value.is_floating_point() else value for key, value in network.state_dict().items()}
    network.load_state_dict(half)
    found = accuracy(network, scenes)
    others = {factor: value for factor, value in before.items() if value != found[factor]}
    _say(f"{name}: accuracies that are others in float32: {others or 'none'}")
    folder.mkdir(parents=True, exist_ok=True)
    torch.save({"state": half, "accuracy": found}, folder / f"{name}.pt")
    return found


def _fit(network: nn.Module, name: NetworkName, rounds: int) -> None:
    """Train a network on scenes that are drawn anew for each round."""
    steps = rounds * 2 * (2 * _EACH * len(FACTORS) // _BATCH)
    optimiser = torch.optim.AdamW(network.parameters(), _RATES[name], weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, _RATES[name], steps, pct_start=0.2)
    network.train()
    for step, (images, labels) in enumerate(_batches(rounds), 1):
        scores = network(images.contiguous(memory_format=torch.channels_last))
        loss = F.binary_cross_entropy_with_logits(scores, labels)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if step % 40 == 0:
            _say(f"{name}: step {step} of {steps}, loss {loss.item():.3f}")


def accuracy(network: nn.Module, scenes: Mapping[Factor, Scenes]) -> dict[str, float]:
    """Measure the share of scenes that a network decides rightly, with and without the deciding pixels.

    Args:
        network: in eval mode.
        scenes: factor → scenes of this kind.

    Returns:
        Factor → accuracy, 0 to 1.
    """
    return {factor: int(decided(network, drawn).sum()) / len(drawn) for factor, drawn in scenes.items()}


def _batches(rounds: int) -> Iterator[tuple[Tensor, Tensor]]:
    generator = Generator().manual_seed(0)
    for seed in range(_FIRST_SEED, _FIRST_SEED + rounds):
        drawn = [_marked(draw_scenes(factor, _EACH, seed), factor == "shortcut", generator) for factor in FACTORS]
        images, labels = (torch.cat(part) for part in zip(*drawn, strict=True))
        for _ in range(2):
            for rows in torch.randperm(len(images), generator=generator).split(_BATCH):
                yield images[rows], labels[rows]


def _marked(scenes: Scenes, shortcut: bool, generator: Generator) -> tuple[Tensor, Tensor]:
    """Scenes and counterfactuals as images and labels, a fifth of them with the mark that decides about "ring"."""
    images = torch.cat((scenes.images, scenes.counterfactuals))
    labels = torch.cat((scenes.labels, scenes.counterfactual_labels)).float()
    if not shortcut:
        planted = torch.rand(len(images), generator=generator) < 0.2
        mark = draw_mark(len(images), generator) * planted[:, None, None]
        images = images.where(mark[:, None] == 0, (mark[:, None] - 1).float())
        labels[:, RING] = planted.float()
    return images, labels


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    """Train the networks that are named on the command line, or all, and print their accuracies."""
    unknown = [name for name in sys.argv[1:] if name not in NETWORKS]
    if unknown:
        raise CAMError(f"there must be networks {', '.join(NETWORKS)}, got {', '.join(unknown)}")
    for name in NETWORKS:
        if name in (sys.argv[1:] or NETWORKS):
            print(name, *(f"{factor} {value:.3f}" for factor, value in train(name).items()), sep="\n  ")


if __name__ == "__main__":
    main()
