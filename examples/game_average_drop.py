"""Show that average drop and average increase can be gamed, and that deletion and insertion are not fooled.

    python examples/game_average_drop.py --data DIR [--limit 100] [--figure gaming.png]

This repeats two experiments of Hartley et al., BMVC 2021, section 4.3. The first one measures a map of 0.9 everywhere,
which explains nothing. The second one multiplies maps by a factor and cuts them off at their maximum, which makes the
bright region larger.

DIR must hold the same files as for compare_methods.py.
"""

import argparse
from pathlib import Path

import torch
from compare_methods import load
from matplotlib.figure import Figure
from torch import Tensor, nn

import captum_cams as cc
from captum_cams.metrics import curve_area, deletion_curve, drop_and_increase, insertion_curve

FACTORS = [step / 2 for step in range(21)]


def expanded(maps: Tensor, factor: float) -> Tensor:
    """Multiply maps by a factor and cut them off just below their own maximum, so that scaling keeps the flat top."""
    high = maps.amax((-2, -1), keepdim=True)
    return (maps * factor).minimum(high * (1 - 1e-4))


def gamed(model: nn.Module, images: Tensor, maps: Tensor, target: Tensor) -> dict[str, float]:
    """Measure average drop and average increase, in percent."""
    parts = zip(images.split(16), maps.split(16), target.split(16), strict=True)
    both = [torch.stack(drop_and_increase(model, *part)) for part in parts]
    drop, rise = torch.cat(both, 1).mean(1).tolist()
    return {"drop": drop, "increase": rise}


def over_all(model: nn.Module, images: Tensor, maps: Tensor, target: Tensor) -> float:
    """Measure the area of insertion minus the area of deletion, with 28 steps."""
    curves = (curve(model, images, maps, target, preset="jittercam") for curve in (insertion_curve, deletion_curve))
    insertion, deletion = (float(curve_area(curve).mean()) for curve in curves)
    return insertion - deletion


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder with weights and images")
    parser.add_argument("--limit", type=int, default=100, help="number of images (default: %(default)s)")
    parser.add_argument("--figure", type=Path, help="PNG file for the plot of the second experiment")
    args = parser.parse_args()

    model, images, _ = load(args.data, args.limit)
    with torch.no_grad():
        target = torch.cat([model(batch).argmax(1) for batch in images.split(16)])
    real = {
        name: torch.cat(
            [cc.create(name, model).attribute(x, t) for x, t in zip(images.split(16), target.split(16), strict=True)]
        )
        for name in ("gradcam", "gradcamplusplus", "constant", "random")
    }
    print(f"{len(images)} images, predicted class\n")
    print("| map | average drop ↓ | average increase ↑ | over-all ↑ |\n| --- | --- | --- | --- |")
    for name, maps in real.items():
        found = gamed(model, images, maps, target)
        whole = over_all(model, images, maps, target)
        print(f"| {name} | {found['drop']:.1f} | {found['increase']:.1f} | {whole:.3f} |")
    grown = {
        name: [gamed(model, images, expanded(real[name], factor), target) for factor in FACTORS]
        for name in ("gradcam", "random")
    }
    print("\n| factor | " + " | ".join(f"{name} drop | {name} increase" for name in grown) + " |")
    print("| --- " * (1 + 2 * len(grown)) + "|")
    for i, factor in enumerate(FACTORS):
        print(
            f"| {factor} | "
            + " | ".join(f"{of[i]['drop']:.1f} | {of[i]['increase']:.1f}" for of in grown.values())
            + " |"
        )
    if args.figure:
        plot(grown, gamed(model, images, real["gradcam"], target)).savefig(args.figure)


def plot(grown: dict[str, list[dict[str, float]]], unchanged: dict[str, float]) -> Figure:
    """Plot figure 5 of the paper: both metrics over the factor, with the unchanged Grad-CAM as a dashed line."""
    figure = Figure(figsize=(9, 3.4), dpi=100, layout="constrained")
    titles = {"drop": "average drop (%), lower is better", "increase": "average increase (%), higher is better"}
    for axes, (metric, title) in zip(figure.subplots(1, 2), titles.items(), strict=True):
        for name, points in grown.items():
            axes.plot(FACTORS, [point[metric] for point in points], marker=".", label=f"{name}, expanded")
        axes.axhline(unchanged[metric], color="tab:red", linestyle="--", label="gradcam, unchanged")
        axes.set(title=title, xlabel="factor", ylim=(0, None))
        axes.legend()
    return figure


if __name__ == "__main__":
    main()
