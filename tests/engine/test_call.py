"""The user's call: made and checked once, and handed on by wrappers without leaving the guard."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import captum_cams as cc
from captum_cams.bases import attribution
from captum_cams.engine.call import Call
from captum_cams.registry import wrappers
from tests.support.explainers import explainer
from tests.support.networks import NETWORKS, images
from tests.support.refusals import said

FUNCTIONS = [lambda output: output[:, 1] - output[:, 3], lambda output: 2 * output[:, 2]]


class Shifted(nn.Module):
    """Takes a second input, an argument for each sample, and one for all of them."""

    def __init__(self) -> None:
        super().__init__()
        self.net = NETWORKS["plain"]()

    def forward(self, x: Tensor, scale: Tensor, shift: Tensor, factor: float) -> Tensor:
        return factor * self.net(x) * scale + shift


@pytest.mark.parametrize("target", [1, [3, 1, 2], torch.tensor([3, 1, 2]), [(3,), (1,), (2,)], None])
def test_rows_ask_the_same_of_other_images(target):
    model, x = Shifted().eval(), images(3)
    scale, shift = torch.rand(3, 1), torch.rand(3, 10)
    call = Call.of(model, (x, scale), target, (shift, 2.0))
    changed, samples = images(4, seed=1), [2, 0, 0, 1]
    found = call.resolved().rows(changed, samples)
    with torch.no_grad():
        whole, expected = model(x, scale, shift, 2.0), model(changed, scale[samples], shift[samples], 2.0)
        torch.testing.assert_close(call.output(), whole)
        torch.testing.assert_close(found.output(), expected)
    each = (
        whole.argmax(1) if target is None else torch.as_tensor([1] * 3 if isinstance(target, int) else target).flatten()
    )
    torch.testing.assert_close(found.chosen(expected), expected[range(4), each[samples]])
    torch.testing.assert_close(found.probabilities(), expected.softmax(1)[range(4), each[samples]])


def test_a_call_keeps_the_users_inputs_out_of_reach_of_the_network():
    x = images(2)
    before = x.clone()
    call = Call.of(lambda image: image.mul_(0).flatten(1)[:, :3], x, 0)
    assert not call.output().any()
    assert torch.equal(call.inputs[0], before)
    assert torch.equal(x, before)


@pytest.mark.parametrize("name", ["gradcam", "lrp", "jittercam", "fgcam"])
def test_contributions_take_a_function_for_each_sample(name):
    cam, x = explainer(name, NETWORKS["plain"]()), images(2)
    singles = [cam.contributions(x[n : n + 1], FUNCTIONS[n]) for n in range(2)]
    assert torch.equal(cam.contributions(x, FUNCTIONS), torch.cat(singles))
    assert "one function per sample, expected 2, got 3" in said(cam.contributions, x, [*FUNCTIONS, FUNCTIONS[0]])


@pytest.mark.parametrize("name", [*wrappers(), "augmentedcam(multilayercam)", "jittercam(fgcam)"])
def test_a_wrapper_stays_inside_one_guard_and_makes_one_call(name, monkeypatch):
    entered, made, guard, of = [], [], attribution.untouched, Call.of
    monkeypatch.setattr(attribution, "untouched", lambda model, graph: entered.append(model) or guard(model, graph))
    monkeypatch.setattr(Call, "of", lambda *args, **options: made.append(args) or of(*args, **options))
    options = {"to": "features.7"} if "(fgcam" in name else {}
    assert explainer(name, NETWORKS["plain"](), **options).attribute(images(1), 7).isfinite().all()
    assert len(entered) == len(made) == 1


def test_jittercam_explains_no_image_to_learn_the_size_of_the_map():
    class Counting(cc.GradCAM):
        def weights(self, seen):
            explained.append(len(seen.activation))
            return super().weights(seen)

    class Growing(cc.GradCAM):
        def maps(self, seen):
            return F.pad(super().maps(seen), (1, 1, 1, 1))

    explained, model = [], NETWORKS["plain"]()
    cc.JitterCAM(model, base=Counting(model), growth=1).attribute(images(3), 1)
    assert sum(explained) == 3 * 4
    assert "expected 5×5, got 7×7" in said(cc.JitterCAM(model, base=Growing(model), growth=1).attribute, images(1))


def test_a_target_may_call_relu_where_the_model_may_not():
    model, x = NETWORKS["plain"](), images(1)
    found = cc.GuidedCAM(model).attribute(x, lambda output: F.relu(output[:, 1] + 100))
    torch.testing.assert_close(found, cc.GuidedCAM(model).attribute(x, 1))
