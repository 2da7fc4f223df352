"""Finer-CAM: the map of its base for another score, which is written out here."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import captum_cams as cc
from captum_cams.registry import lookup
from tests.support.explainers import ANY_LAYER, explainer
from tests.support.networks import NETWORKS, images, seeded
from tests.support.refusals import said
from tests.support.tasks import small

COMPARE = ("cam", "clrp", "sglrp", "relevancecam")  # classes themselves
BASES = [name for name in ANY_LAYER if name not in (*COMPARE, "finercam")]
# The differences that LIFT-CAM follows depend on how a product is written.
PAIRS = [(name, "mean") for name in BASES] + [(name, "probability") for name in BASES if name != "liftcam"]


def tiny():
    """A network whose layers every base takes."""
    features = (nn.Conv2d(3, 6, 3, 2, 1), nn.ReLU(), nn.Conv2d(6, 6, 3, 2, 1), nn.ReLU())
    return seeded(lambda: nn.Sequential(*features, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 10)))


class Contrasted(nn.Module):
    """The network with the score as its only output."""

    def __init__(self, network, score):
        super().__init__()
        self.network, self.score = network, score

    def forward(self, x):
        return self.score(self.network(x))[:, None]


def closest(scores, label, count):
    """The other classes in the order of their distance, by a loop."""
    scores = scores.tolist()
    rest = [c for c in range(len(scores)) if c != label]
    return sorted(rest, key=lambda c: abs(scores[c] - scores[label]))[:count]


def written_out(label, references, weighting="mean", strength=0.6):
    def score(out):
        total, weights = 0, 0
        for d in references:
            weight = out.softmax(1)[:, d] if weighting == "probability" else 1 / len(references)
            total, weights = total + weight * (out[:, label] - strength * out[:, d]), weights + weight
        return total / weights

    return score


@pytest.mark.parametrize(("name", "weighting"), PAIRS)
def test_the_map_is_that_of_the_base_for_a_network_that_returns_the_score(name, weighting):
    """Its probability is the sigmoid, also for methods that read both."""
    model, x, target = tiny().double(), images(3)[..., :24, :24].double(), [1, 7, 1]
    layer = None if name == "lrp" else model[2]
    cam = cc.FinerCAM(model, base=explainer(name, model, layer), weighting=weighting)
    found = cam.contributions(x, target)
    for n, label in enumerate(target):
        references = closest(model(x[n : n + 1])[0], label, 3)
        score = written_out(label, references, weighting, {"mean": 0.6, "probability": 1.0}[weighting])
        expected = explainer(name, Contrasted(model, score), layer, task="multilabel").contributions(x[n : n + 1], 0)
        scale = float(expected.abs().max())
        torch.testing.assert_close(found[n : n + 1], expected, rtol=0, atol=1e-7 * scale + 1e-12)


@settings(max_examples=12, deadline=None)
@given(
    st.sampled_from(["gradcam", "layercam", "fdcam", "ablationcam", "lrp", "fgcam", "jittercam"]),
    st.sampled_from(["plain", "batch norm", "residual", "functional ReLU"]),
    st.integers(0, 9),
    st.lists(st.integers(0, 9), min_size=1, max_size=4, unique=True),
    st.sampled_from(["mean", "probability"]),
    st.floats(0, 2),
    st.integers(0, 1000),
)
def test_any_references_any_weighting_any_strength(name, net, label, references, weighting, strength, seed):
    references = [d for d in references if d != label] or [(label + 1) % 10]
    model, x = NETWORKS[net]().double(), images(1, seed).double()
    options = {"references": references, "weighting": weighting, "strength": strength}
    found = cc.FinerCAM(model, base=explainer(name, model), **options).contributions(x, label)
    expected = explainer(name, model).contributions(x, written_out(label, references, weighting, strength))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-7 * float(expected.abs().max()) + 1e-12)


@pytest.mark.parametrize("name", ["gradcam", "fdcam", "fgcam"])
def test_without_strength_it_is_the_base(name):
    model, x = NETWORKS["residual"](), images(2)
    found = cc.create(f"finercam({name})", model, strength=0).attribute(x, [3, 8])
    expected = cc.create(name, model).attribute(x, [3, 8])
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6 * float(expected.abs().max()))


@pytest.mark.parametrize("score", ["fdcam", "scorecam"])
def test_a_probability_of_one_reference_is_that_of_a_softmax_over_both(score):
    model, x = tiny().double(), images(1).double()
    found = cc.FinerCAM(
        model, base=cc.create(score, model, score="probability"), references=[5], strength=1.0
    ).contributions(x, 2)
    seen = []

    def both(out):  # reads the gradient of the logarithm of the odds, and the probability
        seen.append(out)
        return out[:, [2, 5]].softmax(1)[:, 0]

    if score == "scorecam":
        expected = cc.create(score, model).contributions(x, both)
        torch.testing.assert_close(found, expected)
    else:
        plain = cc.create(score, model, score="logit").contributions(x, lambda out: out[:, 2] - out[:, 5])
        assert not torch.allclose(found, plain)


def test_sess_weighs_windows_by_the_sigmoid_of_the_score():
    model, x = tiny().double(), images(1).double()
    options = {"scales": 2, "step": 20, "drop": 0.0, "fusion": "max"}
    over = cc.FinerCAM(model, base=cc.SESS(model, **options), references=[5]).attribute(x, 2)
    inside = cc.SESS(model, base=cc.FinerCAM(model, references=[5]), **options).attribute(x, 2)
    torch.testing.assert_close(over, inside)
    assert over.max() > 0


@pytest.mark.parametrize("outer", ["augmentedcam", "jittercam", "sess", "multilayercam", "guidedcam"])
def test_it_may_be_inside_or_around(outer):
    """References of changed images would be other ones: they are chosen once."""
    model, x = tiny(), images(2)
    inside = explainer(f"{outer}(finercam(gradcam))", model)
    around = cc.FinerCAM(model, base=explainer(f"{outer}(gradcam)", model))
    torch.testing.assert_close(inside.attribute(x, [1, 7]), around.attribute(x, [1, 7]))
    assert not torch.allclose(around.attribute(x, [1, 7]), around.base.attribute(x, [1, 7]))


def test_references_are_chosen_on_the_unchanged_image_alone():
    class Turning(nn.Module):
        """The class that is closest to class 0 depends on the first pixel, which masks of the layer switch off."""

        def __init__(self):
            super().__init__()
            self.conv, self.fc = nn.Conv2d(1, 3, 3, padding=1), nn.Linear(3, 3)

        def forward(self, x):
            return self.fc(self.conv(x).relu().mean((2, 3)))

    model = seeded(Turning).double()
    x = torch.rand(1, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        first = closest(model(x)[0], 0, 1)
        model.fc.bias[3 - first[0]] = model.fc.bias[0] - 2 * (model(x)[0, 0] - model(x * 0)[0, 0]).abs()
        fixed = closest(model(x)[0], 0, 1)
    expected = cc.ReciproCAM(model, "conv").attribute(x, written_out(0, fixed))
    found = cc.FinerCAM(model, base=cc.ReciproCAM(model, "conv"), references=1).attribute(x, 0)
    torch.testing.assert_close(found, expected)


def test_closest_classes_are_all_others_if_there_are_fewer_and_ties_take_the_lower_index():
    model, x = small("multiclass"), images(1)
    cam = cc.FinerCAM(model, "last", references=9)
    expected = cc.GradCAM(model, "last").attribute(x, written_out(1, [0, 2, 3]))
    torch.testing.assert_close(cam.attribute(x, 1), expected)
    assert cam._references(torch.tensor([1.0, 0.0, -1.0, 1.0]), 1, 0, 1) == (0, 2, 3)


@pytest.mark.parametrize("target", [2, torch.tensor(2), [2, 2], torch.tensor([2, 2]), (2,), [(2,), (2,)]])
def test_every_form_of_a_class(target):
    model, x = tiny(), images(2)
    found = cc.FinerCAM(model, references=[4, 6]).attribute(x, target)
    torch.testing.assert_close(found, cc.GradCAM(model).attribute(x, written_out(2, [4, 6])))


def test_the_predicted_class_and_references_for_each_sample():
    model, x = tiny(), images(2)
    predicted = model(x).argmax(1).tolist()
    assert torch.equal(cc.FinerCAM(model).attribute(x), cc.FinerCAM(model).attribute(x, predicted))
    cam = cc.FinerCAM(model, references=[[1, 2], [0]])
    each = [written_out(3, [1, 2]), written_out(3, [0])]
    torch.testing.assert_close(cam.attribute(x, 3), cc.GradCAM(model).attribute(x, each))
    assert cam.hyperparameters["references"] == ((1, 2), (0,))
    assert "one list for each sample, expected 3, got 2" in said(cam.attribute, images(3), 3)
    assert cc.FinerCAM(model, references=torch.tensor([4, 6])) == cc.FinerCAM(model, references=[4, 6])


class Dense(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 6, 3, 2, 1), nn.Conv2d(6, 4, 1)

    def forward(self, x):
        return self.head(self.conv(x).relu())


def test_dense_outputs_take_tuples():
    model, x = seeded(Dense), images(2)
    found = cc.FinerCAM(model, "conv").attribute(x, (1, 5, 6))
    scores = model(x)[:, :, 5, 6]
    references = [closest(row, 1, 3) for row in scores]
    each = [lambda out, d=d: written_out(1, d)(out[:, :, 5, 6]) for d in references]
    torch.testing.assert_close(found, cc.GradCAM(model, "conv").attribute(x, each))
    assert "names one score per sample" in said(cc.FinerCAM(model, "conv").attribute, x)


def test_labels_have_probabilities_of_their_own_and_one_logit_has_two_sides():
    x = images(2)
    model = small("multilabel")
    cam = cc.FinerCAM(model, "last", references=[0, 3], weighting="probability", task="multilabel")

    def score(out):
        p = out.sigmoid()
        return (p[:, 0] * (out[:, 1] - out[:, 0]) + p[:, 3] * (out[:, 1] - out[:, 3])) / (p[:, 0] + p[:, 3])

    torch.testing.assert_close(cam.attribute(x, 1), cc.GradCAM(model, "last").attribute(x, score))
    model = small("binary")
    found = cc.FinerCAM(model, "last", task="binary").attribute(x, 1)
    torch.testing.assert_close(found, 1.6 * cc.GradCAM(model, "last", task="binary").attribute(x, 1))


def test_a_regression_compares_values():
    model, x = small("regression"), images(1)
    cam = cc.FinerCAM(model, base=cc.RISE(model, "last", masks=9, task="regression"), references=[1])
    expected = cc.RISE(model, "last", masks=9).attribute(x, lambda out: out[:, 0] - 0.6 * out[:, 1])
    torch.testing.assert_close(cam.attribute(x, 0), expected)


def test_shares_of_tiny_probabilities_stay_finite():
    model, x = small("multiclass"), images(1)
    model.fc.weight.data *= 1e4
    label = int(model(x).argmax())
    with torch.no_grad():
        others = [c for c in range(4) if c != label]
        assert float(model(x).softmax(1)[0, others].sum()) == 0
    found = cc.FinerCAM(model, "last", weighting="probability").contributions(x, label)
    assert found.isfinite().all()
    near = closest(model(x)[0], label, 1)
    torch.testing.assert_close(found, cc.GradCAM(model, "last").contributions(x, written_out(label, near, strength=1)))


@pytest.mark.parametrize("name", COMPARE)
def test_methods_that_compare_classes_themselves_refuse(name):
    model, x = tiny(), images(3)
    words = "use Grad-CAM" if name == "cam" else "needs scores N×classes"
    assert words in said(cc.create(f"finercam({name})", model).attribute, x, [0, 4, 9])


def test_what_cannot_be_compared_is_refused():
    model, x = tiny(), images(2)
    one = small("binary")
    assert 'task="binary"' in said(cc.FinerCAM(one, "last").attribute, x)
    assert "got N×1" not in said(cc.FinerCAM(one, "last").attribute, x, 0)
    assert "at least two" in said(cc.FinerCAM(small("binary", flat=True), "last").attribute, x)
    assert "needs its index" in said(cc.FinerCAM(model).attribute, x, lambda out: out[:, 1])
    assert "needs its index" in said(cc.FinerCAM(model).attribute, x, [cc.targets.Classification(1)] * 2)
    assert "at least two" in said(cc.create("finercam(finercam(gradcam))", model).attribute, x, 1)
    assert "must not hold the class" in said(cc.FinerCAM(model, references=[1, 2]).attribute, x, [0, 2])
    assert "in 0…9, got (3, 10)" in said(cc.FinerCAM(model, references=[3, 10]).attribute, x, 1)
    assert "FinerCAM(model, base=FGCAM(model" in said(cc.create, "fgcam(finercam(gradcam))", model)
    for wrong in (0, -1, True, [], [1, 1], [-1], [[1], []], [[1], 2], "3", [0.5], None):
        assert "references must" in said(lambda wrong=wrong: cc.FinerCAM(model, references=wrong))
    for wrong in (-0.1, float("nan"), float("inf"), "1"):
        assert "strength must" in said(lambda wrong=wrong: cc.FinerCAM(model, strength=wrong))
    assert "weighting must be one of" in said(lambda: cc.FinerCAM(model, weighting="max"))
    assert "needs the probabilities" in said(lambda: cc.FinerCAM(model, weighting="probability", task="regression"))


def test_create_reads_it_as_every_wrapper():
    model = tiny()
    cam = cc.create("finercam(fdcam)", model, "2", references=[1], percentile=9.0)
    assert (cam.references, cam.base.percentile, cam.layer) == ((1,), 9.0, model[2])
    assert cc.create("Finer-CAM(Grad-CAM)", model) == cc.FinerCAM(model)
    assert lookup("finercam").wraps
