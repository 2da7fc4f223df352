"""Measure whether changes of the intensities help AugmentedCAM.

    python -m benchmarks.intensities [--images 200] [--out benchmarks/INTENSITIES.md]

This trains the network of examples/train_shapes.py on drawn images (a minute or two on two cores), and explains the
class of the largest shape of new ones: deletion and insertion (preset "rise"), the pointing game and the energy. The
table goes to the file.
"""

import argparse
import sys
from pathlib import Path

from torch.utils.data import DataLoader
from torchvision.transforms import Normalize

import captum_cams as cc
from captum_cams.metrics import METRICS, Protocol
from captum_cams.wrappers.augmentedcam import INTENSITY, PLANE
from lightning_callbacks import evaluate

sys.path.append(str(Path(__file__).parents[1] / "examples"))
from compare_transformers import Largest
from evaluate_shapes import trained
from shapes import Shapes
from train_shapes import MEAN, STD

NONE = (cc.Transformation(),)
AVERAGED = {
    "unchanged": NONE,
    "plane": PLANE,
    "contrast": NONE + INTENSITY[:2],
    "gamma": NONE + INTENSITY[2:4],
    "equalisation": NONE + INTENSITY[4:5],
    "adaptive filter": NONE + INTENSITY[5:],
    "intensities": NONE + INTENSITY,
    "plane and intensities": PLANE + INTENSITY,
}
MEASURED = Protocol(("deletion_auc", "insertion_auc", "pointing_game", "energy"), classes="annotated")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=200, help="number of images to explain (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=6, help="of the training (default: %(default)s)")
    parser.add_argument("--bases", nargs="+", default=["gradcam"], help="methods whose maps are averaged")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/INTENSITIES.md"), metavar="FILE")
    args = parser.parse_args()

    model = trained(args.epochs, 64)
    loader = DataLoader(Largest(Shapes(args.images, 64, seed=1, transform=Normalize(MEAN, STD))), 50)
    low, high = (tuple((bound - m) / s for m, s in zip(MEAN, STD, strict=True)) for bound in (0, 1))
    lines = [
        "# Do changes of the intensities help AugmentedCAM?\n",
        f"Written by `python -m benchmarks.intensities --images {args.images} --epochs {args.epochs} --bases "
        f"{' '.join(args.bases)}`: drawn images, the class of the largest of three shapes. Mean over the images, and "
        "in brackets the difference to the map of the "
        "unchanged image with its 95 % interval, marked * where it does not include 0.",
    ]
    arrows = [f"{name} {'↑' if METRICS[name].higher_is_better else '↓'}" for name in MEASURED.metrics]
    for base in args.bases:
        methods = {
            name: cc.AugmentedCAM(model, base=base, transformations=changes, pixel_range=(low, high))
            for name, changes in AVERAGED.items()
        }
        table = evaluate(model, loader, methods, protocol=MEASURED)
        lines += [f"\n## {base}\n", f"| average over | {' | '.join(arrows)} |", "|---" * (1 + len(arrows)) + "|"]
        for name in AVERAGED:
            cells = []
            for metric in MEASURED.metrics:
                mean = f"{table[name, metric].mean:.3f}"
                change = (table.rows(name)[metric] - table.rows("unchanged")[metric]).double()
                shift, half = float(change.mean()), 1.96 * float(change.std()) / len(change) ** 0.5
                sure = "*" if abs(shift) > half else ""
                cells.append(mean if name == "unchanged" else f"{mean} ({shift:+.3f} ± {half:.3f}{sure})")
            lines.append(f"| {name} | {' | '.join(cells)} |")
    args.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(args.out.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
