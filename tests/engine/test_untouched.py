"""What a forward writes to its own modules is put back."""

import copy
from contextlib import nullcontext

import pytest
import torch
from torch import nn

import captum_cams as cc
from captum_cams.engine.untouched import untouched
from tests.support.networks import images, seeded

quantization = torch.ao.quantization


class Net(nn.Sequential):
    def __init__(self):
        super().__init__(
            nn.Conv2d(3, 6, 3, 2), nn.ReLU(), nn.Conv2d(6, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        )
        self.append(nn.Linear(8, 5))


def observed(preparing, qconfig):
    model = seeded(Net)
    model.train(preparing is quantization.prepare_qat)
    model.qconfig = qconfig
    prepared = preparing(model)
    prepared(images(2))
    return prepared


OBSERVED = {
    "observers": (quantization.prepare, quantization.default_qconfig),
    "histograms": (quantization.prepare, quantization.get_default_qconfig("x86")),
    "fake quantisation": (quantization.prepare_qat, quantization.get_default_qat_qconfig("x86")),
}


@pytest.mark.filterwarnings("ignore")  # torch deprecates its own tools
@pytest.mark.parametrize("name", ["gradcam", "scorecam", "relevancecam", "guidedcam(gradcam)"])
@pytest.mark.parametrize("kind", OBSERVED)
def test_observers_of_quantisation_have_not_seen_what_is_explained(kind, name):
    model = observed(*OBSERVED[kind])
    before = copy.deepcopy(model.state_dict())
    refusing = kind == "fake quantisation" and name == "relevancecam"  # which has no rule for rounding
    with pytest.raises(cc.CAMError, match="relevance cannot pass") if refusing else nullcontext():
        cc.create(name, model, "2").attribute(100 * images(1), 1)
    after = model.state_dict()
    assert before.keys() == after.keys()
    for key, value in before.items():
        assert torch.equal(value, after[key]) or (value.isnan() & after[key].isnan()).all(), key


class Diary(nn.Module):
    """Writes down whatever it does, in every way that an attribute allows."""

    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4, 3)
        self.register_buffer("mean", torch.zeros(4))
        self.register_buffer("none", None)
        self.calls, self.sizes, self.cache, self.classes = 0, [1], {"first": 1}, {1}
        self.plain = torch.ones(2)

    def forward(self, x):
        x = self.conv(x)
        self.calls += 1
        self.sizes.append(len(x))
        self.cache[self.calls] = x
        self.classes.clear()
        self.plain.mul_(2)
        self.last = x
        self.register_buffer("new", x.detach())
        self.none = x.detach()
        self.mean = self.mean + x.detach().mean((0, 2, 3))
        return self.fc(x.mean((2, 3)))


@pytest.mark.parametrize("form", ["module", "function", "method"])
@pytest.mark.parametrize("name", ["gradcam", "scorecam", "relevancecam", "lrp"])
def test_attributes_and_buffers_are_what_they_were(name, form):
    model = seeded(Diary)
    mean, plain, tags = model.mean, model.plain, {"kept": True}
    vars(mean).update(tags)
    names = sorted(vars(model))
    called = {"module": model, "function": lambda x: model(x), "method": model.forward}[form]
    cc.create(name, called, **({} if name == "lrp" else {"layer": model.conv})).attribute(images(1), 1)
    assert sorted(vars(model)) == names
    assert (model.calls, model.sizes, model.cache, model.classes) == (0, [1], {"first": 1}, {1})
    assert model.mean is mean
    assert vars(mean) == tags
    assert not mean.any()
    assert list(model._buffers) == ["mean", "none"]
    assert model.none is None
    assert model.plain is plain
    assert torch.equal(plain, torch.ones(2))


def test_a_buffer_that_was_resized_has_its_size_again():
    model = nn.Module()
    child = type("Foreign", (nn.Module,), {"__module__": "elsewhere"})()
    child.register_buffer("seen", torch.arange(3.0))
    model.child = child
    with untouched(model):
        child.seen.resize_(5).fill_(1)
    assert torch.equal(child.seen, torch.arange(3.0))


class Recording(Net):
    """Sets its hooks in its first run, as the models of Hugging Face do."""

    installed = False

    def forward(self, images):
        if not self.installed:
            self.installed, self.recorded = True, []
            self[2].register_forward_hook(
                lambda module, args, kwargs, output: self.recorded.append(1), with_kwargs=True
            )
            self[3].register_forward_pre_hook(lambda module, args: None)
        self.recorded = []
        return super().forward(images)


@pytest.mark.parametrize("as_function", [False, True])
def test_hooks_that_the_first_run_sets_are_removed(as_function):
    model = seeded(Recording)
    user = model[2].register_forward_hook(lambda module, args, output: None)
    explain = cc.GradCAM((lambda given: model(given)) if as_function else model, model[2])
    explain.attribute(images(2), 1)
    assert [*model[2]._forward_hooks] == [user.id]
    assert not model[2]._forward_hooks_with_kwargs
    assert not model[3]._forward_pre_hooks
    model(images(2))
    assert len(model.recorded) == 1
