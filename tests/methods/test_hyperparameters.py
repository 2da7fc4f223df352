"""What a constructor takes is what the explainer says it holds."""

import copy
import inspect
import pickle

import pytest
import torch
from torch import nn

import captum_cams as cc
from captum_cams.registry import lookup, wrappers
from tests.support.arguments import other
from tests.support.evaluation_run import network
from tests.support.explainers import QUICK, explainer


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
    assert set(arguments(cls)) == set(plain.hyperparameters)
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


def test_what_is_shown_is_the_class_the_layer_and_what_differs():
    model = network()
    shown = {
        "GradCAM()": cc.GradCAM(model),
        'FDCAM(layer="0", percentile=10.0)': cc.FDCAM(model, model[0], percentile=10.0),
        'ScoreCAM(mask_order="normalise_first")': cc.create("scorecam", model, mask_order="normalise_first"),
        "GradCAM(task=scores)": cc.GradCAM(model, task=scores),
        'FGCAM(base=FDCAM(layer="2"), to="0")': cc.create("fgcam(fdcam)", model, "2", to="0"),
        "JitterCAM()": cc.create("jittercam", model),
    }
    for text, cam in shown.items():
        assert repr(cam) == text


def scores(output):
    return output


@pytest.mark.parametrize("name", cc.names())
def test_an_explainer_is_shown_without_a_run(name):
    model = network()
    model.register_forward_pre_hook(lambda module, args: pytest.fail("the model was run"))
    text = repr(explainer(name, model))
    assert text.startswith(f"{lookup(name).__name__}(")
    assert all(f"{key}=" in text for key in QUICK.get(name, {}))
    assert len(text) < 220
    assert repr(cc.create(name, model)) == f"{lookup(name).__name__}()"


@pytest.mark.parametrize("name", cc.names())
def test_equal_are_those_of_one_class_model_layer_and_hyperparameters(name):
    model, layer = network(), None if name == "multilayercam" else "2"
    cam = cc.create(name, model, layer)
    assert cam == cc.create(name, model, layer)
    assert hash(cam) == hash(cc.create(name, model, layer))
    assert cam != cc.create(name, network(), layer)
    assert cam != cc.create("gradcam" if name != "gradcam" else "layercam", model, layer)
    assert name == "multilayercam" or cam != cc.create(name, model)
    assert cam != name
    for key, held in cam.hyperparameters.items():
        if key == "base" or (name, key) == ("fgcam", "reshape"):
            continue
        assert cc.create(name, model, layer, **{key: other(key, held)}) != cam, key
    for copied in (copy.deepcopy(cam), pickle.loads(pickle.dumps(cam))):
        assert copied.hyperparameters == cam.hyperparameters
        assert repr(copied) == repr(cam)
        assert copied != cam  # its model is another one
        assert len({cam, copied, cc.create(name, model, layer)}) == 2


@pytest.mark.parametrize("name", ["gradcam", "fgcam(gradcam)", "multilayercam"])
def test_a_call_leaves_an_explainer_equal_to_a_new_one(name):
    model = network()
    cam = explainer(name, model)
    text = repr(cam)
    cam.attribute(torch.rand(1, 3, 24, 24))
    assert cam == explainer(name, model)
    assert repr(cam) == text


def test_wrappers_of_different_bases_are_different():
    model = network()
    assert cc.create("fgcam(gradcam)", model) != cc.create("fgcam(fdcam)", model)
    assert cc.create("fgcam(fdcam)", model) != cc.create("fgcam(fdcam)", model, percentile=3.0)
    namesake = type("GradCAM", (cc.GradCAM,), {})
    assert cc.create("jittercam", model) != cc.JitterCAM(model, base=namesake(model))


def test_bounds_of_pixels_compare_whatever_holds_them():
    model, low, high = network(), [0.0, 0.0, 0.5], [1.0, 1.0, 1.5]
    tensors = [cc.LRP(model, pixel_range=(torch.tensor(low), torch.tensor(high))) for _ in range(2)]
    assert tensors[0] == tensors[1] == cc.LRP(model, pixel_range=(low, high))


@pytest.mark.parametrize(
    ("name", "key", "before"),
    [
        ("scorecam", "mask_order", "upsample first"),
        ("fdcam", "combine", "biased exponential"),
        ("gradcam", "reshape", "channels last"),
    ],
)
def test_a_choice_that_is_spelled_with_blanks_gets_the_name(name, key, before):
    now = before.replace(" ", "_")
    with pytest.raises(cc.CAMError, match=f"{key} must be one of .* got '{before}'; did you mean \"{now}\""):
        cc.create(name, network(), **{key: before})


class Bounded(cc.GradCAM):
    def __init__(self, forward_func, layer=None, device_ids=None, *, bounds=None, **options):
        super().__init__(forward_func, layer, device_ids, **options)
        if bounds is None:
            raise LookupError("no bounds")
        self.bounds = bounds


def test_comparing_and_printing_never_fail_because_of_values():
    model, low = network(), torch.tensor([0.0, 0.5])
    named, copied = Bounded(model, bounds={"low": low}), Bounded(model, bounds={"low": low.clone()})
    assert named == copied
    assert named.hyperparameters["bounds"] == {"low": [0.0, 0.5]}
    assert named != Bounded(model, bounds={"low": low + 1})
    assert repr(named) == "Bounded(reshape=None, task=\"multiclass\", bounds={'low': [0.0, 0.5]})"
    unknown = Bounded(model, bounds=torch.tensor([torch.nan]))
    assert unknown == unknown
