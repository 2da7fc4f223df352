"""The contract of LFI-CAM: its network follows the paper, trains, and its own map is what is returned."""

import pytest
import torch
import torch.nn.functional as F
from torch import multiprocessing, nn

import captum_cams as cc
from tests.support.lfi import LABELS, gradients, half_of_a_step, lfi_network
from tests.support.networks import NETWORKS, SIDE, images
from tests.support.refusals import said
from tests.support.untouched import leaks, same, state

MODES = {"grad": torch.enable_grad, "no_grad": torch.no_grad, "inference_mode": torch.inference_mode}


def looped(network: cc.LFINetwork, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores and map of one image, channel by channel, from the text of the paper."""
    (activation,) = network.features(image[None])
    grey = F.interpolate(image.mean(0)[None, None], activation.shape[1:], mode="bilinear")[0, 0]
    products = []
    for channel in activation:
        low, high = float(channel.min()), float(channel.max())
        scaled = (channel - low) / (high - low) if high > low else torch.full_like(channel, float(high != 0))
        products.append(scaled * grey)
    x = torch.stack(products)[None]
    convolutions = [m for m in network.branch.modules() if isinstance(m, nn.Conv2d)]
    norms = [m for m in network.branch.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(convolutions) == len(norms) == 4
    for convolution, norm in zip(convolutions, norms, strict=True):
        x = F.conv2d(x, convolution.weight, padding=1)
        x = F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps).relu()
    exponentials = [float(channel.mean().exp()) for channel in x[0]]
    summed = sum(e / sum(exponentials) * channel for e, channel in zip(exponentials, activation, strict=True)).relu()
    map_ = (summed - summed.min()) / (summed.max() - summed.min())
    pooled = torch.stack([(channel * (1 + map_)).mean() for channel in activation])
    return network.classifier.weight @ pooled + network.classifier.bias, map_


def test_the_forward_pass_and_the_map_are_those_of_the_paper():
    network, x = lfi_network().double(), images(3).double()
    with torch.no_grad():
        network.features[3].weight[:2] = 0  # one dead channel, and one that is constant but not zero
        network.features[3].bias[:2] = torch.tensor([0.0, 0.7])
        scores, maps = map(torch.stack, zip(*(looped(network, image) for image in x), strict=True))
        torch.testing.assert_close(network(x), scores, rtol=0, atol=1e-10)
    found = cc.LFICAM(network).attribute(x)
    torch.testing.assert_close(found, maps[:, None], rtol=0, atol=1e-10)
    assert (found.amin(), found.amax()) == (0, 1)


def test_a_constant_map_is_zero_and_keeps_the_gradients_finite():
    network, x = lfi_network(), images(2)
    with torch.no_grad():
        network.features[3].weight.zero_()
        network.features[3].bias.fill_(0.5)
    assert not cc.LFICAM(network).attribute(x).any()
    assert all(torch.isfinite(gradient).all() for gradient in gradients(network, x, LABELS[:2]).values())


def test_it_trains():
    network, x = lfi_network().train(), images(4)
    before = {name: p.clone() for name, p in network.named_parameters()}
    optimizer, losses = torch.optim.Adam(network.parameters(), 1e-2), []
    for _ in range(20):
        optimizer.zero_grad()
        loss = F.cross_entropy(network(x), LABELS)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] / 2
    assert not any(torch.equal(p, before[name]) for name, p in network.named_parameters())


@pytest.mark.slow
def test_two_processes_make_the_step_and_the_maps_of_one(tmp_path):
    other = multiprocessing.get_context("spawn").Process(target=half_of_a_step, args=(1, str(tmp_path)))
    other.start()  # this process is the first of the two: a new one takes seconds to import torch
    network, x = lfi_network().double(), images(4).double()
    expected, maps = gradients(network, x, LABELS), cc.LFICAM(network).attribute(x)
    half_of_a_step(0, str(tmp_path))
    other.join()
    assert other.exitcode == 0
    for rank in range(2):
        found = torch.load(tmp_path / f"rank{rank}.pt", weights_only=True)
        assert found["gradients"].keys() == expected.keys()
        for name, gradient in expected.items():
            torch.testing.assert_close(found["gradients"][name], gradient, rtol=0, atol=1e-12)
        torch.testing.assert_close(found["maps"], maps[rank::2], rtol=0, atol=1e-12)


def test_shape_dtype_and_batch_equal_to_singles():
    network, x = lfi_network(), images(3)
    cam = cc.create("lficam", network)
    maps = cam.attribute(x, [0, 4, 9])
    assert maps.shape == (3, 1, SIDE // 4, SIDE // 4)
    assert maps.dtype == torch.float32
    assert maps.is_contiguous()
    assert not maps.requires_grad
    assert torch.equal(cam.attribute(x), maps)  # the same for every class
    for n in range(3):
        torch.testing.assert_close(cam.attribute(x[n : n + 1], n), maps[n : n + 1], rtol=0, atol=1e-5)
    assert cam.heatmap(x).shape == (3, SIDE, SIDE)
    with torch.autocast("cpu", torch.bfloat16):
        assert float((cam.attribute(x) - maps).abs().max()) < 0.1
    half = cc.LFICAM(network.bfloat16()).attribute(x.bfloat16())
    assert half.dtype == torch.float32
    assert float((half - maps).abs().max()) < 0.1


@pytest.mark.parametrize("mode", MODES)
def test_everything_is_left_as_it_was(mode):
    network, x = lfi_network().train(), images(2)
    network.branch.eval()
    with MODES[mode]():
        before = state(network)
        maps = cc.LFICAM(network).attribute(x)
        assert same(before, state(network))
    assert torch.equal(maps, cc.LFICAM(network.eval()).attribute(x))


def test_twenty_calls_leave_nothing_behind():
    cam, x = cc.LFICAM(lfi_network()), images(1)
    assert not leaks(lambda: cam.attribute(x, 1))


class Larger(nn.Module):
    """Scales the images, and makes its scores from those of one network or of two."""

    def __init__(self, *networks: nn.Module) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"logits": sum(network(2 * x) for network in self.networks)}


def test_it_is_found_inside_a_larger_model_and_named_where_there_are_two():
    network, x = lfi_network(), images(2)
    expected = cc.LFICAM(network).attribute(2 * x)
    larger = Larger(network).eval()
    assert torch.equal(cc.LFICAM(larger).attribute(x), expected)
    two = Larger(lfi_network().requires_grad_(False), network).eval()
    assert "got 2 of them; pass one as the layer" in said(lambda: cc.LFICAM(two).attribute(x))
    assert torch.equal(cc.LFICAM(two, "networks.1").attribute(x), expected)
    assert torch.equal(cc.LFICAM(lambda images: two(images), network).attribute(x), expected)


@pytest.mark.parametrize("net", NETWORKS)
def test_a_model_without_its_network_is_refused_and_left_as_it_was(net):
    model = NETWORKS[net]().train()
    before = state(model)
    with pytest.raises(cc.CAMError, match=r"needs a model with an LFINetwork, got .* or use Grad-CAM"):
        cc.LFICAM(model).attribute(images(2))
    assert same(before, state(model))


def test_what_does_not_fit_is_named():
    network, x = lfi_network(), images(2)
    assert "whose modules are not known" in said(lambda: cc.LFICAM(lambda images: network(images)).attribute(x))
    assert "must be an LFINetwork" in said(lambda: cc.LFICAM(network, "features").attribute(x))
    assert "got the input of a layer" in said(lambda: cc.LFICAM(network).attribute(x, None, None, True))
    assert "got reshape='tokens'" in said(lambda: cc.LFICAM(network, reshape="tokens").attribute(x))
    assert "must be N×5×h×w, got 2×8×10×10" in said(lambda: cc.LFINetwork(network.features, 5, 3)(x))
    assert "needs images N×C×H×W, got 3×40×40" in said(lambda: network(x[0]))
    assert "channels must be an integer" in said(lambda: cc.LFINetwork(network.features, 0, 3))
    assert "classes must be an integer" in said(lambda: cc.LFINetwork(network.features, 8, 0))
