"""Every method on transformers: against loops of its paper, and against the same network with a map N×K×h×w."""

import pytest
import torch

import captum_cams as cc
from captum_cams.registry import lookup
from tests.support.explainers import EVERY, WITHOUT_LAYER, explainer
from tests.support.formulas import FORMULAS, gradient, run
from tests.support.networks import images
from tests.support.token_networks import TRANSFORMERS, ClassToken, Explained, Fused, written_out

# How relevance passes attention has tests of its own, in tests/relevance.
RELEVANCE = (cc.OutputRelevance, cc.LRPCAM, cc.FGCAM)
NAMES = [name for name in EVERY if name not in WITHOUT_LAYER and not issubclass(lookup(name.split("(")[0]), RELEVANCE)]
GUIDED = [name for name in NAMES if name.startswith("guidedcam")]
REFUSED = {(name, net): "needs a network with ReLUs" for name in GUIDED for net in TRANSFORMERS}
REFUSED |= {("cam", net): "use Grad-CAM" for net in TRANSFORMERS if net == "class token" or "before" in net}
REFUSED["cameras", "class token"] = "CAMERAS needs a model that takes images of any size"
REFUSED |= {("cameras", net): r"tokens must be N×\(prefix" for net in TRANSFORMERS if net.startswith("registers")}


def of(explained: Explained, name: str, dtype: torch.dtype = torch.float64) -> cc.CAMAttribution:
    return explainer(name, explained.model().to(dtype), explained.layer, reshape=explained.reshape)


@pytest.mark.parametrize("net", TRANSFORMERS)
@pytest.mark.parametrize("name", FORMULAS)
def test_method_is_its_formula_on_tokens(name, net):
    # In float64, because Group-CAM takes differences of nearly equal probabilities.
    x, target = images(2).double() if name == "groupcam" else images(2), [3, 7]
    found = of(TRANSFORMERS[net], name, x.dtype).attribute(x, target, relu_attributions=False)[:, 0]
    model, layer = TRANSFORMERS[net].with_map()
    for n, c in enumerate(target):
        a, g = gradient(model.to(x.dtype), layer, x[n], c)
        expected = FORMULAS[name](a, g, model=model, layer=layer, x=x[n], c=c).to(x.dtype)
        torch.testing.assert_close(found[n], expected, rtol=0, atol=2e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("net", TRANSFORMERS)
@pytest.mark.parametrize("name", NAMES)
def test_tokens_have_the_map_of_a_map(name, net):
    x, target = images(2).double(), [3, 7]
    cam = of(TRANSFORMERS[net], name)
    if (name, net) in REFUSED:
        with pytest.raises(cc.CAMError, match=REFUSED[name, net]):
            cam.attribute(x, target)
        return
    maps = cam.attribute(x, target)
    model, layer = TRANSFORMERS[net].with_map()
    expected = explainer(name, model.double(), layer).attribute(x, target)
    bound = 1e-9 * float(expected.abs().max())
    torch.testing.assert_close(maps, expected, rtol=1e-6, atol=bound)
    torch.testing.assert_close(cam.attribute(x[1:], target[1]), maps[1:], rtol=1e-6, atol=bound)


@pytest.mark.parametrize("net", TRANSFORMERS)
def test_contributions_of_liftcam_add_up_on_tokens(net):
    x, target = images(2).double(), [3, 7]
    cam, kept = of(TRANSFORMERS[net], "liftcam"), []
    inner = cam.weights
    cam.weights = lambda seen: kept.append(inner(seen)) or kept[0]
    cam.attribute(x, target)
    model, layer = TRANSFORMERS[net].with_map()
    for n, c in enumerate(target):
        with torch.no_grad():
            y, activation = run(model.double(), layer, x[n])
            without, _ = run(model, layer, x[n], torch.zeros_like(activation))
        torch.testing.assert_close(kept[0][n].sum(), y[c] - without[c], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["gradcam", "fdcam", "liftcam"])
@pytest.mark.parametrize("attention", [ClassToken, lambda: ClassToken(Fused)])
def test_the_kernel_of_the_attention_does_not_matter(name, attention):
    explained = TRANSFORMERS["class token"]
    cam = of(Explained(attention, explained.layer, explained.reshape), name)
    maps = cam.attribute(images(2).double(), [3, 7])
    written = explainer(name, written_out(cam.forward_func), explained.layer, reshape=explained.reshape)
    torch.testing.assert_close(written.attribute(images(2).double(), [3, 7]), maps, rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("net", TRANSFORMERS)
@pytest.mark.parametrize("name", ["ablationcam", "fdcam", "reciprocam", "liftcam"])
def test_nothing_before_the_layer_runs_again(name, net):
    """The residual stream around the layer keeps the recorded tokens, and the recorded runs prove right."""
    cam, calls = of(TRANSFORMERS[net], name), []
    cam.forward_func.blocks[0].mlp[0].register_forward_hook(lambda *_: calls.append(1))
    maps = cam.attribute(images(2).double(), [3, 7])
    assert calls == [1]
    assert maps.any()
