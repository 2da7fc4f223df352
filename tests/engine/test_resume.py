"""Runs of the part behind a layer against full runs with a replacing hook."""

import contextlib

import pytest
import torch
import torchvision
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import captum_cams as cc
from captum_cams.engine.call import Call
from captum_cams.engine.capture import Needs, capture
from captum_cams.engine.layers import Place
from captum_cams.engine.resume import Pace
from captum_cams.engine.untouched import untouched
from tests.support.full_runs import full_run, layers_of
from tests.support.networks import NETWORKS, AddInPlace, images


def seen_at(model, layer, x, chunk=64, at_input=False):
    return capture(Call.of(model, x, 0), Place(layer, at_input), Needs(resume=Pace(chunk)))


@pytest.mark.parametrize("net", NETWORKS)
@torch.no_grad()
def test_every_layer_resumes_as_the_full_run(net):
    model, x = NETWORKS[net](), images(3)
    for name in layers_of(model, x):
        layer = model.get_submodule(name)
        with untouched(model):
            seen = seen_at(model, layer, x, chunk=4)
            rows = seen.activation[1] * torch.rand(5, seen.activation.shape[1], 1, 1)
            found = seen.resume(rows, 1)
        expected = full_run(model, layer, x[1:2], rows)
        # Chunks of another size may use another kernel: equal to rounding, not to the bit.
        torch.testing.assert_close(found, expected, rtol=0, atol=2e-6 * float(expected.abs().max()) + 1e-7)


@pytest.mark.parametrize("net", NETWORKS)
@torch.no_grad()
def test_the_layers_input_resumes_too(net):
    model, x = NETWORKS[net](), images(2)
    for name in layers_of(model, x)[1:]:
        layer = model.get_submodule(name)
        if isinstance(layer, AddInPlace):
            continue  # it has two inputs
        with untouched(model):
            seen = seen_at(model, layer, x, at_input=True)
            rows = seen.activation[0] * torch.rand(5, seen.activation.shape[1], 1, 1)
            found = seen.resume(rows, 0)
        uses = []
        count = layer.register_forward_hook(lambda *_, uses=uses: uses.append(1))
        model(x)
        count.remove()
        is_last_use = iter([False] * (len(uses) - 1) + [True])
        hook = layer.register_forward_pre_hook(
            lambda m, a, rows=rows, is_last=is_last_use: rows.clone() if next(is_last) else None
        )
        expected = model(x[:1].expand(5, -1, -1, -1))
        hook.remove()
        torch.testing.assert_close(found, expected, rtol=0, atol=2e-6 * float(expected.abs().max()) + 1e-7)


class Skipping(nn.Module):
    """Adds what its first part returned to what its second part returned."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(4, 4, 1), nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU())

    def forward(self, x):
        x = self.first(x)
        return x + self.second(x)


@torch.no_grad()
def test_in_a_sequence_only_the_output_of_the_layer_is_recorded():
    """The others return their input. Elsewhere each output is recorded, because other modules may read it."""
    inner = nn.Sequential(nn.Conv2d(4, 4, 1), Skipping(), nn.ReLU())
    row = nn.Sequential(nn.Conv2d(3, 4, 3), inner, nn.Conv2d(4, 5, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    with untouched(row):
        kept = seen_at(row, row[2], images(2)).resume._tail.outputs
        beside = seen_at(row, inner[1].second[1], images(2)).resume._tail.outputs
    assert {module: [output is not None for output in outputs] for module, outputs in kept.items()} == {
        row[0]: [False],
        inner: [False],
        row[2]: [True],
    }
    assert beside[inner[1].first][0] is not None


class Hidden(nn.Module):
    """What the remembered head cannot see: a tensor kept outside modules, and an in-place function on it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.fc = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.Linear(4, 3)
        self.first.register_forward_hook(lambda m, a, out: setattr(self, "kept", out.mean((2, 3))))

    def forward(self, x):
        x = self.first(x)
        x.mul_(2.0)
        return self.fc(self.second(x).mean((2, 3)) + self.kept)


@torch.no_grad()
def test_a_head_that_cannot_be_remembered_runs_in_full(caplog):
    caplog.set_level("DEBUG", "captum_cams")
    model, x = Hidden().eval(), images(2)
    with untouched(model):
        seen = seen_at(model, model.second, x)
        rows = seen.activation[1] * torch.rand(5, 4, 1, 1)
        found = seen.resume(rows, 1)
    assert "sample 1 runs in full" in caplog.text
    torch.testing.assert_close(found, full_run(model, model.second, x[1:2], rows), rtol=1e-6, atol=1e-6)


class OfTheBatch(nn.Module):
    """Its scores depend on what else is in the batch, or it leaves out its layer for weak features."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.kind, self.stem, self.layer, self.fc = kind, nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.Linear(4, 3)
        self.norm = nn.BatchNorm2d(4, track_running_stats=False)

    def forward(self, x):
        x = self.stem(x)
        if self.kind == "a layer left out" and len(x) > 1:
            return self.fc(x.mean((2, 3)))
        x = self.layer(x)
        return self.fc((self.norm(x) if self.kind == "batch statistics" else x).relu().mean((2, 3)))


@pytest.mark.parametrize(
    ("kind", "count", "words"),
    [
        ("batch statistics", 1, "the same output in every batch"),
        ("batch statistics", 3, "the same output in every batch"),
        ("a layer left out", 1, "must call layer Conv2d"),
    ],
)
@pytest.mark.parametrize("method", [cc.AblationCAM, cc.ReciproCAM])
def test_scores_that_depend_on_the_batch_are_refused(method, kind, count, words):
    model = OfTheBatch(kind).eval()
    with pytest.raises(cc.CAMError, match=words):
        method(model, model.layer).attribute(images(count), 1)


PAIRS = [
    ("resnet50", "layer4"),
    ("resnet50", "layer3"),
    ("resnet50", "layer4.2.conv2"),
    ("resnet18", "layer4.1.bn1"),
    ("densenet121", "features.norm5"),
    ("densenet121", "features.denseblock4.denselayer8.conv2"),
    ("inception_v3", "Mixed_7c"),
    ("inception_v3", "Mixed_7b.branch3x3_2a"),
    ("googlenet", "inception5b.branch2"),
    ("vgg16", "features.30"),
    ("vgg16_bn", "features.33"),
    ("mobilenet_v2", "features.18"),
    ("efficientnet_b0", "features.7"),
    ("convnext_tiny", "features.7.2"),
    ("regnet_y_400mf", "trunk_output.block4"),
    ("shufflenet_v2_x1_0", "stage4.2.branch2"),
    ("swin_t", "permute"),
    ("squeezenet1_0", "features.12"),
]


def operations(run) -> int:
    """Floating point operations of all convolutions and products in ``run()``."""
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


class ReachedError(Exception):
    pass


def up_to(model: nn.Module, layer: nn.Module, x: torch.Tensor) -> None:
    """One run that ends with the layer."""

    def end(*_):
        raise ReachedError

    handle = layer.register_forward_hook(end)
    with contextlib.suppress(ReachedError):
        model(x)
    handle.remove()


@pytest.mark.parametrize(("net", "name"), PAIRS)
@torch.no_grad()
def test_torchvision_networks_resume_and_save_the_head(net, name, caplog):
    caplog.set_level("DEBUG", "captum_cams")
    torch.manual_seed(0)
    options = {"init_weights": False} if net in ("googlenet", "inception_v3", "vgg16", "vgg16_bn") else {}
    model = getattr(torchvision.models, net)(weights=None, **options).eval()
    layer, x = model.get_submodule(name), torch.randn(1, 3, 112, 112)
    with untouched(model):
        seen = seen_at(model, layer, x)
        rows = seen.activation[0] * (torch.rand(2, seen.activation.shape[1], 1, 1) > 0.5)
        found = []
        resumed = operations(lambda: found.append(seen.resume(rows, 0)))
    assert "in full" not in caplog.text
    expected = full_run(model, layer, x, rows)
    torch.testing.assert_close(found[0], expected, rtol=0, atol=1e-6 * float(expected.abs().max()))
    head, whole = operations(lambda: up_to(model, layer, x)), operations(lambda: model(x))
    assert 0 < head < whole
    assert resumed == (len(rows) + 1) * (whole - head)  # one more for the known answer, and none for the head
