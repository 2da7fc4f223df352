"""Every mistake that a user can make gets a message with what was expected, what came and the remedy."""

import math

import pytest
import torch
from torch import nn

import captum_cams as cc
from captum_cams.metrics import InsertionAUC, deletion_curve
from captum_cams.visual import displayable
from tests.support.explainers import explainer
from tests.support.networks import NETWORKS, images


@pytest.fixture
def model():
    return NETWORKS["residual"]()


class Never(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model, self.unused = model, nn.Conv2d(3, 3, 1)

    def forward(self, x):
        return self.model(x)


class Detached(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4, 5)

    def forward(self, x):
        return self.fc(self.conv(x).detach().mean((2, 3)))


def message(action) -> str:
    with pytest.raises(cc.CAMError) as caught:
        action()
    return str(caught.value)


def test_layer_never_reached(model):
    text = message(lambda: cc.GradCAM(Never(model), "unused").attribute(images()))
    assert "layer unused (Conv2d) was never reached" in text
    assert "pass a layer" in text


def test_layer_output_without_a_map(model):
    text = message(lambda: cc.GradCAM(model, "fc").attribute(images(3)))
    assert "N×K×h×w with N = 3 for inputs 3×3×40×40, got 3×10" in text


def test_layer_with_two_outputs():
    lstm = nn.LSTM(40, 4, batch_first=True)
    net = nn.Sequential(nn.Conv2d(3, 1, 1), nn.Flatten(1, 2), lstm)
    text = message(lambda: cc.GradCAM(lambda x: net(x)[0][:, -1], lstm).attribute(images()))
    assert "one tensor N×K×h×w, got (Tensor, tuple)" in text


def test_output_not_classes_for_an_int_target(model):
    net = nn.Sequential(model.conv1, nn.ReLU(), nn.Conv2d(8, 5, 1))
    text = message(lambda: cc.GradCAM(net).attribute(images(), 3))
    assert "an int needs an N×classes output" in text
    text = message(lambda: cc.GradCAM(net).attribute(images()))
    assert "target=None explains the predicted class of an N×classes output, got 3×5×20×20" in text
    assert cc.GradCAM(net).attribute(images(), (3, 4, 4)).shape == (3, 1, 20, 20)


def test_output_no_tensor(model):
    text = message(lambda: cc.GradCAM(lambda x: {"one": model(x), "two": model(x)}, model.layer4).attribute(images()))
    assert "got dict with" in text
    assert "wrap it in a module" in text


@pytest.mark.parametrize("target", [10, -11, -1, [0, 1, 10], torch.tensor([1, 2, 99])])
def test_target_out_of_range(model, target):
    assert "must be in 0…9" in message(lambda: cc.GradCAM(model).attribute(images(3), target))


@pytest.mark.parametrize("target", [[1, 2], torch.tensor([1, 2])])
def test_target_of_the_wrong_length(model, target):
    assert "expected 3, got 2" in message(lambda: cc.GradCAM(model).attribute(images(3), target))


@pytest.mark.parametrize("target", [1.5, "cat", torch.tensor([1.0, 2.0, 3.0]), True, torch.tensor(True)])
def test_target_of_the_wrong_type(model, target):
    assert "integer" in message(lambda: cc.GradCAM(model).attribute(images(3), target))


@pytest.mark.parametrize(
    "target", [3, torch.tensor(3), torch.tensor([[3]]), torch.tensor([3, 3, 3]), [3, 3, 3], (3,), [(3,)] * 3]
)
def test_captums_forms_of_target_are_one(model, target):
    cam = cc.GradCAM(model)
    assert torch.equal(cam.attribute(images(3), target), cam.attribute(images(3), 3))


@pytest.mark.parametrize(("value", "kind"), [(math.nan, "NaN"), (math.inf, "Inf")])
def test_nan_and_inf_are_named_with_layer_and_sample(model, value, kind):
    x = images(3)
    x[1, 0, 0, 0] = value
    text = message(lambda: cc.GradCAM(model, "layer4").attribute(x))
    assert "activations of layer layer4 (Sequential)" in text
    assert "in sample 1;" in text
    with torch.no_grad():
        model.fc.bias[2] = value
    text = message(lambda: cc.GradCAM(model).attribute(images(3), 2))
    assert "scores of the model (TinyRes)" in text
    assert kind in text


@pytest.mark.parametrize("name", cc.names())
def test_empty_batch(model, name):
    assert "at least one sample" in message(lambda: explainer(name, model).attribute(torch.empty(0, 3, 40, 40)))


@pytest.mark.parametrize("name", ["gradcam", "scorecam", "jittercam", "fgcam", "lrp", "guidedcam"])
def test_an_image_without_a_batch_axis(model, name):
    assert "add the batch axis: image[None]" in message(lambda: explainer(name, model).attribute(images(1)[0]))


def test_inputs_that_are_no_tensor(model):
    assert "got list" in message(lambda: cc.GradCAM(model).attribute([images()]))


def test_cam_on_a_head_that_is_not_pooling_and_linear():
    text = message(lambda: cc.CAM(NETWORKS["plain"]()).attribute(images()))
    assert "global average pooling and one linear layer" in text
    assert "use Grad-CAM" in text


def test_unknown_names(model):
    assert message(lambda: cc.create("fdcan", model)) == 'unknown CAM "fdcan"; did you mean "fdcam"?'
    assert "captum_cams.names() lists" in message(lambda: cc.create("zzz", model))
    assert '"layer4"' in message(lambda: cc.GradCAM(model, "layer5"))
    assert message(lambda: InsertionAUC(preset="risee")) == 'unknown preset "risee"; did you mean "rise"?'
    assert "there are rise, fdcam, fgcam, " in message(lambda: InsertionAUC(preset="zzz"))
    assert "unknown preset 3; there are " in message(lambda: InsertionAUC(preset=3))
    assert message(lambda: cc.FDCAM(model, score="logits")).endswith("got 'logits'; did you mean \"logit\"?")


def test_peers_spellings_are_understood(model):
    assert isinstance(cc.create("Grad-CAM++", model), cc.GradCAMPlusPlus)


def test_unknown_option(model):
    assert "percentle" in message(lambda: cc.create("fdcam", model, percentle=5))


@pytest.mark.parametrize(
    "options",
    [
        {"percentile": 0},
        {"percentile": 120},
        {"combine": "sum"},
        {"score": "loss"},
        {"perturbations_per_eval": 0},
    ],
)
def test_options_of_fdcam_are_checked_at_once(model, options):
    assert next(iter(options)) in message(lambda: cc.FDCAM(model, **options))


def test_a_function_needs_a_layer(model):
    assert "pass the layer as a module" in message(lambda: cc.GradCAM(lambda x: model(x)).attribute(images()))
    assert "pass the module" in message(lambda: cc.GradCAM(lambda x: model(x), "layer4"))


def test_no_map_at_all():
    net = nn.Sequential(nn.Flatten(), nn.Linear(4800, 10))
    assert "needs a layer with positions" in message(lambda: cc.GradCAM(net).attribute(images()))


def test_a_score_that_does_not_depend_on_the_layer():
    net = Detached().eval()
    assert "must depend on layer conv (Conv2d)" in message(lambda: cc.GradCAM(net, "conv").attribute(images()))


def test_metrics_check_their_maps(model):
    x = images(3)
    assert "got 3×3×40×40 and 2×1×5×5" in message(lambda: deletion_curve(model, x, torch.rand(2, 1, 5, 5)))
    assert "maps must be finite" in message(lambda: deletion_curve(model, x, torch.full((3, 5, 5), math.nan)))
    assert "must be in 0…9" in message(lambda: deletion_curve(model, x, torch.rand(3, 5, 5), 12))


def test_pictures_check_their_images():
    assert "N×C×H×W" in message(lambda: displayable(torch.rand(3, 4, 4)))
    assert "pass both, or neither" in message(lambda: displayable(torch.rand(1, 3, 4, 4), mean=(0.5,) * 3))
