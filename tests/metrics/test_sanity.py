"""The sanity checks: what they say of maps that do or do not depend on the model, and what they refuse."""

import copy
from threading import Lock

import pytest
import torch
from scipy.stats import spearmanr
from torch import nn
from torch.utils.data import TensorDataset

import captum_cams as cc
from captum_cams import CAMError, metrics
from captum_cams.engine.generators import generator_of
from captum_cams.engine.reinitialise import reinitialise
from captum_cams.metrics.functional.similarity import similarity_of_maps
from lightning_callbacks import evaluate
from tests.support.evaluation_run import quiet
from tests.support.networks import NETWORKS, images
from tests.support.tasks import ALL, WIDTH, small, task_of
from tests.support.untouched import same, state

LABELS = [1, 3, 8]


def ranks(maps, others):
    return similarity_of_maps(maps, others, "spearman")


@pytest.fixture(scope="module")
def model():
    return NETWORKS["plain"]()


def both(model, cam, x, labels, **options):
    maps = cam.attribute(x, labels)
    given = {"explain": cam.attribute} | options
    return metrics.randomisation(model, x, maps, labels, **given), metrics.random_logit(model, x, maps, labels, **given)


def test_ranks_are_scipys():
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.randint(0, 9, (4, 1, 5, 6), generator=generator).float() for _ in range(2))
    expected = [spearmanr(a.flatten(), b.flatten()).statistic for a, b in zip(first, second, strict=True)]
    torch.testing.assert_close(ranks(first, second), torch.tensor(expected).float())
    flat = torch.full((4, 1, 5, 6), 0.3)
    assert ranks(flat, flat * 2).tolist() == [1] * 4
    assert ranks(flat, second).tolist() == [0] * 4
    assert ranks(first, first.exp()).tolist() == [1] * 4


def test_structural_similarity_has_its_ends():
    maps = torch.rand(4, 1, 9, 9, generator=torch.Generator().manual_seed(0))
    flat = torch.full((4, 1, 9, 9), 0.3)
    torch.testing.assert_close(similarity_of_maps(maps, 5 * maps + 2, "ssim"), torch.ones(4))
    assert similarity_of_maps(flat, 2 * flat, "ssim").tolist() == [1] * 4
    assert float(similarity_of_maps(maps, -maps, "ssim").max()) < 0
    assert float(similarity_of_maps(maps, flat, "ssim").abs().max()) < 0.01
    with pytest.raises(CAMError, match="at least 3 positions along each axis, got 4×1×2×9"):
        similarity_of_maps(maps[:, :, :2], maps[:, :, :2], "ssim")
    with pytest.raises(CAMError, match="similarity must be one of 'spearman', 'ssim', got 'sim'"):
        metrics.Randomisation(len, similarity="sim")


@pytest.mark.parametrize("order", ["cascading", "independent"])
def test_the_curve_is_the_loop(model, order):
    x, cam = images(3), cc.HiResCAM(model)
    maps = cam.attribute(x, LABELS)
    layers = ["classifier.6", "classifier.3", "classifier.0", "features.8", "features.6", "features.3", "features.0"]
    changed, expected = copy.deepcopy(model), []
    for number, layer in enumerate(layers):
        changed = copy.deepcopy(model) if order == "independent" else changed
        reinitialise(changed.get_submodule(layer), generator_of(5, number).initial_seed())
        new = cc.HiResCAM(changed).attribute(x, LABELS)
        expected.append(ranks(maps, new))
    names, found = metrics.randomisation_curve(model, x, maps, LABELS, explain=cam.attribute, order=order, seed=5)
    assert names == layers
    torch.testing.assert_close(found, torch.stack(expected, 1))
    if order == "cascading":  # 1, ⌈7/4⌉, ⌈7/2⌉ and 7 layers
        mean = metrics.randomisation(model, x, maps, LABELS, explain=cam.attribute, seed=5)
        torch.testing.assert_close(mean, found[:, [0, 1, 3, 6]].mean(1))


@pytest.mark.parametrize("name", ["random", "centre", "constant"])
def test_a_map_that_does_not_depend_on_the_model_has_similarity_one(model, name):
    for values in both(model, cc.create(name, model), images(3), LABELS):
        torch.testing.assert_close(values, torch.ones(3))


def test_a_map_without_classes_fails_the_random_logit_alone(model):
    weights, logit = both(model, cc.EigenCAM(model), images(3), LABELS)
    torch.testing.assert_close(logit, torch.ones(3))
    assert float(weights.max()) < 0.99


@pytest.mark.parametrize("name", ["gradcam", "jittercam(fdcam)", "lrp"])
def test_the_model_is_untouched_and_a_batch_is_its_images(model, name):
    x, cam = images(3), cc.create(name, model)
    cam.attribute(x[:1])
    explainer, before = copy.copy(vars(cam)), state(model)
    together = both(model, cam, x, LABELS)
    assert same(before, state(model))
    assert all(vars(cam)[key] is value for key, value in explainer.items())
    with torch.inference_mode():
        alone = [both(model, cam, x[i : i + 1].clone(), LABELS[i : i + 1]) for i in range(3)]
    for values, single in zip(together, zip(*alone, strict=True), strict=True):
        torch.testing.assert_close(values, torch.cat(single), rtol=0, atol=1e-5)


@pytest.mark.parametrize("task", ALL)
def test_every_task_of_the_scores(task):
    net, x, kind = small(task), images(2), task_of(task)
    cam = cc.EigenGradCAM(net, "last", task=kind)
    weights, logit = both(net, cam, x, [0, max(1, WIDTH[task] - 1)], task=kind)
    for values in (weights, logit):
        assert values.shape == (2,)
        assert bool(((values >= -1) & (values <= 1)).all())


def test_one_class_has_no_other():
    net, x = small("binary"), images(2)
    cam = cc.GradCAM(net, "last", task="regression")
    maps = cam.attribute(x, 0)
    with pytest.raises(CAMError, match="random_logit needs a model with at least two outputs"):
        metrics.random_logit(net, x, maps, 0, explain=cam.attribute, task="regression")
    with pytest.raises(CAMError, match="gradcam: random_logit needs a model with at least two outputs"):
        evaluate(net, TensorDataset(x), "gradcam", metrics="random_logit", task="regression", trainer=quiet())


@pytest.mark.parametrize("shell", [metrics.Randomisation, metrics.RandomLogit, metrics.Sensitivity, metrics.ADCC])
def test_the_explainer_must_have_the_task_that_is_measured(model, shell):
    cam, x = cc.GradCAM(model, task="multilabel"), images(1)
    with pytest.raises(CAMError, match=r"for the task 'multiclass', which is measured, got .* task='multilabel'"):
        shell(cam.attribute)
    loaded = shell(len)
    with pytest.raises(CAMError, match="which is measured"):
        loaded.explain = cam.attribute
    for function in (metrics.randomisation, metrics.random_logit):
        with pytest.raises(CAMError, match="make the explainer with task='multiclass'"):
            function(model, x, cam.attribute(x, 1), 1, explain=cam.attribute)
    shell(cam.attribute, task="multilabel")


def test_another_seed_gives_other_weights_and_classes(model):
    cam, x = cc.EigenGradCAM(model), images(3)
    found = [both(model, cam, x, LABELS, seed=seed) for seed in (0, 0, 1, 2)]
    assert same(found[0], found[1])
    assert not torch.equal(found[0][0], found[2][0])
    assert not all(torch.equal(found[0][1], other[1]) for other in found[2:])


class Shared(nn.Module):
    """A network that copies of it share."""

    def __init__(self, inner) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x)

    def __deepcopy__(self, memo):
        return self


def test_what_cannot_be_copied_is_refused(model):
    x, cam = images(2), cc.GradCAM(model, "features.8")
    maps, before = cam.attribute(x, 1), state(model)

    def refused(words, network=model, explain=cam.attribute, maps=maps):
        with pytest.raises(CAMError, match=words):
            metrics.randomisation(network, x, maps, 1, explain=explain)
        assert same(before, state(model))

    refused("its copy still runs the model itself", explain=lambda images, target: cam.attribute(images, target))
    refused("must be a module, whose layers", network=lambda images: model(images))
    shared = Shared(model)
    refused("gave a model that shares them", network=shared, explain=cc.GradCAM(shared, model.features[8]).attribute)
    refused("without resizing them", maps=cam.heatmap(x, 1))
    refused(
        "parameters that can be re-initialised", network=nn.Flatten(), explain=lambda images, _: maps[: len(images)]
    )
    cam.lock = Lock()
    refused("copy.deepcopy raised TypeError")


def test_an_unknown_order_is_refused(model):
    with pytest.raises(CAMError, match="order must be one of 'cascading', 'independent', got 'up'"):
        metrics.randomisation_curve(model, images(1), torch.ones(1, 5, 5), 1, explain=len, order="up")
