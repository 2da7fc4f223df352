"""What a score is, for each task: methods and metrics against written-out formulas."""

import warnings

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import captum_cams as cc
from captum_cams import metrics
from captum_cams.engine.call import Call
from captum_cams.engine.scores import probabilities, scores_of
from captum_cams.images import blur
from captum_cams.methods.rise import _masks
from lightning_callbacks import Protocol
from tests.support.explainers import ANY_LAYER, explainer
from tests.support.networks import images
from tests.support.tasks import ALL, PROBABILITY, WIDTH, probability, small, task_of


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(ALL), st.integers(1, 4), st.floats(-30, 30), st.integers(0, 10**6), st.booleans())
def test_probabilities_are_their_formulas(task, samples, shift, seed, double):
    kind = torch.float64 if double else torch.float32
    out = torch.randn(samples, WIDTH[task], generator=torch.Generator().manual_seed(seed), dtype=kind) * 3 + shift
    found = probabilities(scores_of(out, task_of(task)), task_of(task))
    torch.testing.assert_close(found, PROBABILITY[task](out), rtol=1e-5, atol=1e-6)
    if WIDTH[task] == 1:
        torch.testing.assert_close(found, probabilities(scores_of(out[:, 0], task_of(task)), task_of(task)))


@pytest.mark.parametrize("task", ALL)
def test_rise_is_its_sum_over_masks(task):
    model, x = small(task), images(2)
    cam = cc.RISE(model, "last", masks=12, grid=4, task=task_of(task))
    generator = torch.Generator().manual_seed(0)
    grids = (torch.rand(12, 1, 4, 4, generator=generator) < 0.5).float()
    masks = _masks(grids, torch.rand(12, 2, generator=generator), x.shape[-2:])
    target = WIDTH[task] - 1 if task != "binary" else 1
    for c in {0, target}:
        expected = [sum(float(probability(task, model, (one * m)[None], c)) * m for m in masks) / 6 for one in x]
        torch.testing.assert_close(cam.attribute(x, c), torch.stack(expected), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("task", ALL)
def test_groupcam_is_its_formula(task):
    model, x, c = small(task), images(2), int(task == "binary")
    model.fc.weight.data.abs_()  # so that what is shown raises the score of some group
    cam = cc.GroupCAM(model, "last", groups=3, task=task_of(task))
    found = cam.attribute(x, c, relu_attributions=False)
    for n in range(2):
        activation = model.last(F.relu(model.conv(x[n : n + 1]))).detach().requires_grad_()
        out = model.fc(F.relu(activation).mean((2, 3)))
        score = PROBABILITY[task](out)[0, c] if task == "function" else out[0, 0]
        (gradient,) = torch.autograd.grad(score, activation)
        weighted, expected = (gradient.mean((2, 3), keepdim=True) * activation)[0].detach(), 0
        blurred = blur(x[n : n + 1])
        for part in weighted.tensor_split(3):
            group = part.sum(0).relu()
            large = F.interpolate(group[None, None], x.shape[-2:], mode="bilinear")
            spread = large.max() - large.min()
            mask = (large - large.min()) / spread if spread > 0 else large * 0
            gain = probability(task, model, x[n] * mask + blurred * (1 - mask), c)
            expected = expected + (gain - probability(task, model, blurred, c)).relu() * group
        torch.testing.assert_close(found[n, 0], expected, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("task", ALL)
def test_scorecam_and_reciprocam_read_the_probability(task):
    model, x, c = small(task), images(1), int(task == "binary")
    with torch.no_grad():
        activation = model.last(F.relu(model.conv(x)))
    large = F.interpolate(activation[0][:, None], x.shape[-2:], mode="bilinear")
    low, high = large.amin((1, 2, 3), keepdim=True), large.amax((1, 2, 3), keepdim=True)
    weights = probability(task, model, x * (large - low) / (high - low), c)
    expected = (weights[:, None, None] * activation[0]).sum(0)
    options = {"score": "probability", "task": task_of(task)}
    found = cc.ScoreCAM(model, "last", softmax=False, **options).attribute(x, c, relu_attributions=False)
    torch.testing.assert_close(found[0, 0], expected, rtol=1e-4, atol=1e-5)
    height, width = activation.shape[2:]
    alone = torch.eye(height * width).view(-1, 1, height, width) * activation
    with torch.no_grad():
        scores = PROBABILITY[task](model.fc(F.relu(alone).mean((2, 3))))[:, c].view(height, width)
    expected = (scores - scores.min()) / (scores.max() - scores.min())
    found = cc.ReciproCAM(model, "last", **options).attribute(x, c)
    torch.testing.assert_close(found[0, 0], expected, rtol=1e-4, atol=1e-4)


def minmax(values):
    return (values - values.min()) / (values.max() - values.min())


@pytest.mark.parametrize("task", ALL)
def test_fdcam_without_groups_reads_the_probability(task):
    model, x, c = small(task), images(1), int(task == "binary")
    activation = model.last(F.relu(model.conv(x))).detach().requires_grad_()
    out = model.fc(F.relu(activation).mean((2, 3)))
    score = PROBABILITY[task](out)[0, c] if task == "function" else out[0, 0]
    (gradient,) = torch.autograd.grad(score, activation)
    on = torch.eye(8)[:, :, None, None] * activation.detach()
    with torch.no_grad():
        shown, hidden = (model.fc(F.relu(part).mean((2, 3))) for part in (on, activation - on))
    change = PROBABILITY[task](shown)[:, c] - PROBABILITY[task](hidden)[:, c]
    weights = minmax(gradient.mean((2, 3))[0]) * minmax(change).exp() - 0.5
    expected = (weights[:, None, None] * activation[0].detach()).sum(0)
    cam = cc.FDCAM(model, "last", percentile=None, score="probability", task=task_of(task))
    found = cam.attribute(x, c, relu_attributions=False)[0, 0]
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize("task", ["multiclass", "multilabel", "binary", "function"])
def test_sess_weighs_windows_by_the_probability(task, monkeypatch):
    model, x, c = small(task), images(1), int(task == "binary")
    seen = []
    cam = cc.create("sess(gradcam)", model, "last", scales=2, step=16, drop=0.5, task=task_of(task))
    inner = Call.probabilities

    def watched(call):
        seen.append((call.inputs[0], inner(call)))
        return seen[-1][1]

    monkeypatch.setattr(Call, "probabilities", watched)
    assert cam.attribute(x, c).isfinite().all()
    windows, scores = (torch.cat(one) for one in zip(*seen, strict=True))
    torch.testing.assert_close(scores, probability(task, model, windows, c), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("task", ALL)
@pytest.mark.parametrize("flat", [False, True])
def test_curves_drop_and_increase_are_their_formulas(task, flat):
    if flat and WIDTH[task] > 1:
        task, flat = "regression", True
    model, x, maps = small(task, flat), images(2), torch.rand(2, 1, 5, 5)
    c, options = int(task == "binary"), {"task": task_of(task)}
    large = F.interpolate(maps, x.shape[-2:], mode="bilinear")
    deletion = metrics.deletion_curve(model, x, maps, c, preset="quick", **options)
    insertion = metrics.insertion_curve(model, x, maps, c, preset="quick", **options)
    whole, none = probability(task, model, x, c), probability(task, model, x * 0, c)
    for found, expected in ((deletion[:, 0], whole), (deletion[:, -1], none), (insertion[:, -1], whole)):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    order = large.flatten(1).argsort(descending=True, stable=True)[:, : round(0.3 * large[0].numel())]
    kept = torch.ones_like(large).flatten(1).scatter(1, order, 0).view_as(large)
    torch.testing.assert_close(deletion[:, 3], probability(task, model, x * kept, c), rtol=1e-4, atol=1e-6)
    area = metrics.DeletionAUC(preset="quick", **options)
    area.update(model, x, maps, c)
    torch.testing.assert_close(area.compute(), metrics.curve_area(deletion).mean())
    if task == "regression":
        with pytest.raises(cc.CAMError, match="need probabilities"):
            metrics.average_drop(model, x, maps, c, **options)
        return
    low, high = large.amin((2, 3), keepdim=True), large.amax((2, 3), keepdim=True)
    shown = probability(task, model, x * (large - low) / (high - low), c)
    drop, increase = metrics.drop_and_increase(model, x, maps, c, **options)
    torch.testing.assert_close(drop, 100 * (whole - shown).relu() / whole, rtol=1e-4, atol=1e-3)
    assert increase.tolist() == (100.0 * (shown > whole)).tolist()
    explain = cc.GradCAM(model, "last", **options).attribute
    parts = metrics.coherency(x, maps, explain, c), metrics.complexity(x, maps), drop / 100
    torch.testing.assert_close(
        metrics.adcc(model, x, maps, c, explain=explain, **options), metrics.adcc_of_parts(*parts)
    )
    mean = metrics.ADCC(explain, **options)
    mean.update(model, x, maps, c)
    torch.testing.assert_close(mean.compute(), metrics.adcc_of_parts(*parts).mean())


ONE_LOGIT = [n for n in ANY_LAYER if n not in ("clrp", "sglrp", "relevancecam", "lrp", "guidedcam", "random")]


def two_columns(model):
    """The one logit as the two scores −z and z of a network without a task."""
    twin = small("binary")
    twin.fc = nn.Linear(8, 2)
    twin.fc.weight.data = torch.cat((-model.fc.weight.data, model.fc.weight.data))
    twin.fc.bias.data = torch.cat((-model.fc.bias.data, model.fc.bias.data))
    return twin.eval()


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("name", ONE_LOGIT)
def test_a_logit_is_explained_as_two_columns_are(name, flat):
    """Sides 0 and 1 and the predicted one; where probabilities are read, two labels with a sigmoid each."""
    if flat and name == "cam":
        pytest.skip("the head is no N×1")
    model, x = small("binary", flat), images(2)
    found = explainer(name, model, "last", task="binary")
    expected = explainer(name, two_columns(model), "last", task="multilabel")
    for target in (0, [1, 0], None):
        if name == "cam":
            with pytest.raises(cc.CAMError, match="another operation changes"):  # a ReLU after the layer
                found.attribute(x, target)
            continue
        torch.testing.assert_close(
            found.attribute(x, target), expected.attribute(x, target), rtol=1e-3, atol=1e-5, msg=f"{name} {target}"
        )


def test_cam_of_a_logit_is_its_weights():
    model = nn.Sequential(nn.Conv2d(3, 6, 5, 4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 1))
    x = images(2)
    positive = (model[4].weight[0, :, None, None] * model[:2](x)).sum(1)
    cam = cc.CAM(model, "1", task="binary")
    torch.testing.assert_close(cam.attribute(x, 1)[:, 0], positive.detach())
    torch.testing.assert_close(cam.attribute(x, 0)[:, 0], -positive.detach())


def test_relevance_of_a_logit_is_of_the_side_it_speaks_for():
    model, x = small("binary"), images(2)
    torch.testing.assert_close(cc.LRP(model, task="binary").attribute(x, 1), cc.LRP(model).attribute(x, 0))
    with pytest.raises(cc.CAMError, match="got side 0"):
        cc.LRP(model, task="binary").attribute(x, [1, 0])
    for method in (cc.CLRP, cc.SGLRP):
        with pytest.raises(cc.CAMError, match="the model gives one logit"):
            method(model, task="binary").attribute(x, 1)
    with pytest.raises(cc.CAMError, match="the model gives one logit"):
        cc.RelevanceCAM(model, "last", task="binary").attribute(x, 1)
    with pytest.raises(cc.CAMError, match='needs task="multiclass"'):
        cc.SGLRP(small("multilabel"), task="multilabel").attribute(x, 1)


REMEDY = r'task="binary".*task="regression"'
READS_PROBABILITIES = ("rise", "groupcam", "sess(gradcam)")


@pytest.mark.parametrize("flat", [False, True])
def test_one_column_is_no_softmax(flat):
    model, x = small("binary", flat), images(2)
    for name in READS_PROBABILITIES:
        with pytest.raises(cc.CAMError, match=REMEDY):
            explainer(name, model, "last").attribute(x)
    for name in ("fdcam", "scorecam", "reciprocam"):
        with pytest.raises(cc.CAMError, match=REMEDY):
            explainer(name, model, "last", score="probability").attribute(x)
    for function in (metrics.deletion_curve, metrics.insertion_curve, metrics.average_drop, metrics.average_increase):
        with pytest.raises(cc.CAMError, match=REMEDY):
            function(model, x, torch.rand(2, 5, 5))
    with pytest.raises(cc.CAMError, match='task="binary"'):
        cc.GradCAM(model, "last").attribute(x, 1)
    cc.GradCAM(model, "last").attribute(x)  # reads the logit alone


def test_what_does_not_fit_a_task_is_refused():
    x = images(2)
    with pytest.raises(cc.CAMError, match='task must be "multiclass"'):
        cc.GradCAM(small("binary"), task="softmax")
    with pytest.raises(cc.CAMError, match='task must be "multiclass"'):
        metrics.average_drop(small("multiclass"), x, torch.rand(2, 5, 5), task="sigmoid")
    with pytest.raises(cc.CAMError, match=r'one logit for each sample.*"multilabel"'):
        cc.GradCAM(small("multilabel"), "last", task="binary").attribute(x)
    with pytest.raises(cc.CAMError, match="scores N or N×C, got 2×4×1"):
        cc.GradCAM(small("multiclass"), "last", task=lambda out: out[:, :, None]).attribute(x)
    with pytest.raises(cc.CAMError, match="needs probabilities, got -"):
        metrics.average_drop(small("multiclass"), x, torch.rand(2, 5, 5), 0, task=lambda out: -out.exp())
    with pytest.raises(cc.CAMError, match="need probabilities"):
        Protocol(("average_drop",), task="regression")
    base = cc.GradCAM(small("binary"), "last", task="binary")
    assert cc.JitterCAM(base.forward_func, base=base).task == "binary"
    with pytest.raises(cc.CAMError, match="must be None or that of the base"):
        cc.JitterCAM(base.forward_func, base=base, task="multilabel")


def test_the_predicted_label_is_that_of_the_largest_logit():
    """Sigmoids near one are equal in float32; the scores are not."""
    model, x = small("multilabel"), images(2)
    model.fc.bias.data = torch.tensor([40.0, 60.0, 80.0, 20.0])
    maps = torch.rand(2, 1, 5, 5)
    found = metrics.deletion_curve(model, x, maps, preset="quick", task="multilabel")
    torch.testing.assert_close(found, metrics.deletion_curve(model, x, maps, 2, preset="quick", task="multilabel"))


def test_outputs_that_are_probabilities_are_noticed_once():
    model, x = nn.Sequential(small("multiclass"), nn.Softmax(1)), images(2)
    with pytest.warns(UserWarning, match="look like probabilities"):
        cc.GradCAM(model, "0.last").attribute(x)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        explainer("rise", model, "0.last").attribute(x)
        metrics.average_drop(model, x, torch.rand(2, 5, 5))
        given = nn.Sequential(small("multiclass"), nn.Softmax(1))
        drop = metrics.average_drop(given, x, torch.rand(2, 5, 5), task=lambda out: out)
        cc.GradCAM(small("multiclass"), "last").attribute(x)
        cc.GradCAM(given, "0.last").attribute(x, lambda out: out[:, 0])
    assert drop.isfinite().all()
