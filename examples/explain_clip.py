"""Explain clips: train a small 3D network to see in which direction a square moves, and show when it looks.

    python examples/explain_clip.py                      # draws its own clips; well under a minute on two cores

The square moves in a few frames of each clip only, so a good map is bright in these frames. This prints the metrics of
each method, and saves a panel with the frames in which the maps have the most energy.
"""

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

import captum_cams as cc
from captum_cams import metrics, visual

CLASSES = ("left", "right", "up", "down")
FRAMES, SIDE, MOVING = 12, 24, 5


def draw_clips(count: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Draw clips N×1×T×H×W with noise and a moving square, their labels N, and masks N×T×H×W of the square."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % len(CLASSES)
    masks = torch.zeros(count, FRAMES, SIDE, SIDE, dtype=torch.bool)
    for mask, label in zip(masks, labels.tolist(), strict=True):
        first, across, along = torch.randint(0, FRAMES - MOVING + 1, (3,), generator=generator).tolist()
        for step in range(MOVING):
            at = along + 2 * (step if label in (1, 3) else MOVING - 1 - step)
            top, left = (across + 4, at) if label < 2 else (at, across + 4)
            mask[first + step, top : top + 5, left : left + 5] = True
    noise = 0.3 * torch.randn(count, 1, FRAMES, SIDE, SIDE, generator=generator)
    return noise + masks[:, None], labels, masks


class SmallVideoNet(nn.Module):
    """A network of three convolutions over time and space, global average pooling and one linear layer."""

    def __init__(self) -> None:
        super().__init__()
        blocks: list[nn.Module] = []
        for inside, outside, stride in ((1, 12, (1, 2, 2)), (12, 24, (1, 2, 2)), (24, 32, 1)):
            blocks += [nn.Conv3d(inside, outside, 3, stride, 1, bias=False), nn.BatchNorm3d(outside), nn.ReLU()]
        self.features, self.classifier = nn.Sequential(*blocks), nn.Linear(32, len(CLASSES))

    def forward(self, clips: Tensor) -> Tensor:
        return self.classifier(self.features(clips).mean((2, 3, 4)))


def train(model: nn.Module, clips: Tensor, labels: Tensor, epochs: int) -> None:
    """Train the network with Adam on shuffled batches of 32."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    model.train()
    for _ in range(epochs):
        for part in torch.randperm(len(clips)).split(32):
            optimizer.zero_grad()
            F.cross_entropy(model(clips[part]), labels[part]).backward()
            optimizer.step()
    model.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=["random", "gradcam", "layercam", "fdcam"], help="their names")
    parser.add_argument("--epochs", type=int, default=8, help="of the training (default: %(default)s)")
    parser.add_argument("--panel", type=Path, default=Path("clips.png"), help="PNG file (default: %(default)s)")
    args = parser.parse_args()

    torch.manual_seed(0)
    model = SmallVideoNet()
    train(model, *draw_clips(400, seed=0)[:2], args.epochs)
    clips, labels, masks = draw_clips(40, seed=1)
    with torch.no_grad():
        predicted = model(clips).argmax(1)
    print(f"accuracy {float((predicted == labels).float().mean()):.1%} on {len(clips)} clips")

    maps = {name: cc.create(name, model).attribute(clips, predicted) for name in args.methods}
    print(f"{'':12}{'deletion':>10}{'insertion':>10}{'drop %':>10}{'increase %':>12}{'in the square':>15}")
    for name, map_ in maps.items():
        deletion = metrics.curve_area(metrics.deletion_curve(model, clips, map_, predicted, preset="quick"))
        insertion = metrics.curve_area(metrics.insertion_curve(model, clips, map_, predicted, preset="quick"))
        drop, increase = metrics.drop_and_increase(model, clips, map_, predicted)
        inside = metrics.energy_inside(map_, masks[:, None], clips.shape[2:])
        print(
            f"{name:12}{deletion.mean():10.3f}{insertion.mean():10.3f}{drop.mean():10.1f}{increase.mean():12.1f}"
            f"{inside.mean():15.3f}"
        )
    moving = masks[:4].flatten(2).any(2)
    captions = [
        f"{CLASSES[label]}, moves in frames {', '.join(map(str, when.nonzero()[:, 0].tolist()))}"
        for label, when in zip(labels[:4].tolist(), moving, strict=True)
    ]
    shown = {name: map_[:4] for name, map_ in maps.items() if name != "random"}
    Image.fromarray(visual.panel(clips[:4], shown, captions)).save(args.panel)
    print(f"panel {args.panel}")


if __name__ == "__main__":
    main()
