"""Outputs that a layer or a model may have, and where the scores are in them."""

from collections import OrderedDict, namedtuple
from dataclasses import dataclass, make_dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutputWithPooling, ImageClassifierOutput
from transformers.models.clip.modeling_clip import CLIPOutput

import captum_cams as cc
from captum_cams import metrics
from captum_cams.engine.outputs import scores_in
from lightning_callbacks.network import Network, class_scores
from tests.support.explainers import ANYWHERE, explainer
from tests.support.networks import images
from tests.support.tasks import small

Features = namedtuple("Features", "map")


class Named(nn.Module):
    """Returns its map as the only field of a named tuple, or as it is."""

    def __init__(self, named: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.named = nn.Conv2d(3, 4, 3), named

    def forward(self, x: Tensor) -> Features:
        return Features(self.conv(x)) if self.named else self.conv(x)


class Net(nn.Module):
    """Sets the logit of its last class, as a model does that switches classes off."""

    def __init__(self, named: bool = False, last: float = -100.0) -> None:
        super().__init__()
        self.layer, self.fc, self.last = Named(named), nn.Linear(4, 3), last

    def forward(self, x: Tensor) -> Tensor:
        features = self.layer(x)
        features = features.map if isinstance(features, Features) else features
        logits = self.fc(features.relu().mean((2, 3)))
        return torch.where(torch.tensor([True, True, False]), logits, self.last)


def of(net: Net, name: str) -> Tensor:
    return cc.create(name, net.eval(), "layer").attribute(torch.linspace(0, 1, 384).view(2, 3, 8, 8), 1)


@pytest.mark.parametrize("name", ["gradcam", "fdcam"])
def test_a_layer_may_return_a_named_tuple_of_one_tensor(name):
    assert torch.equal(of(Net(named=True), name), of(Net(), name))


@pytest.mark.parametrize("name", ["fdcam", "ablationcam"])
def test_a_model_may_set_the_logits_of_other_classes_to_minus_infinity(name):
    expected = of(Net(), name)
    assert expected.any()
    torch.testing.assert_close(of(Net(last=-torch.inf), name), expected)


SCORES, MAPS, FEATURES = torch.rand(2, 3), torch.rand(2, 3, 4, 4), torch.rand(2, 8)
Pair = namedtuple("Pair", "features logits")
Slotted = make_dataclass("Slotted", ["aux", "logits"], slots=True)


@dataclass
class Only:
    main: Tensor
    name: str = "net"


@pytest.mark.parametrize(
    "output",
    [
        SCORES,
        ImageClassifierOutput(loss=torch.tensor(1.0), logits=SCORES, hidden_states=(MAPS,)),
        CLIPOutput(logits_per_image=SCORES, logits_per_text=SCORES.T, text_embeds=FEATURES, image_embeds=FEATURES),
        OrderedDict(out=SCORES, aux=FEATURES),
        {"aux": FEATURES, "logits": SCORES},
        {"main": SCORES, "past": (FEATURES,)},
        Pair(FEATURES, SCORES),
        Slotted(FEATURES, SCORES),
        Only(SCORES),
        SimpleNamespace(logits=SCORES, features=FEATURES),
        (SCORES, MAPS),
        (None, SCORES),
        [SCORES],
    ],
)
def test_the_scores_are_found_in_every_form(output):
    assert scores_in(output) is SCORES
    assert class_scores(output) is SCORES


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ({"a": SCORES, "b": FEATURES}, r'got dict with \["a"\] 2×3, \["b"\] 2×8; .* such as output\["b"\]'),
        ((FEATURES, SCORES), r"got tuple with \[0\] 2×8, \[1\] 2×3; .* such as output\[1\]"),
        ((MAPS, SCORES), r"such as output\[1\]"),
        (namedtuple("Two", "one other")(FEATURES, SCORES), r"got Two with \.one 2×8, \.other 2×3"),
        (
            BaseModelOutputWithPooling(last_hidden_state=torch.rand(2, 5, 8), pooler_output=FEATURES),
            r'\["last_hidden_state"\] 2×5×8, \["pooler_output"\] 2×8',
        ),
        ([{"boxes": FEATURES, "scores": SCORES}] * 2, r"got list with \[0\], \[1\]"),
        ({"logits": None}, r'got dict with \["logits"\]'),
        ("scores", "got str"),
        (None, "got NoneType"),
    ],
)
def test_scores_that_cannot_be_told_from_other_entries_are_refused(output, words):
    class Model(nn.Module):
        def forward(self, x: Tensor) -> Any:
            return output

    with pytest.raises(cc.CAMError, match=f"must return one tensor of scores, .*{words}"):
        cc.LRP(Model()).attribute(MAPS, 0)
    with pytest.raises(cc.CAMError, match=words.replace("such as output", "output_fn=lambda output: output")):
        class_scores(output)


class Rich(nn.Module):
    """Returns what a classifier of Hugging Face returns."""

    def __init__(self) -> None:
        super().__init__()
        self.network = small("multiclass")
        self.eval()

    def forward(self, x: Tensor, scale: Any = 1.0, *, shift: Any = 0.0, use_cache: bool = True) -> Any:
        scale = scale[:, None, None, None] if isinstance(scale, Tensor) else scale
        logits = self.network(x * scale) + (shift[:, None] if isinstance(shift, Tensor) else shift)
        return ImageClassifierOutput(logits=logits, hidden_states=(x,), attentions=(x, x) if use_cache else None)


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=2e-4 * float(expected.abs().max()) + 1e-7)


METHODS = [name for name in ANYWHERE if "(" not in name and name != "cam"]
LAYERLESS = ("lrp", "clrp", "sglrp", "multilayercam", "fullgrad", "xrai")


@pytest.mark.parametrize("name", METHODS)
def test_a_method_sees_the_scores_and_the_arguments_by_keyword(name):
    model, x = Rich(), images(2)
    layer = None if name in LAYERLESS else "network.last"
    expected = explainer(name, small("multiclass"), layer and "last").attribute(x, [1, 2])
    close(explainer(name, model, layer).attribute(x, [1, 2]), expected)
    if name == "random":
        return  # its numbers are those of the images
    scale, shift = torch.tensor([0.5, 2.0]), torch.tensor([3.0, -3.0])
    found = explainer(name, model, layer).attribute(x, [1, 2], {"scale": scale, "shift": shift, "use_cache": False})
    for n in range(2):  # each sample alone, with its own numbers
        alone = {"scale": float(scale[n]), "shift": float(shift[n])}
        one = explainer(name, model, layer).attribute(x[n : n + 1], n + 1, alone)
        close(found[n : n + 1], one)


def test_metrics_and_the_callback_read_the_same_scores():
    model, plain, x, maps = Rich(), small("multiclass"), images(2), torch.rand(2, 5, 5)
    assert torch.equal(
        metrics.deletion_curve(model, x, maps, 1, preset="quick"),
        metrics.deletion_curve(plain, x, maps, 1, preset="quick"),
    )
    explain, same = cc.GradCAM(model, "network.last").attribute, cc.GradCAM(plain, "last").attribute
    assert torch.equal(metrics.adcc(model, x, maps, 1, explain=explain), metrics.adcc(plain, x, maps, 1, explain=same))
    network = Network(model, None)
    assert torch.equal(network.scores(x, "multiclass"), plain(x))
    close(cc.AblationCAM(network, model.network.last).attribute(x, 1), cc.AblationCAM(plain, "last").attribute(x, 1))


def test_a_target_that_is_a_function_gets_the_output_itself():
    found = cc.GradCAM(Rich(), "network.last").attribute(images(2), lambda output: output.logits[:, 1])
    close(found, cc.GradCAM(small("multiclass"), "last").attribute(images(2), 1))
