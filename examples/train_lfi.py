"""Train a network with the branch of LFI-CAM beside the same network without it: does the branch help?

    python examples/train_lfi.py --out docs/lfi.md    # a few minutes on two cores

The images are those of shapes.py, and the backbone is that of train_shapes.py. Each pair of networks starts from the
same weights of the backbone and sees the same batches. The table has the accuracy of both networks, and how well their
maps of the largest shape find it (pointing game and energy) and explain the scores (insertion and deletion).
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import pytorch_lightning as pl
import torch
from compare_transformers import Largest
from shapes import CLASSES, Shapes
from torch import Tensor
from torch.utils.data import DataLoader, Subset
from torchvision.transforms import Normalize
from train_shapes import MEAN, STD, Classifier, SmallCNN

import captum_cams as cc
from captum_cams.metrics import METRICS, Protocol
from lightning_callbacks import evaluate

MEASURED = Protocol(("pointing_game", "energy", "insertion_auc", "deletion_auc"), classes="annotated", preset="quick")
QUIET = {
    "logger": False,
    "enable_checkpointing": False,
    "enable_model_summary": False,
    "enable_progress_bar": False,
    "devices": 1,
}


class BranchedCNN(Classifier):
    """The network of ``train_shapes.py`` with the branch of LFI-CAM before its head."""

    def __init__(self, classes: int, steps: int) -> None:
        plain = SmallCNN(classes, steps)
        super().__init__(classes, steps, plain.rate)
        self.network = cc.LFINetwork(plain.features, plain.classifier.in_features, classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images)


KINDS = {
    "without the branch": (SmallCNN, "features", "cam"),
    "with the branch": (BranchedCNN, "network.features", "lficam"),
}
"""The class of each kind of network, the layer that Grad-CAM explains, and the other map."""


@dataclass(frozen=True)
class Measured:
    """What the networks are worth: one row for each pair of networks, one column for each image.

    Args:
        right: whether the class is predicted, for each kind of network.
        values: for each kind of network and each of its maps, the values of each metric.
    """

    right: dict[str, Tensor]
    values: dict[tuple[str, str], dict[str, Tensor]]


def trained(build: type[Classifier], images: Shapes, epochs: int, seed: int) -> Classifier:
    """Train a network of this class; the seed decides its first weights and the order of the images."""
    pl.seed_everything(seed, verbose=False)
    order = torch.Generator().manual_seed(seed)
    loader = DataLoader(images, min(64, len(images)), shuffle=True, drop_last=True, generator=order)
    model = build(len(CLASSES), epochs * len(loader))
    pl.Trainer(max_epochs=epochs, **QUIET).fit(model, loader)
    return model.eval()


@torch.no_grad()
def predicted(model: Classifier, shapes: Shapes) -> Tensor:
    """The class that is predicted for each image."""
    return torch.cat([model(images).argmax(1) for images, _ in DataLoader(shapes, 100)])


def measured(args: argparse.Namespace) -> Measured:
    """Train all pairs of networks, and measure them on images that they have not seen."""
    normalise = Normalize(MEAN, STD)
    test = Shapes(max(args.images // 2, 1), args.size, seed=args.pairs, transform=normalise)
    explained = DataLoader(Subset(Largest(test), range(min(args.explained, len(test)))), 50)
    right: dict[str, list[Tensor]] = {kind: [] for kind in KINDS}
    values = {(kind, name): [] for kind, (_, _, own) in KINDS.items() for name in (own, "gradcam")}
    for seed in range(args.pairs):
        train = Shapes(args.images, args.size, seed=seed, transform=normalise)
        for kind, (build, layer, own) in KINDS.items():
            model = trained(build, train, args.epochs, seed)
            right[kind].append((predicted(model, test) == test.labels).double())
            methods = [cc.GradCAM(model, layer), own]
            table = evaluate(model, explained, methods, protocol=MEASURED, trainer=pl.Trainer(**QUIET))
            for name in table.methods:
                values[kind, name].append(table.rows(name))
    stacked = {
        key: {metric: torch.stack([rows[metric] for rows in found]).double() for metric in MEASURED.metrics}
        for key, found in values.items()
    }
    return Measured({kind: torch.stack(found) for kind, found in right.items()}, stacked)


def with_error(values: Tensor, form: str = ".3f") -> str:
    """The mean over pairs and images, ± its standard error over the images."""
    images = values.mean(0)
    return f"{float(images.mean()):{form}} ± {float(images.std()) / len(images) ** 0.5:.3f}"


def as_table(found: Measured) -> str:
    """The accuracy and the metrics as a table in Markdown."""
    arrows = [f"{name} {'↑' if METRICS[name].higher_is_better else '↓'}" for name in MEASURED.metrics]
    lines = [["network", "map", "accuracy ↑", *arrows], ["---"] * (3 + len(arrows))]
    for (kind, name), metrics in found.values.items():
        cells = [with_error(metrics[metric]) for metric in MEASURED.metrics]
        lines.append([kind, name, with_error(found.right[kind]), *cells])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def judged(what: str, change: Tensor, higher_is_better: bool) -> str:
    """Say whether a change counts: two standard errors over the images, and the same sign in every pair."""
    pairs, images = change.mean(1), change.mean(0)
    error = float(images.std()) / len(images) ** 0.5
    counts = abs(float(images.mean())) > 2 * error and bool((pairs > 0).all() or (pairs < 0).all())
    verdict = "no clear difference"
    if counts:
        verdict = "better" if (float(images.mean()) > 0) == higher_is_better else "worse"
    each = ", ".join(f"{float(pair):+.3f}" for pair in pairs)
    return f"- {what}: {verdict}, {with_error(change, '+.3f')} (the pairs: {each})"


def conclusion(found: Measured) -> str:
    """Compare the networks, and the map of the branch with Grad-CAM on both of them, on the same images."""
    plain, branched = KINDS
    lines = [judged("accuracy of the network", found.right[branched] - found.right[plain], True)]
    ours = found.values[branched, "lficam"]
    for kind in KINDS:
        theirs = found.values[kind, "gradcam"]
        for name in MEASURED.metrics:
            what = f"`{name}` of `lficam`, against Grad-CAM on the network {kind}"
            lines.append(judged(what, ours[name] - theirs[name], METRICS[name].higher_is_better))
    return "\n".join(lines)


def written(args: argparse.Namespace, found: Measured) -> str:
    """The whole page."""
    (_, tested), explained = found.right["with the branch"].shape, found.values["with the branch", "lficam"]["energy"]
    return f"""# Does the branch of LFI-CAM help?

Written by `python examples/train_lfi.py`. The same convolutional network is trained with and without the branch.

- pairs of networks: {args.pairs}, with other training images and other first weights for each pair
- training: {args.images} drawn images of {args.size}×{args.size} pixels, {args.epochs} × all images
- accuracy: on {tested} other images
- maps: of the largest of three shapes, on {explained.shape[1]} of these images

Each value is the mean over the pairs and the images ± its standard error over the images.

{as_table(found)}

`lficam` is the map M of the network itself, which is the same for every class.

## The branch against none

Differences on the same images; behind each, the difference in every pair. A difference is "better" or "worse" if it is
larger than two standard errors and has the same sign in every pair. Insertion and deletion also depend on how sure a
network is, so they tell maps apart only on the same network.

{conclusion(found)}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=3, help="of networks to train (default: %(default)s)")
    parser.add_argument("--images", type=int, default=1500, help="for each training; half as many test it")
    parser.add_argument("--explained", type=int, default=100, help="images whose maps are measured")
    parser.add_argument("--size", type=int, default=48, help="side of the images in pixels (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=6, help="of each training (default: %(default)s)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="Markdown file for the table")
    args = parser.parse_args()

    text = written(args, measured(args))
    print(text)
    if args.out:
        args.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
