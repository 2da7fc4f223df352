"""Measure the time and the memory of methods, here and in other libraries.

    python -m benchmarks [--networks resnet18 ...] [--methods ...] [--batches 1 8] [--device cuda --dtype bfloat16]

This prints a Markdown table. The time is the median time of a call, divided by the median time of a plain no_grad
forward pass of the same batch; both are measured in turns. The peak memory is what a call needs in addition to what was
in use before.
"""

import argparse
import platform
import resource
import statistics
import sys
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
import torchvision
from torch import nn

import captum_cams as cc
from benchmarks import peers

NETWORKS = ("resnet18", "resnet50", "vgg16", "vgg16_bn", "densenet121", "mobilenet_v2", "vit_b_16", "swin_t")
METHODS = (
    *("cam", "gradcam", "gradcamplusplus", "xgradcam", "layercam", "hirescam", "eigencam"),
    *("fdcam", "ablationcam", "liftcam", "lrpcam", "reciprocam"),
    *("relevancecam", "fgcam(gradcam)", "lrp"),
    *("gradcamelementwise", "eigengradcam", "segeigencam", "kpcacam", "fem", "shapleycam", "finercam(gradcam)"),
    *("fullgrad", "zoomcam", "polycam", "opticam", "xrai"),
    *("attentionrollout", "chefer", "legrad", "vitreciprocam"),
)
OTHERS = {"grad-cam": peers.grad_cam, "torchcam": peers.torchcam, "captum": peers.captum, "loop": peers.loop}


def seconds(call: Callable[[], object], device: str) -> float:
    """Measure the wall-clock time of one call, including the work of the device."""
    if device == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    call()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def ratio(call: Callable[[], object], forward: Callable[[], object], device: str, repeats: int) -> float:
    """Divide the median time of a call by that of a forward pass, measured in turns; a slow call runs once."""
    forward()
    first = seconds(call, device)
    plain = [seconds(forward, device) for _ in range(3)]
    if first > 60 * plain[-1]:
        return first / statistics.median(plain)
    pairs = [(seconds(call, device), seconds(forward, device)) for _ in range(repeats)]
    calls, passes = zip(*pairs, strict=True)
    return statistics.median(calls) / statistics.median(passes)


def peak_memory(call: Callable[[], object], device: str) -> float:
    """Measure the memory that a call adds, in MiB: of the allocator on CUDA, of resident pages on a CPU."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    pages, done = [_resident()], threading.Event()

    def sample() -> None:
        while not done.wait(0.001):
            pages.append(_resident())

    thread = threading.Thread(target=sample)
    thread.start()
    call()
    done.set()
    thread.join()
    return (max(pages) - pages[0]) * resource.getpagesize() / 2**20


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1])


def processor() -> str:
    """Read the name of the processor."""
    info = Path("/proc/cpuinfo")
    names = [line.split(":")[1].strip() for line in info.read_text().splitlines() if "model name" in line]
    return names[0] if names else platform.processor()


def setting(args: argparse.Namespace) -> str:
    """Describe the machine, the versions and the options, on which the figures depend."""
    packages = []
    for name in ("torch", "torchvision", "captum", "grad-cam", "torchcam"):
        try:
            packages.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    device = torch.cuda.get_device_name() if args.device == "cuda" else processor()
    layout = ", channels_last" if args.channels_last else ""
    threads = f"{torch.get_num_threads()} threads, {args.dtype}{layout}, 224², seeded weights"
    return f"{device}; {threads}; {', '.join(packages)}; median of {args.repeats}"


def measure(name: str, batch: int, args: argparse.Namespace) -> None:
    """Measure all methods on one network with one batch size, and print the rows."""
    torch.manual_seed(0)
    model = getattr(torchvision.models, name)(weights=None).eval().to(args.device)
    for module in model.modules():  # the head of torchvision's ViT starts with zeros, so no score depends on the image
        if isinstance(module, nn.Linear) and not module.weight.any():
            nn.init.normal_(module.weight, std=0.02)
    images = torch.randn(batch, 3, 224, 224, device=args.device)
    if args.channels_last:
        model, images = model.to(memory_format=torch.channels_last), images.to(memory_format=torch.channels_last)
    layer = cc.GradCAM(model)
    layer.attribute(images[:1])
    dtype = getattr(torch, args.dtype)
    with nullcontext() if dtype is torch.float32 else torch.autocast(args.device, dtype):

        def forward() -> object:
            with torch.no_grad():
                return model(images)

        for method in args.methods:
            try:
                cam = cc.create(method, model)
                cam.attribute(images, 3)  # finds the layer
            except cc.CAMError as error:  # such as CAM on another head than pooling and one Linear
                print(f"{method} on {name}: {error}", file=sys.stderr)
                continue
            cells = [f"{ratio(lambda c=cam: c.attribute(images, 3), forward, args.device, args.repeats):.2f}"]
            for make in OTHERS.values() if args.peers else ():
                call = make(method, model, layer.layer, images, 3)
                cells.append("" if call is None else f"{ratio(call, forward, args.device, args.repeats):.2f}")
            cells.append(f"{peak_memory(lambda c=cam: c.attribute(images, 3), args.device):.0f} MiB")
            print(f"| {name} | {batch} | {method} | " + " | ".join(cells) + " |", flush=True)
        print(f"| {name} | {batch} | *forward pass, ms* | {1e3 * seconds(forward, args.device):.1f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=NETWORKS)
    parser.add_argument("--methods", nargs="+", default=METHODS)
    parser.add_argument("--batches", nargs="+", type=int, default=(1, 8))
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--no-peers", dest="peers", action="store_false", help="do not measure the other libraries")
    args = parser.parse_args()
    columns = ["network", "batch", "method", "captum-cams", *(OTHERS if args.peers else ())]
    columns.append("peak memory")
    print(f"{setting(args)}\n\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for name in args.networks:
        for batch in args.batches:
            measure(name, batch, args)


if __name__ == "__main__":
    main()
