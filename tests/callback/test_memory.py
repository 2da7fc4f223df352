"""Where memory does not suffice, less is run at once, in copies of the explainers."""

import weakref

import pytest
import torch

import captum_cams as cc
from captum_cams.metrics.annotation import Annotation
from captum_cams.metrics.protocols import Protocol
from lightning_callbacks import CAMCallback
from lightning_callbacks.callback.image_explainer import ImageExplainer
from lightning_callbacks.callback.selection import Sample
from lightning_callbacks.memory import lighter, run_size
from tests.support.lightning_modules import Net
from tests.support.training import fit

RUNS = []


class Narrow(Net):
    """Has memory for so many images at once, when it is not trained."""

    limit = 10**6

    def forward(self, x):
        if not self.training and len(x) > self.limit:
            raise torch.OutOfMemoryError(f"CUDA out of memory: {len(x)} images")
        if not self.training:
            RUNS.append(len(x))
        return super().forward(x)

    def validation_step(self, batch, batch_idx):
        pass


METHODS = {
    "a method": lambda model: cc.ScoreCAM(model, perturbations_per_eval=8),
    "the base of a wrapper": lambda model: cc.FGCAM(model, base=cc.ScoreCAM(model, perturbations_per_eval=8)),
    "a wrapper and its base": lambda model: cc.AugmentedCAM(
        model, base=cc.ScoreCAM(model, perturbations_per_eval=8), perturbations_per_eval=4
    ),
}


def sizes(explainer):
    found = [explainer.perturbations_per_eval] if hasattr(explainer, "perturbations_per_eval") else []
    return found + (sizes(explainer.base) if hasattr(explainer, "base") else [])


@pytest.mark.parametrize("method", METHODS)
def test_what_is_run_is_halved_and_what_was_given_is_not(tmp_path, method):
    model = Narrow()
    explainer = METHODS[method](model)
    before, options = sizes(explainer), explainer.hyperparameters
    callback = CAMCallback({"one": explainer}, num_images=3, metrics=("complexity",), on_error="raise")
    model.limit = 2
    RUNS.clear()
    fit(tmp_path, callback, model=model, logger=False, max_epochs=1)
    assert max(RUNS) == 2
    assert sizes(explainer) == before
    assert explainer.hyperparameters == options
    model.limit = 10**6
    model.eval()
    rows = callback.explained["validation"]
    images, classes = torch.stack([row.image for row in rows]), [row.predicted for row in rows]
    maps = torch.stack([row.maps["one"]["predicted"] for row in rows])
    torch.testing.assert_close(maps, explainer.attribute(images, classes), rtol=1e-4, atol=1e-5)


def test_a_copy_shares_nothing_that_is_changed():
    model = Net()
    for make in METHODS.values():
        explainer = make(model)
        copy = lighter(explainer, 4)
        assert sizes(copy) == [max(1, size // 4) for size in sizes(explainer)]
        assert run_size(explainer) == max(sizes(explainer))
        assert run_size(lighter(explainer, 1000)) == 1
        assert type(copy) is type(explainer)
        assert copy.forward_func is model


class Hungry(cc.GradCAM):
    """Has memory for so many images at once, and keeps a tensor until then."""

    limit = 0

    def explain(self, call):
        if call.samples > self.limit:
            kept = torch.zeros(3)
            HELD.append(weakref.ref(kept))
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().explain(call)


class Behind(cc.GradCAM):
    """Comes after another method, and notes what that has left."""

    def explain(self, call):
        RUNS.append(call.samples)
        assert not [held for held in HELD if held() is not None]
        return super().explain(call)


HELD = []


def explained(methods, model, count=4):
    RUNS.clear()
    HELD.clear()
    explainer = ImageExplainer(methods, None, None, Protocol(("complexity",)))
    samples = [Sample(image, Annotation()) for image in torch.rand(count, 3, 16, 16)]
    return explainer, list(explainer.explain(model, samples))


@pytest.mark.parametrize("limit", [1, 2])
def test_no_method_runs_on_images_that_are_explained_again(limit):
    model = Net()
    hungry = Hungry(model)
    hungry.limit = limit
    _, outcomes = explained({"hungry": hungry, "behind": Behind(model)}, model)
    assert [failure for outcome in outcomes for failure in outcome.failures] == []
    assert [limit] * (4 // limit) == RUNS


def test_a_failure_of_memory_leaves_it_to_the_next_method():
    model = Net()
    _, outcomes = explained({"hungry": Hungry(model), "behind": Behind(model)}, model, count=1)
    assert [(failure.method, type(failure.error)) for failure in outcomes[-1].failures] == [
        ("hungry", torch.OutOfMemoryError)
    ]


def test_a_copy_remembers_the_layer_that_it_found(caplog):
    model = Narrow()
    model.limit = 2
    with caplog.at_level("INFO", "captum_cams"):
        explainer, _ = explained({"one": "augmentedcam(gradcam)"}, model)
    searches = [record for record in caplog.records if "layer" in record.getMessage()]
    assert explainer.descriptions()["one"].startswith("features.4 | ")
    assert len(searches) == 1
