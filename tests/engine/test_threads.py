"""Two threads in one process: each does what it does alone."""

import threading
import time
import warnings

import pytest
import torch
from torch import nn

import captum_cams as cc
from captum_cams.engine.turn import Turn
from captum_cams.engine.untouched import untouched
from tests.support.networks import NETWORKS, TinyVGG, images, seeded

SECONDS = 0.35


def together(*actions, seconds=SECONDS, least=2):
    """Every action over and over in a thread of its own; the first exception of any of them is raised here."""
    failed: list[BaseException] = []
    counts = [0] * len(actions)
    stop = threading.Event()

    def repeat(place):
        try:
            while not stop.is_set():
                actions[place]()
                counts[place] += 1
        except BaseException as error:
            failed.append(error)
            stop.set()

    threads = [threading.Thread(target=repeat, args=(place,)) for place in range(len(actions))]
    for thread in threads:
        thread.start()
    start = time.monotonic()
    while not stop.is_set() and (time.monotonic() - start < seconds or min(counts) < least):
        assert time.monotonic() - start < 30, f"nobody comes to an end: {counts}"
        time.sleep(0.01)
    stop.set()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]


def explaining(name, model, layer=None, target=3):
    x = images(1)
    layers = {} if layer is None else {"layer": layer}
    expected = cc.create(name, model, **layers).attribute(x, target)

    def explain():
        found = cc.create(name, model, **layers).attribute(x, target)
        assert float((found - expected).abs().max()) <= 1e-4 * float(expected.abs().max())

    return explain


def predicting(model):
    x = images(2, seed=5)
    with torch.no_grad():
        expected = model(x)

    def predict():
        with torch.no_grad():
            output = model(x)
            assert not torch.is_grad_enabled()
        assert not output.requires_grad
        torch.testing.assert_close(output, expected, rtol=1e-4, atol=1e-5)

    return predict


KINDS = ["gradcam", "fdcam", "reciprocam", "cam", "lrp", "lrpcam", "guidedcam(gradcam)", "fgcam(gradcam)"]


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("other", ["the same model", "another model"])
def test_one_thread_explains_while_another_predicts(name, other):
    guided = name.startswith("guided")
    model = NETWORKS["plain" if guided else "residual"]()
    layer = "features.8" if guided else "layer4" if name == "cam" else None if name in ("lrp", "gradcam") else "layer3"
    predicted = model if other == "the same model" else NETWORKS["batch norm"]()
    together(explaining(name, model, layer), predicting(predicted), seconds=0.2)


@pytest.mark.parametrize("names", [("fdcam", "fdcam"), ("liftcam", "gradcam"), ("multilayercam(gradcam)",) * 2])
def test_two_threads_explain_one_model_in_train_mode(names):
    model = NETWORKS["plain"]().train()
    layer = None if "multi" in names[0] else "features.10"
    together(*(explaining(name, model, layer) for name in names))
    assert all(module.training for module in model.modules())


def test_lift_cam_lets_another_thread_predict_through_the_modules_that_captum_hooks():
    model = NETWORKS["plain"]()
    together(explaining("liftcam", model, "features.10"), predicting(model))


def test_two_models_that_share_modules():
    first = NETWORKS["residual"]()
    second = nn.Sequential(first.conv1, first.bn1, first.layer1, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))
    first.train()
    second.train()
    before = [sorted(vars(module)) for module in first.modules()]
    together(explaining("fdcam", first, "layer1"), explaining("reciprocam", second, "2"))
    assert all(module.training for module in (*first.modules(), *second.modules()))
    assert [sorted(vars(module)) for module in first.modules()] == before


def test_two_threads_share_one_explainer():
    cam, x = cc.MultiLayerCAM(NETWORKS["residual"]()), images(1)
    expected = cam.attribute(x, 2)

    def explain():
        assert torch.equal(cam.attribute(x, 2), expected)

    together(explain, explain)
    assert cam.base.layer is None


@pytest.mark.parametrize("explained", ["a module", "a function"])
def test_a_training_of_another_model_is_not_touched(explained):
    """Neither its flags, nor the random numbers of its dropout, nor its warnings."""
    trained = seeded(lambda: TinyVGG(batch_norm=True)).train()
    model, x = NETWORKS["residual"](), images(1)
    cam = cc.FDCAM(model, "layer3") if explained == "a module" else cc.FDCAM(lambda image: model(image), model.layer3)
    expected = cam.attribute(x, 1)
    drawn, batch = [], images(2)

    def train():
        loss = trained(batch).sum()
        loss.backward()
        assert all(module.training for module in trained.modules())
        drawn.append(torch.rand(1).item())
        time.sleep(0.002)

    def explain():
        torch.testing.assert_close(cam.attribute(x, 1), expected, rtol=0, atol=1e-4 * float(expected.abs().max()))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        together(explain, train, least=5)
    assert len(set(drawn)) == len(drawn)


class Noisy(nn.Module):
    """Draws numbers when it predicts."""

    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4, 3)

    def forward(self, x):
        return self.fc(nn.functional.dropout(self.conv(x), 0.1).mean((2, 3)))


@pytest.mark.parametrize("threads", [1, 2])
def test_what_the_explained_model_draws_is_put_back(threads):
    done = threading.Event()
    waiting = [threading.Thread(target=done.wait) for _ in range(threads - 1)]
    for thread in waiting:
        thread.start()
    before = torch.get_rng_state()
    cc.GradCAM(seeded(Noisy), "conv").attribute(images(1), 1)
    done.set()
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.filterwarnings("ignore")  # the compiler's own
def test_the_compilers_stance_is_what_it_was_after_two_threads_have_left():
    calls = []

    def backend(graph, examples):
        calls.append("compiled")
        return graph.forward

    models = [NETWORKS["residual"]() for _ in range(2)]
    for model in models:
        model.layer4 = torch.compile(model.layer4, backend="eager")
    together(*(explaining("gradcam", model, "layer3") for model in models), seconds=0.3)
    torch.compile(nn.Linear(2, 2), backend=backend)(torch.zeros(1, 2))
    assert calls


@pytest.mark.filterwarnings("error")
def test_a_compiled_model_of_another_thread_sees_no_hooks():
    other, x = torch.compile(NETWORKS["plain"](), backend="eager"), images(2)
    with torch.no_grad():
        other(x)
    model = NETWORKS["residual"]()
    together(explaining("fdcam", model, "layer3"), predicting(other))


def test_a_turn_can_be_taken_again_and_is_given_in_order():
    model, order = nn.Sequential(nn.ReLU()), []

    def explain(name):
        with untouched(model):
            order.append(name)

    with Turn() as turn:
        turn.take(model.modules())
        with untouched(model):  # the same thread, as a wrapper's base
            pass
        threads = [threading.Thread(target=explain, args=(name,)) for name in "abc"]
        for thread in threads:
            thread.start()
            time.sleep(0.02)
        assert not order
    for thread in threads:
        thread.join()
    assert order == ["a", "b", "c"]
