"""What a constructor takes is what the explainer says it holds."""

import inspect

import pytest
import torch
from torch import nn

import captum_cams as cc
from captum_cams.registry import lookup, wrappers
from tests.support.arguments import other
from tests.support.evaluation_run import network
from tests.support.explainers import explainer


def arguments(cls):
    return {
        name: one.default
        for base in cls.__mro__
        if "__init__" in vars(base) and issubclass(base, cc.CAMAttribution)
        for name, one in inspect.signature(base.__init__).parameters.items()
        if one.kind is one.KEYWORD_ONLY
    }


@pytest.mark.parametrize("name", cc.names())
def test_every_argument_is_an_attribute_and_shows(name):
    model, cls = network(), lookup(name)
    plain = cc.create(name, model)
    assert set(arguments(cls)) == set(plain.hyperparameters) - {"base"}
    assert ("base" in plain.hyperparameters) == (name in wrappers())
    for key, held in plain.hyperparameters.items():
        assert hasattr(plain, key)
        if key == "base" or (name, key) == ("fgcam", "reshape"):  # FG-CAM takes no reshape
            continue
        changed = cc.create(name, model, **{key: other(key, held)}).hyperparameters
        assert changed != plain.hyperparameters, key
        assert {one for one in changed if changed[one] != plain.hyperparameters[one]} <= {key, "base"}
    assert cc.create(name, model).hyperparameters == plain.hyperparameters


def test_the_base_shows_with_its_own_arguments_and_modules_by_name():
    model = network()
    nested = cc.create("fgcam(fdcam)", model, percentile=3.0, to="0").hyperparameters
    assert nested["base"]["class"] == "FDCAM"
    assert nested["base"]["percentile"] == 3.0
    assert nested["to"] == "0"
    assert cc.FGCAM(model).hyperparameters["to"] == "input"
    assert cc.MultiLayerCAM(model, layers=[model[0], "2"]).hyperparameters["layers"] == ["0", "2"]


@pytest.mark.parametrize("name", ["gradcam", "multilayercam", "fgcam(gradcam)", "sess"])
def test_the_first_use_changes_nothing(name):
    cam = explainer(name, network())
    before = dict(cam.hyperparameters)
    cam.attribute(torch.rand(1, 3, 24, 24))
    assert cam.hyperparameters == before


def test_an_attribute_that_is_changed_later_counts():
    model, images = network(), torch.rand(2, 3, 24, 24)
    cam = cc.LRP(model, pixel_range=(0.0, 1.0))
    cam.pixel_range = None
    assert torch.equal(cam.attribute(images), cc.LRP(model).attribute(images))


def test_a_class_that_hides_an_argument_is_told():
    class Hiding(cc.GradCAM):
        def __init__(self, forward_func, layer=None, device_ids=None, *, power=1.0):
            super().__init__(forward_func, layer, device_ids)
            self._power = power

    with pytest.raises(cc.CAMError, match=r"Hiding must keep its argument power .* self.power = power"):
        _ = Hiding(nn.Identity()).hyperparameters
