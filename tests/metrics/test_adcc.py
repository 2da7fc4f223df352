"""ADCC against its authors' own code and its definition."""

import copy
import pickle

import numpy as np
import pytest
import torch
from torchmetrics import MetricCollection

import captum_cams as cc
from captum_cams.metrics import ADCC, adcc, average_drop, coherency, complexity
from tests.support.golden import assert_close, cases, golden
from tests.support.networks import NETWORKS, images


def relative(found: torch.Tensor, expected: np.ndarray, tolerance: float) -> None:
    defined = ~np.isnan(expected)
    np.testing.assert_allclose(found.numpy()[defined], expected[defined], rtol=tolerance, atol=1e-6)


@pytest.mark.parametrize(("net", "layer"), [("tinyres", "layer4"), ("tinyvgg_bn", "features.14")])
@pytest.mark.parametrize("signed", [False, True])
def test_the_parts_and_the_whole_are_the_authors(net, layer, signed):
    model, arrays = golden(f"adcc_{net}")
    x, target = cases(arrays)
    cam, key = cc.GradCAM(model, layer), "gradcam_signed" if signed else "gradcam"

    def explain(inputs, chosen):
        return cam.attribute(inputs, chosen, relu_attributions=not signed)

    maps = explain(x, target)
    # With another class than the predicted one the authors mix two; "perclass" is theirs with one class throughout.
    for case, source in [("perclass", slice(None)), ("ref", slice(0, None, 2)), ("ref_noclass", slice(0, None, 2))]:
        given = f"{key}/{case}"
        relative(complexity(x, maps)[source], arrays[f"{given}/complexity"][source], 1e-4)
        relative(average_drop(model, x, maps, target)[source] / 100, arrays[f"{given}/average_drop"][source], 1e-4)
        relative(coherency(x, maps, explain, target)[source], arrays[f"{given}/coherency"][source], 1e-4)
        relative(adcc(model, x, maps, target, explain=explain)[source], arrays[f"{given}/adcc"][source], 1e-3)


def test_where_a_map_is_constant_or_a_term_is_zero():
    model, x = NETWORKS["residual"](), images(3)
    ones, zeros = torch.ones(3, 1, 5, 5), torch.zeros(3, 1, 5, 5)
    assert coherency(x, zeros, lambda inputs, target: ones, [1, 2, 3]).tolist() == [0.5] * 3
    assert complexity(x, zeros).tolist() == complexity(x, ones).tolist() == [0.0] * 3
    found = adcc(model, x, zeros, [1, 2, 3], explain=cc.GradCAM(model).attribute)
    assert torch.isfinite(found).all()
    opposite = torch.rand(3, 1, 40, 40)
    assert adcc(model, x, opposite, [1, 2, 3], explain=lambda inputs, target: -opposite).max() < 1e-3


def test_the_metric_is_the_mean_of_uneven_batches_and_needs_no_gradient_mode():
    model, x = NETWORKS["batch norm"](), images(5)
    cam = cc.LayerCAM(model)
    metric = ADCC(cam.attribute)
    with torch.inference_mode():
        for part in (x[:3], x[3:]):
            metric.update(model, part, cam.attribute(part))
    expected = adcc(model, x, cam.attribute(x), explain=cam.attribute).mean()
    torch.testing.assert_close(metric.compute(), expected, rtol=1e-4, atol=1e-6)
    assert metric.higher_is_better


def test_the_mean_of_the_parts_is_harmonic():
    model, x = NETWORKS["batch norm"](), images(4)
    cam = cc.LayerCAM(model)
    maps = cam.attribute(x, 2)
    parts = (coherency(x, maps, cam.attribute, 2), 1 - complexity(x, maps), 1 - average_drop(model, x, maps, 2) / 100)
    expected = 3 / sum(1 / part for part in parts)
    assert_close(adcc(model, x, maps, 2, explain=cam.attribute), expected.numpy())


@pytest.mark.parametrize(
    "copied", [lambda m: m.clone(), copy.deepcopy, lambda m: MetricCollection([m]).clone()["ADCC"]]
)
def test_a_copy_explains_the_same_model(copied):
    model, x = NETWORKS["residual"](), images(3)
    cam = cc.GradCAM(model)
    metric = ADCC(cam.attribute)
    another = copied(metric)
    assert another.explain.__self__ is cam
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.3)
    maps = cam.attribute(x, 2)
    for one in (metric, another):
        one.update(model, x, maps, 2)
    assert float(metric.compute()) == float(another.compute())


def test_a_pickle_takes_no_model_along():
    model, x = NETWORKS["residual"](), images(2)
    cam = cc.GradCAM(model)
    metric = ADCC(cam.attribute)
    maps = cam.attribute(x, 2)
    metric.update(model, x, maps, 2)
    stored = pickle.dumps(metric)
    assert len(stored) < sum(p.numel() * p.element_size() for p in model.parameters()) / 5
    loaded = pickle.loads(stored)
    assert metric.state_dict() == {}
    assert not list(metric.modules())[1:]
    assert float(loaded.compute()) == float(metric.compute())
    with pytest.raises(cc.CAMError, match="explain"):
        loaded.update(model, x, maps, 2)
    loaded.explain = cam.attribute
    loaded.update(model, x, maps, 2)
    assert float(loaded.compute()) == pytest.approx(float(metric.compute()))
