"""Why FullGrad finds little in a network with a pooled head; docs/benchmark.md gives the figures."""

from pathlib import Path

import pytest
import torch

import captum_cams as cc
from captum_cams import benchmark
from captum_cams.engine.call import Call
from captum_cams.images import minmax, upsample

PAGE = Path(__file__).parents[2] / "docs" / "benchmark.md"


def placed(network, scenes):
    """The products of the image and of all biases that have positions, the last layer last."""
    found = cc.FullGrad(network, task="multilabel").products(Call.of(network, scenes.images, scenes.classes))
    return [product.abs() for product in found if product.ndim == 4]


def test_the_last_layer_before_pooling_tells_only_which_channels_are_on():
    def relative(name):
        last = placed(benchmark.load_network(name), benchmark.draw_scenes("one_object", 4))[-1]
        return (last / last.amax((2, 3), keepdim=True))[last > 0]

    assert relative("pooled_cnn").eq(1).all()
    assert relative("dense_cnn").mean() < 0.6


@pytest.mark.slow
def test_the_page_gives_what_the_last_layer_does_to_the_map():
    network, figures = benchmark.load_network("pooled_cnn"), list[torch.Tensor]()
    for factor in benchmark.FACTORS:
        scenes = benchmark.draw_scenes(factor, 80)
        scenes = scenes[benchmark.decided(network, scenes).nonzero()[:20, 0]]
        maps = [upsample(minmax(part, (1, 2, 3)).sum(1, keepdim=True), (32, 32)) for part in placed(network, scenes)]
        whole, last = torch.stack(maps).sum(0), maps[-1]
        torch.testing.assert_close(whole, cc.FullGrad(network).attribute(scenes.images, scenes.classes))
        precisions = [
            benchmark.average_precision(part, scenes.deciding)
            for part in (whole, last, whole - last, torch.ones_like(whole))
        ]
        figures.append(torch.stack([last.sum((1, 2, 3)) / whole.sum((1, 2, 3)), *precisions]).mean(1))
    share, whole, last, rest, constant = torch.stack(figures).mean(0).tolist()
    text = " ".join(PAGE.read_text().split())
    for part in (
        f"gives {share:.0%} of the map",
        f"average precision of {last:.2f} alone, as a constant map has with {constant:.2f}",
        f"with the other terms alone, it would be {rest:.2f} instead of {whole:.2f}",
    ):
        assert part in text
