"""Measure the time of the deletion and insertion curves of one image: ``python -m benchmarks.curves``.

The time is divided by the time of as many plain forward passes of this image.
"""

import argparse
import statistics
import time

import torch
import torchvision

from captum_cams.metrics import PRESETS, deletion_curve, insertion_curve


def seconds(action) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", nargs="+", default=["resnet18", "resnet50", "squeezenet1_0"])
    parser.add_argument("--chunks", type=int, nargs="+", default=[8, 16])
    parser.add_argument("--preset", default="jittercam")
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    runs = PRESETS[args.preset].steps + 1
    print(f"| network | perturbations_per_eval | {args.preset} deletion | insertion |\n| --- | --- | --- | --- |")
    for name in args.networks:
        torch.manual_seed(0)
        model = torchvision.models.get_model(name, weights=None).eval()
        image, maps = torch.randn(1, 3, 224, 224), torch.rand(1, 1, 7, 7)
        with torch.no_grad():
            model(image)
            for chunk in args.chunks:
                options = {"preset": args.preset, "perturbations_per_eval": chunk}
                taken = [
                    (
                        seconds(lambda: [model(image) for _ in range(runs)]),  # noqa: B023
                        seconds(lambda: deletion_curve(model, image, maps, 0, **options)),  # noqa: B023
                        seconds(lambda: insertion_curve(model, image, maps, 0, **options)),  # noqa: B023
                    )
                    for _ in range(args.repeats)
                ]
                plain, deletion, insertion = (statistics.median(column) for column in zip(*taken, strict=True))
                print(f"| {name} | {chunk} | {deletion / plain:.2f} | {insertion / plain:.2f} |", flush=True)


if __name__ == "__main__":
    main()
