"""Average drop and average increase can be gamed; deletion and insertion cannot, by the same means.

    python examples/game_average_drop.py --data DIR [--limit 100] [--figure gaming.png]

The two experiments of Hartley et al., BMVC 2021, section 4.3: a map of 0.9 everywhere, which explains nothing, and
maps that are multiplied by a factor and cut off at their maximum, which makes the high region grow. DIR as in
compare_methods.py.
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
    """The maps times the factor, at most (a little under) their own maximum, so that scaling keeps the plateau."""
    high = maps.amax((-2, -1), keepdim=True)
    return (maps * factor).minimum(high * (1 - 1e-4))


def gamed(model: nn.Module, images: Tensor, maps: Tensor, target: Tensor) -> dict[str, float]:
    """Both metrics, in percent."""
    parts = zip(images.split(16), maps.split(16), target.split(16), strict=True)
    both = [torch.stack(drop_and_increase(model, *part)) for part in parts]
    drop, rise = torch.cat(both, 1).mean(1).tolist()
    return {"drop": drop, "increase": rise}


def over_all(model: nn.Module, images: Tensor, maps: Tensor, target: Tensor) -> float:
    """Insertion minus deletion area, 28 steps."""
    curves = (curve(model, images, maps, target, preset="jittercam") for curve in (insertion_curve, deletion_curve))
    insertion, deletion = (float(curve_area(curve).mean()) for curve in curves)
    return insertion - deletion


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=100)
    parser.add_argument("--figure", type=Path, help="write the two curves to this PNG")
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
    """Figure 5 of the paper: both metrics over the factor, with Grad-CAM unchanged as a dashed line."""
    figure = Figure(figsize=(9, 3.4), dpi=100, layout="constrained")
    titles = {"drop": "average drop (%), lower is better", "increase": "average increase (%), higher is better"}
    for axes, (metric, title) in zip(figure.subplots(1, 2), titles.items(), strict=True):
        for name, of in grown.items():
            axes.plot(FACTORS, [one[metric] for one in of], marker=".", label=f"{name}, expanded")
        axes.axhline(unchanged[metric], color="tab:red", linestyle="--", label="gradcam, unchanged")
        axes.set(title=title, xlabel="factor", ylim=(0, None))
        axes.legend()
    return figure


if __name__ == "__main__":
    main()
