"""Classes, names and bases that cannot serve are refused when they are made, with the remedy."""

import pytest
import torch
from torch import nn

import captum_cams as cc
from captum_cams.registry import lookup
from lightning_callbacks import evaluate
from lightning_callbacks.methods import make, named
from lightning_callbacks.network import Network
from tests.support.explainers import ANY_LAYER, explainer
from tests.support.networks import NETWORKS, TinyRes, images
from tests.support.refusals import said


@pytest.fixture(scope="module")
def model():
    return NETWORKS["residual"]()


def outside(**declared):
    """A class that is not registered, with what is declared."""
    body = {"maps": lambda self, seen: seen.gradient, "__module__": "elsewhere", "__qualname__": "Own"}
    return type("Own", (cc.SpatialCAM,), body | declared)


ORDER = {
    "the model first": (lambda m: cc.create(m, "gradcam"), "name first"),
    "a class as a name": (lambda m: cc.create(cc.GradCAM, m), "name first"),
    "a number as a name": (lambda m: cc.create(3, m), "got 3"),
    "no model": (lambda m: cc.GradCAM(None), "got None"),
    "the name of a model": (lambda m: cc.GradCAM("resnet18"), "got 'resnet18'"),
    "the class of a model": (lambda m: cc.GradCAM(TinyRes), "TinyRes()"),
    "a wrapper without its model": (lambda m: cc.FGCAM(cc.GradCAM(m)), "FGCAM(model, base=GradCAM(model))"),
    "create without the model": (lambda m: cc.create("fgcam", cc.GradCAM(m)), "model"),
    "a method around a method": (lambda m: cc.GradCAM(cc.GradCAM(m)), "model"),
    "the layer as base": (lambda m: cc.FGCAM(m, base=m.layer4), "layer="),
    "a layer's name as base": (lambda m: cc.FGCAM(m, base="layer4"), 'pass layer="layer4"'),
    "layers as base": (lambda m: cc.MultiLayerCAM(m, base=[m.layer3]), "layers="),
    "layers as a layer": (lambda m: cc.MultiLayerCAM(m, [m.layer3]), "layers="),
    "a base's name as layer": (lambda m: cc.FGCAM(m, "scorecam"), 'FGCAM(model, base="scorecam")'),
    "a base's name before the layer": (lambda m: cc.SESS(m, "gradcam", m.layer4), 'SESS(model, base="gradcam")'),
    "a nested name as layer": (lambda m: cc.SESS(m, "fgcam(gradcam)"), 'SESS(model, base="fgcam(gradcam)")'),
    "a base as layer": (lambda m: cc.FGCAM(m, cc.GradCAM(m)), "FGCAM(model, base=GradCAM(model))"),
    "layers as one name": (lambda m: cc.MultiLayerCAM(m, layers="layer3"), "list"),
    "layers for one": (lambda m: cc.GradCAM(m, layers=[m.layer3]), "MultiLayerCAM"),
    "transformations by name": (lambda m: cc.AugmentedCAM(m, transformations=["flip"]), "Transformation("),
    "a class as base": (lambda m: cc.FGCAM(m, cc.GradCAM), "GradCAM(model)"),
    "fgcam over pixels": (lambda m: cc.create("fgcam(rise)", m), "map per channel"),
    "fgcam over a wrapper": (lambda m: cc.create("fgcam(jittercam(gradcam))", m), "map per channel"),
    "fgcam over groups": (lambda m: cc.FGCAM(m, base=cc.GroupCAM(m)), "map per channel"),
    "fgcam over relevance": (lambda m: cc.FGCAM(m, base="lrp"), "map per channel"),
    "jittercam over pixels": (lambda m: cc.create("jittercam(rise)", m), "smaller than the image"),
    "jittercam over fgcam": (lambda m: cc.create("jittercam(fgcam(gradcam))", m), "smaller than the image"),
    "jittercam over lrp": (lambda m: cc.create("jittercam(lrp)", m), "smaller than the image"),
    "jittercam over windows": (lambda m: cc.create("jittercam(sess)", m), "smaller than the image"),
    "guidedcam of a function": (lambda m: cc.GuidedCAM(lambda x: m(x), m.layer4), "torch.nn.Module"),
}


@pytest.mark.parametrize("name", ORDER)
def test_what_cannot_work_is_refused_when_it_is_made(model, name):
    action, words = ORDER[name]
    assert words in said(action, model)


@pytest.mark.parametrize("name", ANY_LAYER)
def test_what_a_class_declares_of_its_maps_is_so(name):
    network = NETWORKS["plain"]()
    cam = explainer(name, network, None if name in ("lrp", "sglrp", "clrp") else "features.5")
    if name == "cam":
        network = NETWORKS["residual"]()
        cam = cc.CAM(network, "layer4")
    components = cam.contributions(images(1), 1)
    assert cam.at_input_size == (components.shape[2:] == images().shape[2:])
    if isinstance(cam, cc.SpatialCAM):
        assert cam.per_channel == (components.shape[1] > 1 and name != "groupcam")


def test_wrappers_over_bases_that_serve_are_made(model):
    assert cc.create("jittercam(fgcam(gradcam))", model, to="layer3").base.to is model.layer3
    assert cc.create("jittercam(lrp)", model, "layer3").layer is model.layer3
    assert isinstance(cc.create("fgcam(eigencam)", model).base, cc.EigenCAM)


UNKNOWN = {
    "refinecam": 'fusion="product"',
    "guidedbackprop": "captum.attr.GuidedBackprop",
    "integratedgradients": "captum.attr.IntegratedGradients",
    "occlusion": "captum.attr.Occlusion",
    "scorcam": 'did you mean "scorecam"',
    "fgcam(scorcam)": 'did you mean "scorecam"',
    "gradcam()": 'must look like "gradcam"',
    "zzz": "captum_cams.names()",
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_names_that_are_absent(model, name):
    text = said(cc.create, name, model)
    assert UNKNOWN[name] in text
    assert len(text) < 200


def test_names_of_other_libraries_for_what_is_here(model):
    for name, cls in (
        ("GradCAMpp", cc.GradCAMPlusPlus),
        ("SmoothGradCAMpp", cc.SmoothGradCAMPlusPlus),
        ("RandomCAM", cc.Random),
        ("LayerGradCam", cc.GradCAM),
        ("GuidedGradCam", cc.GuidedCAM),
    ):
        assert type(cc.create(name, model)) is cls


def test_register_refuses_what_would_fail_later(model):
    assert "cost = Cost(gradients=1)" in said(cc.register, outside())
    assert "got '1 + gradient'" in said(cc.register, outside(cost="1 + gradient"))
    assert "Paper(authors" in said(cc.register, outside(cost=cc.Cost(), paper="Selvaraju et al., ICCV 2017"))
    taken = type("GradCAM", (cc.GradCAM,), {"cost": cc.Cost(), "__module__": "elsewhere", "__qualname__": "GradCAM"})
    assert '"gradcam"' in said(cc.register, taken)
    assert lookup("gradcam") is cc.GradCAM
    missing = type("Unfinished", (cc.SpatialCAM,), {"cost": cc.Cost()})
    assert "maps" in said(cc.register, missing)
    assert "GradCAM" in said(cc.register, nn.Conv2d)
    assert "GradCAM" in said(cc.register, cc.GradCAM(model))
    stubborn = outside(cost=cc.Cost(), __init__=lambda self, power: None)
    assert "forward_func" in said(cc.register, stubborn)

    def positional(self, forward_func, layer=None, device_ids=None, power=1):
        self.power = power

    def hiding(self, forward_func, layer=None, device_ids=None, *, power=1):
        cc.SpatialCAM.__init__(self, forward_func, layer, device_ids)

    assert "power by name only, got" in said(cc.register, outside(cost=cc.Cost(), __init__=positional))
    assert "write self.power = power" in said(cc.register, outside(cost=cc.Cost(), __init__=hiding))


def test_a_class_of_a_notebook_may_be_run_again(monkeypatch):
    known = dict(vars(cc.registry)["_classes"])
    monkeypatch.setattr(cc.registry, "_classes", known)
    first, second = outside(cost=cc.Cost()), outside(cost=cc.Cost(2))
    assert cc.register(first) is first
    assert cc.register(second) is second
    assert lookup("own") is second
    assert "own" in said(cc.register, outside(cost=cc.Cost(3), __module__="another"))


def test_needs_that_are_not_declared(model):
    for read, needed in (
        (lambda self, seen: seen.gradient, "needs_gradient = True"),
        (lambda self, seen: seen.resume(seen.activation, 0), "needs_resume = True"),
    ):
        assert needed in said(outside(cost=cc.Cost(), maps=read)(model).attribute, images())


def test_methods_of_an_evaluation(model):
    other = NETWORKS["residual"]()
    assert 'its name "gradcam" or GradCAM(model)' in said(named, [cc.GradCAM])
    assert 'its name "gradcam" or GradCAM(model)' in said(named, cc.GradCAM)
    assert 'its name "gradcam" or GradCAM(model)' in said(named, {"mine": cc.GradCAM})
    assert "got 3" in said(named, [3])
    assert "got None" in said(named, None)
    assert "another model" in said(make, cc.GradCAM(other), Network(model, None), None, "multiclass")
    assert 'did you mean "layer4"' in said(make, "gradcam", Network(model, None), "layer5.0", "multiclass").replace(
        "layer4.0", "layer4"
    )
    loader = torch.utils.data.DataLoader([(image, 0) for image in images(2)], 2)
    assert 'its name "gradcam"' in said(evaluate, model, loader, [cc.GradCAM])
