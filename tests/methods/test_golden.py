"""Outputs of the authors' own code and of two libraries, on stored networks (see tests/golden/README.md)."""

import numpy as np
import pytest
import torch

import captum_cams as cc
from captum_cams.methods.fdcam import cosine_similarity, row_quantile
from tests.support.golden import assert_close, cases, golden

NETS = ("tinyvgg_bn", "tinyvgg", "tinyres")


def weights_and_map(cam, x, target):
    seen = []
    inner = cam.weights
    cam.weights = lambda record: seen.append(inner(record)) or seen[-1]
    signed = cam.attribute(x, target, relu_attributions=False)[:, 0]
    return seen[0], signed


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("quantile", [0.95, 0.80])
def test_fdcam_similarity_and_groups(net, quantile):
    _, arrays = golden(f"fdcam_{net}")
    activation = torch.from_numpy(arrays["activations"])
    similarity = cosine_similarity(activation)
    assert_close(similarity, arrays["cosine"])
    stored = arrays[f"thr{quantile:.2f}/quantile"].reshape(similarity.shape[:2])
    assert_close(row_quantile(similarity, quantile)[..., 0], stored)
    groups = cc.FDCAM(torch.nn.Identity(), torch.nn.Identity(), percentile=100 * (1 - quantile)).groups(activation)
    assert np.array_equal(groups.numpy(), arrays[f"thr{quantile:.2f}/on_mask"].astype(bool))


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize(
    ("key", "options"),
    [
        ("thr0.95/group_onoff", {}),
        ("thr0.95/group_off", {"switch_on": False}),
        ("nogroup_onoff", {"percentile": None}),
        ("nogroup_off", {"percentile": None, "switch_on": False}),
        ("thr0.80/group_onoff", {"percentile": 20.0}),
        ("thr0.80/group_off", {"percentile": 20.0, "switch_on": False}),
    ],
)
def test_fdcam_is_the_authors(net, key, options):
    model, arrays = golden(f"fdcam_{net}")
    x, target = cases(arrays)
    cam = cc.FDCAM(model, perturbations_per_eval=7, **options)
    weights, signed = weights_and_map(cam, x, target)
    assert_close(weights, arrays[f"{key}/weights"])
    assert_close(signed, arrays[f"{key}/map_signed"])
    assert_close(cam.attribute(x, target)[:, 0], arrays[f"{key}/cam"])


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize(
    ("name", "stored"),
    [("gradcam", "GradCAM"), ("xgradcam", "XGradCAM"), ("layercam", "LayerCAM"), ("hirescam", "HiResCAM")],
)
def test_gradient_methods_are_the_peers(net, name, stored):
    model, arrays = golden(f"peers_{net}")
    x, target = cases(arrays)
    cam = cc.create(name, model)
    assert_close(cam.attribute(x, target, relu_attributions=False)[:, 0], arrays[f"pgc/{stored}/map_signed"])
    assert_close(cam.attribute(x, target)[:, 0], arrays[f"pgc/{stored}/map"])
    if f"torchcam/{stored}/map" in arrays:
        assert_close(cam.attribute(x, target)[:, 0], arrays[f"torchcam/{stored}/map"])
    if name in ("gradcam", "xgradcam"):
        weights, _ = weights_and_map(cam, x, target)
        assert_close(weights, arrays[f"pgc/{stored}/weights"])


@pytest.mark.parametrize("net", NETS)
def test_gradcamplusplus_differs_from_the_peer_by_its_epsilon_alone(net):
    """pytorch-grad-cam adds 1e-6 to the denominator; with that the stored weights come out, without it ours."""
    model, arrays = golden(f"peers_{net}")
    x, target = cases(arrays)
    g = arrays["grads"].astype(np.float64)
    total = arrays["activations"].astype(np.float64).sum((2, 3), keepdims=True)
    denominator = 2 * g**2 + g**3 * total

    def weights(epsilon):
        alpha = np.divide(g**2, denominator + epsilon, out=np.zeros_like(g), where=g != 0)
        return (alpha * np.maximum(g, 0)).sum((2, 3))

    assert_close(weights(1e-6), arrays["pgc/GradCAMPlusPlus/weights"])
    found, _ = weights_and_map(cc.GradCAMPlusPlus(model), x, target)
    assert_close(found, weights(0))


@pytest.mark.parametrize("net", NETS)
def test_ablationcam_is_the_peer_but_for_the_sign_of_a_negative_logit(net):
    """pytorch-grad-cam divides by the logit itself, which turns the map of a negative one over."""
    model, arrays = golden(f"peers_{net}")
    x, target = cases(arrays)
    weights, signed = weights_and_map(cc.AblationCAM(model), x, target)
    logit = arrays["input/logits"][arrays["case/input"], arrays["case/target"]]
    assert (logit < 0).any()
    for n, sign in enumerate(np.sign(logit)):
        assert_close(weights[n], sign * arrays["pgc/AblationCAM/weights"][n])
        assert_close(signed[n], sign * arrays["pgc/AblationCAM/map_signed"][n])


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize(
    ("stored", "options"),
    [
        ("torchcam/ScoreCAM", {"mask_order": "normalise_first"}),
        ("pgc/ScoreCAM", {"align_corners": True}),
    ],
)
def test_scorecam_is_both_libraries_by_its_options(net, stored, options):
    model, arrays = golden(f"peers_{net}")
    x, target = cases(arrays)
    cam = cc.ScoreCAM(model, **options)
    weights, _ = weights_and_map(cam, x, target)
    assert_close(weights, arrays[f"{stored}/weights"])
    assert_close(cam.attribute(x, target)[:, 0], arrays[f"{stored}/map"])


@pytest.mark.parametrize("net", NETS)
def test_sscam_and_iscam_are_torchcams(net):
    model, arrays = golden(f"peers_{net}")
    x, target = cases(arrays)
    noise = torch.from_numpy(arrays["torchcam/SSCAM/noise_q"]).float() * 2 / 16
    smooth = cc.SSCAM(model, samples=2, mask_order="normalise_first")
    smooth.noise = lambda masks, channels, sample: noise[sample][channels][:, None]
    integrated = cc.ISCAM(model, cumulative=True, mask_order="normalise_first")
    for cam, stored in ((smooth, "torchcam/SSCAM"), (integrated, "torchcam/ISCAM")):
        weights, _ = weights_and_map(cam, x, target)
        assert_close(weights, arrays[f"{stored}/weights"])
        assert_close(cam.attribute(x, target)[:, 0], arrays[f"{stored}/map"])


@pytest.mark.parametrize("net", NETS)
def test_eigencam_is_the_peer_up_to_sign(net):
    model, arrays = golden(f"peers_{net}")
    x, target = cases(arrays)
    found = cc.EigenCAM(model).attribute(x, target, relu_attributions=False)[:, 0]
    for map_, stored in zip(found, arrays["pgc/EigenCAM/map_signed"], strict=True):
        sign = np.sign((map_.numpy() * stored).sum())
        assert_close(map_, sign * stored)
