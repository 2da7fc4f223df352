"""The place that is found: its layer, its layout, and what is never taken for a place."""

from itertools import product

import pytest
import torch
import torchvision
from torch import Tensor, nn

import captum_cams as cc
from captum_cams.engine.call import Call
from captum_cams.engine.graph import passages
from captum_cams.engine.positions import proven
from captum_cams.engine.response import corners
from captum_cams.engine.search import find_layer
from captum_cams.engine.untouched import untouched
from tests.support.networks import images, seeded


def small_vit(side: int = 32) -> nn.Module:
    return seeded(lambda: torchvision.models.VisionTransformer(side, 4, 3, 2, 24, 48, num_classes=5))


def found(model: nn.Module, x: Tensor) -> tuple[str, object]:
    with untouched(model):
        place = find_layer(Call.of(model, x))
    return {module: name for name, module in model.named_modules()}[place.layer], place.layout


def test_before_the_last_attention_of_a_transformer_with_a_class_token():
    model, x = small_vit(), nn.functional.interpolate(images(2), (32, 32))
    cam = cc.GradCAM(model)
    maps = cam.attribute(x, [1, 3], relu_attributions=False)
    norm = model.encoder.layers.encoder_layer_2.ln_1
    assert cam.layer is norm
    expected = cc.GradCAM(model, norm, reshape="tokens").attribute(x, [1, 3], relu_attributions=False)
    torch.testing.assert_close(maps, expected)
    by_name = cc.GradCAM(model, "encoder.layers.encoder_layer_2.ln_1").attribute(x, [1, 3], relu_attributions=False)
    torch.testing.assert_close(by_name, expected)


def test_a_head_of_zeros_hides_no_layer():
    model, x = small_vit(), nn.functional.interpolate(images(1), (32, 32))
    nn.init.zeros_(model.heads.head.weight)
    assert found(model, x)[0] == "encoder.layers.encoder_layer_2.ln_1"


class Mixed(nn.Module):
    """Patches in a layout of choice, two residual blocks, and a mean; a second branch goes around them on demand."""

    def __init__(self, layout: str, around: bool = False) -> None:
        super().__init__()
        self.patch, self.layout, self.around = nn.Conv2d(3, 12, 4, 4), layout, around
        self.blocks = nn.ModuleList(nn.Linear(12, 12) for _ in range(2))
        self.norm, self.head, self.side = nn.LayerNorm(12), nn.Linear(12, 5), nn.Conv2d(3, 5, 8, 8)
        self.registers = nn.Parameter(torch.randn(1, 3, 12))

    def forward(self, x: Tensor) -> Tensor:
        given, x = x, self.patch(x).movedim(1, -1)
        if self.layout != "last":
            x = x.flatten(1, 2)
        if self.layout == "registers":
            x = torch.cat((self.registers.expand(len(x), -1, -1), x), 1)
        for block in self.blocks:
            x = x + block(x).relu()
        x = self.norm(x).flatten(1, -2).mean(1)
        return self.head(x) + (self.side(given).mean((2, 3)) if self.around else 0)


@pytest.mark.parametrize("layout", ["last", "tokens", "registers"])
@pytest.mark.parametrize("size", [(40, 40), (24, 48), (48, 24)])
def test_each_layout_is_found_on_grids_of_any_proportion(layout, size):
    model, x = seeded(lambda: Mixed(layout)), nn.functional.interpolate(images(2), size)
    name, found_layout = found(model, x)
    assert name == "norm"
    h, w = size[0] // 4, size[1] // 4
    values = torch.arange(3 * layout.count("registers") + h * w)[None, :, None].expand(2, -1, 12).float()
    values = values.unflatten(1, (h, w)) if layout == "last" else values
    expected = torch.arange(h * w).view(h, w) + 3 * layout.count("registers")
    assert torch.equal(found_layout.to_map(values)[1, 5], expected.float())
    assert torch.equal(found_layout.replaced(found_layout.to_map(values)[:1], values[:1]), values[:1])


def test_scores_that_pass_around_are_an_error_that_lists_places():
    with pytest.raises(cc.CAMError, match=r"through which all scores pass, got none; .* norm \(100×12\)"):
        cc.GradCAM(seeded(lambda: Mixed("tokens", around=True))).attribute(images(1))


def test_a_scrambled_order_and_a_transposed_grid_are_no_positions():
    x = corners(images(1))
    maps = nn.functional.avg_pool2d(x, 4)
    assert proven(maps, (40, 40)).word == "N×K×h×w"
    assert proven(maps.movedim(1, -1), (40, 40)).word == "N×h×w×K"
    assert proven(maps.flatten(2).mT, (40, 40)).word == "N×(h·w)×K"
    assert proven(maps.mT, (40, 40)) is None
    order = torch.randperm(100, generator=torch.Generator().manual_seed(0))
    assert proven(maps.flatten(2).mT[:, order], (40, 40)) is None
    assert proven(maps.mean((2, 3), keepdim=True).expand_as(maps), (40, 40)) is None


@pytest.mark.parametrize("shape", [(1, 2, 21), (1, 1, 20, 30), (1, 1, 8, 10, 12)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8])
def test_corners_change_their_own_part_of_the_image_alone(shape, dtype):
    image = (255 * torch.rand(shape, generator=torch.Generator().manual_seed(0))).to(dtype)
    rows = corners(image)
    assert len(rows) == 1 + 2 ** (len(shape) - 2)
    assert torch.equal(rows[:1], image)
    changed = rows[1:] != image
    assert int(changed.sum(0).max()) == 1
    assert rows.min() >= image.min()
    assert rows.max() <= image.max()
    for i, ends in enumerate(product((False, True), repeat=len(shape) - 2)):
        where = changed[i].any(0).nonzero()
        for axis, last in enumerate(ends):
            side = shape[axis + 2]
            assert (where[:, axis] >= side / 2).all() if last else (where[:, axis] < side / 2).all()


def test_passages_are_the_nodes_on_every_path():
    x = torch.ones(2, requires_grad=True)
    first = x * 2
    left, right = first.sin(), first.cos()
    last = left + right
    node = torch.autograd.graph.get_gradient_edge(x).node
    on_the_way = passages([last.exp().grad_fn], {node})
    assert {last.grad_fn, first.grad_fn, node} <= set(on_the_way)
    assert left.grad_fn not in on_the_way
    assert passages([torch.ones(1, requires_grad=True).exp().grad_fn], {node}) == {}


def test_the_table_lists_the_layers_and_the_chosen_one():
    model, x = small_vit(), nn.functional.interpolate(images(1), (32, 32))
    table = cc.layers(model, x)
    (chosen,) = (row for row in table if row.chosen)
    assert (chosen.name, chosen.layout) == ("encoder.layers.encoder_layer_2.ln_1", "N×(1+h·w)×K")
    assert chosen.shape == (65, 24)
    assert "conv_proj" in {row.name for row in table}
    depths = [row.depth for row in table]
    assert depths == sorted(depths, reverse=True)
    assert 0 < depths[-1] < depths[0] <= 1
    lines = repr(table).splitlines()
    assert lines[0].split() == ["layer", "shape", "layout", "depth"]
    assert sum(line.endswith("chosen") for line in lines) == 1


def test_an_encoder_is_explained_behind_its_last_stage():
    class UNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.down1, self.down2 = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 12, 3, 2, 1)
            self.bottom, self.up, self.head = nn.Conv2d(12, 12, 3, 1, 1), nn.Conv2d(20, 8, 3, 1, 1), nn.Conv2d(8, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            high = self.down1(x).relu()
            low = self.bottom(self.down2(high).relu()).relu()
            return self.head(self.up(torch.cat((high, nn.functional.interpolate(low, high.shape[2:])), 1)))

    model = seeded(UNet)
    cam = cc.GradCAM(model)
    cam.attribute(images(1), lambda output: output[:, 1].mean((1, 2)))
    assert cam.layer is model.bottom


def test_scores_that_read_several_stages_are_an_error_that_lists_them():
    class Stages(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(3, 8, 4, 4), nn.Conv2d(8, 8, 2, 2)
            self.heads = nn.ModuleList(nn.Linear(8, 5) for _ in range(2))

        def forward(self, x: Tensor) -> Tensor:
            high = self.first(x).relu()
            low = self.second(high).relu()
            return self.heads[0](high.mean((2, 3))) + self.heads[1](low.mean((2, 3)))

    with pytest.raises(
        cc.CAMError, match=r"pass through first \(8×10×10\), but .* mixed behind it, in second \(8×5×5\)"
    ):
        cc.GradCAM(seeded(Stages)).attribute(images(1))


def test_weights_of_an_attention_are_no_map():
    class Attended(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patch, self.weights, self.head = nn.Conv2d(3, 8, 8, 8), nn.Softmax(-1), nn.Linear(8, 5)

        def forward(self, x: Tensor) -> Tensor:
            tokens = self.patch(x).flatten(2).mT[:, None]
            return self.head((self.weights(tokens @ tokens.mT) @ tokens).mean((1, 2)))

    x = nn.functional.interpolate(images(1), (32, 32))
    with pytest.raises(cc.CAMError, match=r"weights \(Softmax\) must hold positions .* got 1×1×16×16"):
        cc.GradCAM(seeded(Attended), "weights").attribute(x)
