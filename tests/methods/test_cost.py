"""The cost that every method declares, against the runs of the network that are counted."""

import pytest
import torch
from torch import nn

import captum_cams as cc
from captum_cams.cost import Count, K, P, named
from captum_cams.registry import lookup, wrappers
from tests.support.explainers import ANY_LAYER, QUICK

CHANNELS, SIDE = 7, 20
POSITIONS = (SIDE // 4) ** 2
OPTIONS = QUICK | {
    "cameras": {"resolutions": 3, "step": 8},
    "groupcam": {"groups": CHANNELS},
    "iscam": {"steps": 4},
    "jittercam": {"growth": 1},
    "multilayercam": {"layers": ["features.0", "features"]},
    "polycam": {"layers": ["features"], "form": "plus_minus"},
}
# Numbers that are no hyperparameters: (growth + 1)² patches; one window, and two a side of the image of twice its size.
NUMBERS = {"jittercam": {"patches": 4}, "sess": {"windows": 1 + 4, "kept": 2}}


class Curved(nn.Module):
    """All channels live, and no part that could be left out: a hook and a sigmoid before the classifier.

    The ReLU, which changes nothing behind a sigmoid, is there for guided backpropagation.
    """

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.Sequential(
            nn.Conv2d(3, 6, 3, 2, 1), nn.Sigmoid(), nn.ReLU(), nn.Conv2d(6, CHANNELS, 3, 2, 1), nn.Sigmoid()
        )
        self.head = nn.Sequential(nn.Conv2d(CHANNELS, 5, 3, padding=1), nn.Sigmoid(), nn.AdaptiveAvgPool2d(1))
        self.fc = nn.Linear(5, 4)

    def forward(self, x):
        return self.fc(self.head(self.features(x)).flatten(1))


class Averaged(Curved):
    """The head that CAM needs."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(CHANNELS, 4)


class Runs:
    """Rows that enter the network, that leave it, and whose gradients come back to either end."""

    def __init__(self, model: nn.Module) -> None:
        self.entered = self.left = self.gradients_at_the_output = self.gradients_at_the_input = 0
        model.features[0].register_forward_hook(self.enter)
        model.fc.register_forward_hook(self.leave)

    def enter(self, module, inputs, output):
        self.entered += len(output)
        self.watch(output, "gradients_at_the_input")

    def leave(self, module, inputs, output):
        self.left += len(output)
        self.watch(output, "gradients_at_the_output")

    def watch(self, output, name):
        def count(inputs, outputs):
            setattr(self, name, getattr(self, name) + len(outputs[0]))

        with torch._C.DisableTorchFunction():  # the methods that follow every call must not see this one
            if output.grad_fn is not None:
                output.grad_fn.register_hook(count)


@pytest.mark.parametrize("name", ANY_LAYER)
def test_an_image_takes_as_many_runs_as_declared(name):
    model = (Averaged() if name == "cam" else Curved()).eval()
    layer = None if name in ("lrp", "clrp", "sglrp", "multilayercam", "fullgrad", "xrai") else "features"
    cam = cc.create(name, model, layer, **OPTIONS.get(name, {}))
    cc.GradCAM(model, "features").attribute(torch.rand(1, 3, SIDE, SIDE), 1)  # finds the layout, once for each layer
    runs = Runs(model)
    cam.attribute(torch.rand(1, 3, SIDE, SIDE), 1)
    values = {"K": CHANNELS, "P": POSITIONS} | cam.hyperparameters | NUMBERS.get(name, {})
    declared = cam.total_cost.at(values)
    # FG-CAM's own gradient ends at the input and begins at the layer, that of its base the other way round.
    before_the_layer = runs.gradients_at_the_input if name == "fgcam" else 0
    assert declared.whole == runs.entered
    assert declared.behind == runs.left - runs.entered
    second = getattr(lookup(name), "needs_curvature", False)  # the gradient of a gradient does not reach the output
    assert declared.gradients == runs.gradients_at_the_output + before_the_layer + second


@pytest.mark.parametrize("name", cc.names())
def test_every_class_declares_a_cost_and_a_paper_of_its_own(name):
    cls = lookup(name)
    assert isinstance(vars(cls)["cost"], cc.Cost)
    assert isinstance(vars(cls)["paper"], cc.Paper)
    assert cls.paper.url.startswith("https://")
    assert f"{cls.paper.authors} {cls.paper.year}" in " ".join(cls.__doc__.split())
    assert (cls.cost.bases != 0) == (name in wrappers())


def test_counts_add_and_multiply_as_numbers_do():
    count = 1 + 2 * K * (named("samples") + P) + K
    assert count.at({"K": 3, "P": 5, "samples": [1, 1]}) == 1 + 2 * 3 * (2 + 5) + 3
    assert str(1 + 2 * K) == "1 + 2K"
    assert str(K * named("samples") + 2 * named("masks")) == "K·samples + 2·masks"
    with pytest.raises(KeyError, match="samples"):
        count.at({"K": 3, "P": 5})


def test_costs_read_as_sums():
    assert str(cc.Cost()) == "1"
    assert str(cc.Cost(behind=1 + 2 * K, gradients=1)) == "1 + (1 + 2K) after the layer + gradient"
    assert str(cc.Cost(2, behind=1, gradients=named("steps"))) == "2 + 1 after the layer + steps × gradient"
    wrapper = cc.Cost(0, bases=named("layers"))
    assert str(wrapper) == "layers × base"
    assert str(wrapper.over(cc.Cost(gradients=1))) == "layers × (1 + gradient)"


def test_the_cost_of_a_wrapper_counts_what_its_base_takes_with_its_own_options():
    cam = cc.create(
        "augmentedcam(sscam)", Curved().eval(), "features", samples=3, transformations=[cc.Transformation()]
    )
    nested = cc.AugmentedCAM(cam.forward_func, base=cam)
    assert nested.total_cost.at({"K": 7, **nested.hyperparameters}).whole == 1 + 10 * (1 + 1 * (1 + 7 * 3))
    assert isinstance(cc.SSCAM.cost.whole, Count)
