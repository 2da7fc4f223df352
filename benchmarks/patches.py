"""Measure the time of Jitter-CAM: ``python -m benchmarks.patches``.

The time is divided by the number of patches times the time that a forward pass of a chunk takes for one image.
"""

import argparse
import platform
import statistics

import torch
import torchvision

import captum_cams as cc
from benchmarks.__main__ import peak_memory, processor, seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", nargs="+", default=("resnet18", "resnet50", "squeezenet1_0"))
    parser.add_argument("--chunks", nargs="+", type=int, default=(4, 8, 16))
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    print(f"{processor() or platform.machine()}; {torch.get_num_threads()} threads; median of {args.repeats}\n")
    print("| network | patches | chunk | time ÷ (patches × forward pass of an image in a chunk) | peak memory |")
    print("|---|---|---|---|---|")
    for name in args.networks:
        torch.manual_seed(0)
        model = torchvision.models.get_model(name, weights=None).eval()
        image = torch.randn(1, 3, 224, 224)
        for chunk in args.chunks:
            cam = cc.JitterCAM(model, perturbations_per_eval=chunk)
            patches = (cam.attribute(image, 1).shape[2] // 2 + 1) ** 2
            batch = image.expand(chunk, -1, -1, -1).contiguous()

            def forward(batch: torch.Tensor = batch, model: torch.nn.Module = model) -> object:
                with torch.no_grad():
                    return model(batch)

            def explain(cam: cc.JitterCAM = cam, image: torch.Tensor = image) -> object:
                return cam.attribute(image, 1)

            forward()
            plain, whole = [], []
            for _ in range(args.repeats):
                plain += [seconds(forward, "cpu") for _ in range(3)]
                whole.append(seconds(explain, "cpu"))
            ratio = statistics.median(whole) / (patches * statistics.median(plain) / chunk)
            print(f"| {name} | {patches} | {chunk} | {ratio:.2f} | {peak_memory(explain, 'cpu'):.0f} MiB |", flush=True)


if __name__ == "__main__":
    main()
