"""What holds for every method on every kind of network; a new method is tested without an edit here."""

import gc
import tracemalloc

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import captum_cams as cc
from tests.support.explainers import ANYWHERE, EVERY, explainer
from tests.support.networks import NETWORKS, SIDE, images, seeded
from tests.support.refusals import REFUSED, SUITED
from tests.support.untouched import leaks, same, state

MODES = {"grad": torch.enable_grad, "no_grad": torch.no_grad, "inference_mode": torch.inference_mode}
# The mode is a matter of the guard around every method: one mode for each pair, in turn, so that every method and every
# network meets all of them; and all of them for three methods: one gradient, runs of the tail, relevance.
TURNS = [(list(NETWORKS).index(net) + EVERY.index(name)) % len(MODES) for name, net in SUITED]
IN_TURN = {(*pair, list(MODES)[turn]) for pair, turn in zip(SUITED, TURNS, strict=True)}
IN_ALL = {(name, net, mode) for name in ("gradcam", "fdcam", "fgcam") for net in NETWORKS for mode in MODES}


def rounding(cam: cc.CAMAttribution, x: torch.Tensor, target: int) -> float:
    """1e-5 of the sizes that are added up: channels may cancel each other nearly."""
    if isinstance(cam, cc.ReciproCAM):
        return 1e-4  # scaled to the spread of scores that differ little
    if isinstance(cam, cc.OutputRelevance | cc.FGCAM):
        # Ratios with small denominators, layer after layer; in float64 it is 1e-12.
        return 5e-5 * float(cam.contributions(x, target).abs().sum(1).max()) + 1e-12
    if isinstance(cam, cc.WrappedCAM) and not isinstance(cam, cc.GuidedCAM):
        scaled = 1e-5 if isinstance(cam, cc.MultiLayerCAM | cc.SESS) else 0  # to [0, 1], whatever the base's size
        return scaled + 2 * rounding(cam.base, x, target)
    # Differences of scores over a small score lose digits that no other method loses, as does a denominator near 0.
    relative = 5e-5 if isinstance(cam, cc.AblationCAM | cc.GroupCAM) else 1e-5
    relative = 1e-4 if isinstance(cam, cc.SmoothGradCAMPlusPlus) else relative
    return relative * float(cam.contributions(x, target).abs().sum(1).max()) + 1e-12


@pytest.mark.parametrize(("name", "net"), REFUSED)
def test_what_does_not_suit_is_refused_and_left_as_it_was(name, net):
    model = NETWORKS[net]().train()
    before = state(model)
    with pytest.raises(cc.CAMError, match=REFUSED[name, net]):
        explainer(name, model).attribute(images(2))
    assert same(before, state(model))


@pytest.mark.parametrize(("name", "net"), SUITED)
def test_shape_dtype_and_batch_equal_to_singles(name, net):
    model, x = NETWORKS[net](), images(3)
    target = [0, 4, 9]
    cam = explainer(name, model)
    maps = cam.attribute(x, target)
    assert maps.ndim == 4
    assert maps.shape[:2] == (3, 1)
    assert maps.dtype == torch.float32
    assert maps.is_contiguous()
    assert not maps.requires_grad
    for n in range(3):
        single = cam.attribute(x[n : n + 1], target[n])
        torch.testing.assert_close(maps[n : n + 1], single, rtol=0, atol=rounding(cam, x[n : n + 1], target[n]))
    heat = cam.heatmap(x, target)
    assert heat.shape == (3, SIDE, SIDE)
    assert heat.min() >= 0
    assert heat.max() <= 1
    double = explainer(name, model.double()).attribute(x.double(), target)
    assert double.dtype == torch.float64


@pytest.mark.parametrize(("name", "net", "mode"), sorted(IN_TURN | IN_ALL))
def test_everything_is_left_as_it_was(name, net, mode):
    model, x = NETWORKS[net](), images(2)
    model.train()
    next(iter(model.children())).eval()
    for p in model.parameters():
        p.grad = torch.randn_like(p)
    next(model.parameters()).requires_grad_(False)
    with MODES[mode]():
        given_x = x.clone()
        before = state(model)
        maps = explainer(name, model).attribute(given_x)
        assert same(before, state(model))
        assert torch.equal(given_x, x)
    assert torch.equal(maps, explainer(name, model.eval()).attribute(x))


@pytest.mark.parametrize(("name", "net"), SUITED)
def test_an_exception_leaves_everything_as_it_was(name, net):
    model, x = NETWORKS[net](), images(2)
    model.train()
    last = [m for m in model.modules() if isinstance(m, nn.Linear)][-1]
    cam = explainer(name, model)
    cam.attribute(x)

    def fail(module, args):
        raise RuntimeError("from inside the model")

    handle = last.register_forward_pre_hook(fail)
    before = state(model)
    with pytest.raises(RuntimeError, match="from inside the model"):
        cam.attribute(x)
    assert same(before, state(model))
    handle.remove()


class Careful(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 6, 3), nn.Linear(6, 4)

    def forward(self, x):
        return self.fc(self.conv(x * 2).relu().mean((2, 3)))


class Careless(Careful):
    """Uses random numbers and writes to a buffer and to its input, whatever the mode."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, x):
        self.calls += 1
        torch.rand(3)
        return super().forward(x.mul_(2).div_(2).mul_(2) / 2)


@pytest.mark.parametrize("name", [name for name in ANYWHERE if name != "cam"])  # they refuse the ReLU between
def test_a_careless_model_is_left_as_it_was_too(name):
    model, x = seeded(Careless), images(2)
    copy, before = x.clone(), state(model)
    maps = explainer(name, model).attribute(x)
    assert same(before, state(model))
    assert torch.equal(copy, x)
    expected = explainer(name, seeded(Careful)).attribute(2 * x / 2)
    torch.testing.assert_close(maps, expected, rtol=0, atol=1e-5 * float(expected.abs().max()) + 1e-10)


@pytest.mark.parametrize("name", ANYWHERE)
def test_a_plain_function_is_explained_in_eval_mode_too(name):
    model, x = NETWORKS["residual"](), images(2)
    expected = explainer(name, model, "layer4").attribute(x)
    model.train()
    before = state(model)
    cam = explainer(name, lambda inputs: model(inputs), model.layer4)
    assert torch.equal(cam.attribute(x), expected)
    assert same(before, state(model))


@pytest.mark.parametrize("name", ANYWHERE)
def test_an_instance_can_explain_the_input_of_a_layer(name):
    model, x = NETWORKS["residual"](), images(2)
    at_output = explainer(name, model, "layer4").attribute(x, 3)
    at_input = explainer(name, model, "avgpool").attribute(x, 3, attribute_to_layer_input=True)
    torch.testing.assert_close(at_input, at_output)


@pytest.mark.parametrize("name", [name for name in ANYWHERE if "(" not in name])
def test_twenty_calls_leave_nothing_behind(name):
    model, x = NETWORKS["residual"](), images(1)
    cam = explainer(name, model)
    assert not leaks(lambda: cam.attribute(x, 1))
    assert not any(isinstance(value, torch.Tensor) for value in vars(cam).values())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gradcam", "fdcam", "relevancecam"])
def test_memory_is_flat_in_bytes_too(name):
    """One method for each way through the engine, since no count sees a growing string."""
    model, x = NETWORKS["residual"](), images(1)
    cam = explainer(name, model)
    tracemalloc.start()
    for _ in range(100):  # until Python's own free lists have settled
        cam.attribute(x, 1)
    gc.collect()
    start = tracemalloc.get_traced_memory()[0]
    for _ in range(120):
        cam.attribute(x, 1)
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - start
    tracemalloc.stop()
    assert grown < 20_000  # 167 bytes a call


# XRAI's segments turn on the last digit: tests/methods/test_xrai.py looks at its pixels.
@pytest.mark.parametrize("name", [n for n in ANYWHERE if not n.startswith(("random", "rise", "xrai"))])
def test_half_precision_and_autocast_give_the_float_map(name):
    model, x = NETWORKS["residual"](), images(2)
    expected = explainer(name, model).attribute(x, 2)
    with torch.autocast("cpu", torch.bfloat16):
        under_autocast = explainer(name, model).attribute(x, 2)
    assert under_autocast.dtype == torch.float32
    # SGLRP's relevance adds up to zero, so what is left is nearer to the rounding of the activations; and gradients at
    # the first layers, which a fusion scales to [0, 1], have passed more of it.
    scale = float(expected.abs().max()) * (1.5 if name.startswith(("sglrp", "multilayercam", "zoomcam")) else 1)
    assert float((under_autocast - expected).abs().max()) <= 0.2 * scale
    half = explainer(name, model.bfloat16()).attribute(x.bfloat16(), 2)
    assert half.dtype == torch.float32
    assert float((half - expected).abs().max()) <= 0.2 * scale


def test_a_call_under_autocast_does_not_cost_the_training_step_its_gradients():
    model, x = NETWORKS["residual"](), images(2)
    with torch.autocast("cpu", torch.bfloat16):
        cc.FDCAM(model).attribute(x, 2)
        model(x).sum().backward()
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize("wrap", [torch.compile, nn.DataParallel])
def test_compiled_and_parallel_models_are_explained_through_the_network_inside(wrap):
    model, x = NETWORKS["residual"](), images(2)
    expected = cc.GradCAM(model).attribute(x)
    assert torch.equal(cc.GradCAM(wrap(model)).attribute(x), expected)


@pytest.mark.filterwarnings("ignore")  # the compiler's own
def test_a_compiled_part_of_a_model_runs_eagerly_while_it_is_explained():
    model, x = NETWORKS["residual"](), images(2)
    expected = cc.FDCAM(model, "layer3.0.conv2").attribute(x, 1)
    model.layer3.compile(backend="eager")
    model.layer4 = torch.compile(model.layer4, backend="eager")
    model(x)
    assert torch.equal(cc.FDCAM(model, "layer3.0.conv2").attribute(x, 1), expected)


@settings(max_examples=25, deadline=None)
@given(
    name=st.sampled_from([n for n in ANYWHERE if n != "cam"]),
    net=st.sampled_from(list(NETWORKS)),
    seed=st.integers(0, 10_000),
    batch=st.integers(1, 4),
    chunk=st.integers(1, 50),
)
def test_batches_and_chunks_never_change_a_map(name, net, seed, batch, chunk):
    # In float64: on any network some method weighs by differences that are nothing but rounding in float32.
    model, x = NETWORKS[net]().double(), images(batch, seed).double()
    cam = explainer(name, model)
    target = (torch.arange(batch) + seed) % 10
    whole = cam.attribute(x, target)
    if isinstance(cam, cc.PerturbedCAM | cc.VariantsCAM):
        cam = explainer(name, model, perturbations_per_eval=chunk)
    for n in range(batch):
        single = cam.attribute(x[n : n + 1], int(target[n]))
        torch.testing.assert_close(single, whole[n : n + 1], rtol=0, atol=rounding(cam, x[n : n + 1], int(target[n])))
