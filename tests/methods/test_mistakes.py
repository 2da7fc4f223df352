"""Targets, layers and arguments as people type them who come from another library, or are in a hurry."""

import numpy as np
import pytest
import torch
from torch import nn

import captum_cams as cc
from captum_cams.metrics import average_drop
from captum_cams.registry import lookup
from tests.support.explainers import explainer
from tests.support.networks import NETWORKS, images
from tests.support.refusals import said


@pytest.fixture(scope="module")
def model():
    return NETWORKS["residual"]()


TARGETS = {
    "a negative class": (-1, "a label of -1 often means no label, so it is not counted from the end: pass 9"),
    "negative classes": ([0, -1, 2], "not counted from the end: pass 9"),
    "a name": ("cat", "index"),
    "an array of names": (np.array(["cat", "dog", "fox"]), "got the name 'cat'"),
    "a logical value": (True, "got True"),
    "NumPy's logical value": (np.bool_(True), "integer"),
    "an array of logical values": (np.array([True, False, True]), "integer"),
    "an array of floats": (np.array([1.0, 2.0, 3.0]), "got 1.0"),
    "one-hot rows": (torch.eye(10, dtype=torch.long)[:3], ".argmax(1)"),
    "one-hot rows of NumPy": (np.eye(10, dtype=int)[:3], ".argmax(1)"),
    "a tuple for a batch": ((1, 2, 3), "pass a list for one target per sample: [1, 2, 3]"),
    "a dictionary": ({"target": 3}, "got {'target': 3}"),
    "functions in a tuple": ((lambda y: y[:, 0],) * 3, "list"),
    "scores": (torch.rand(3, 10), ".argmax(1)"),
    "a class not there": (np.int64(10), "must be in 0…9, got 10"),
}


@pytest.mark.parametrize("name", TARGETS)
def test_targets_that_cannot_be_taken(model, name):
    target, words = TARGETS[name]
    for method in ("gradcam", "lrp", "jittercam"):
        assert words in said(explainer(method, model).attribute, images(3), target)


TAKEN = {
    "NumPy's integer": np.int64(3),
    "NumPy's small integer": np.uint8(3),
    "an array": np.array([3, 3, 3]),
    "an array of one": np.array([3]),
    "an array without axes": np.array(3),
    "NumPy's integers in a list": [np.int64(3), np.int32(3), 3],
    "scalar tensors in a list": [torch.tensor(3)] * 3,
    "NumPy's integers in a tuple": (np.int64(3),),
    "tuples of NumPy's integers": [(np.int64(3),)] * 3,
    "a small tensor": torch.tensor([3], dtype=torch.uint8),
}


@pytest.mark.parametrize("name", TAKEN)
def test_targets_of_numpy_and_torch_are_taken(model, name):
    for method in ("gradcam", "lrp", "multilayercam"):
        cam = explainer(method, model)
        assert torch.equal(cam.attribute(images(3), TAKEN[name]), cam.attribute(images(3), 3))
    maps = images(3)[:, :1]
    assert torch.equal(average_drop(model, images(3), maps, TAKEN[name]), average_drop(model, images(3), maps, 3))


# In the constructor, through create, and in the call: the names of pytorch-grad-cam, TorchCAM and Captum.
IN_THE_CONSTRUCTOR = {
    "target_layers": "MultiLayerCAM(model, layers=",
    "target_layer": "called layer",
    "conv_layer": "called layer",
    "reshape_transform": "called reshape",
    "use_cuda": "on the device of the model",
    "device": "on the device of the model",
    "input_shape": "first call",
    "batch_size": "perturbations_per_eval",
    "targets": "attribute",
    "target": "attribute",
}
IN_THE_CALL = {
    "input_tensor": "called inputs",
    "images": "called inputs",
    "targets": "called target",
    "target_category": "called target",
    "class_idx": "called target",
    "eigen_smooth": "EigenCAM",
    "aug_smooth": "AugmentedCAM",
    "relu": "relu_attributions",
    "targt": 'did you mean "target"',
    "colour": "it has inputs, target",
}


@pytest.mark.parametrize("key", IN_THE_CONSTRUCTOR)
def test_names_of_other_libraries_in_the_constructor(model, key):
    words = IN_THE_CONSTRUCTOR[key]
    for cls in (cc.GradCAM, cc.RISE, cc.LRP, cc.FGCAM, cc.MultiLayerCAM):
        if key in ("batch_size",) and cls is not cc.RISE:
            continue
        assert words in said(lambda cls=cls: cls(model, **{key: 1}))
        assert words in said(lambda cls=cls: cc.create(cls.__name__, model, **{key: 1}))
        assert "forward_func" in said(lambda cls=cls: cls(model=model))
    assert "forward_func" in said(lambda: cc.create("gradcam", model=model))
    assert "forward_func" in said(lambda: cc.create("gradcam", model, model=model))


@pytest.mark.parametrize("key", IN_THE_CALL)
def test_names_of_other_libraries_in_the_call(model, key):
    for method in ("gradcam", "jittercam"):
        cam = explainer(method, model)
        given = {} if IN_THE_CALL[key] == "called inputs" else {"inputs": images()}
        assert IN_THE_CALL[key] in said(lambda cam=cam, given=given: cam.attribute(**given, **{key: images()}))
    if key not in ("relu", "colour"):
        assert IN_THE_CALL[key] in said(lambda: cc.GradCAM(model).heatmap(images(), **{key: 1}))


@pytest.mark.parametrize("name", cc.names())
def test_a_misspelt_option_gets_one_hint_everywhere(model, name):
    cls = lookup(name)
    for key, hint in (("reshpe", 'did you mean "reshape"?'), ("zzz", "it has ")):
        text = said(lambda key=key: cls(model, **{key: 1}))
        assert text.startswith(f'{cls.__name__} has no option "{key}"')
        assert hint in text
        assert text == said(lambda key=key: cc.create(name, model, **{key: 1}))


def test_options_of_a_class_that_hands_none_on():
    class Narrow(cc.GradCAM):
        def __init__(self, forward_func, layer=None, *, power=1):
            super().__init__(forward_func, layer)

    text = said(lambda: Narrow(NETWORKS["residual"](), reshape="tokens"))
    assert text.endswith('has no option "reshape"; it has power')


def test_an_explainer_is_no_function_and_may_stand_in_a_with(model):
    text = said(cc.GradCAM(model), images())
    assert ".attribute(" in text
    assert ".heatmap(" in text
    with cc.GradCAM(model) as cam:
        assert torch.equal(cam.attribute(images()), cc.GradCAM(model).attribute(images()))
    assert "error" in said_within(model)


def said_within(model) -> str:
    with pytest.raises(RuntimeError, match="error") as caught, cc.GradCAM(model):
        raise RuntimeError("an error is not swallowed")
    return str(caught.value)


LAYERS = {
    "a list of modules": (lambda m: [m.layer4], "pass the module itself"),
    "several": (lambda m: [m.layer3, m.layer4], "MultiLayerCAM(model, layers="),
    "a list of names": (lambda m: ["layer4"], "pass the module itself"),
    "one letter": (lambda m: "layr4", 'did you mean "layer'),
    "with the model's name": (lambda m: "model.layer4", 'did you mean "layer4"'),
    "with brackets": (lambda m: "layer4[0].conv1", 'did you mean "layer4.0.conv1"'),
    "none like it": (lambda m: "zzz", "conv1, bn1, layer1, layer2, layer3, layer4, avgpool, fc"),
    "nothing": (lambda m: "", "name"),
    "a number": (lambda m: -1, "got -1"),
    "a class": (lambda m: nn.Conv2d, "the class Conv2d"),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers(model, name):
    layer, words = LAYERS[name]
    text = said(lambda: cc.GradCAM(model, layer(model)))
    assert words in text
    assert "(" not in text.replace("MultiLayerCAM(model, layers=", "").replace("model.layer4)", "")


def test_the_names_of_a_long_network_are_few():
    network = nn.Sequential(*(nn.Conv2d(3, 3, 1) for _ in range(200)))
    text = said(lambda: cc.GradCAM(network, "features"))
    assert "199" in text
    assert "100" not in text
    assert len(text) < 160
