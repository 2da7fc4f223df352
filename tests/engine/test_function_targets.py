"""Targets that are functions of the model's output: segmentation, detection, embeddings."""

import inspect
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import captum_cams as cc
from captum_cams.metrics import functional
from captum_cams.registry import lookup
from tests.support.explainers import ANYWHERE, EVERY, explainer
from tests.support.networks import NETWORKS, images, seeded

CLASSES = ("cam", "clrp", "sglrp", "relevancecam")  # set one class against the others
NAMES = [name for name in ANYWHERE if not name.startswith(CLASSES)]


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("sess")])  # weighs by probability
def test_the_logit_as_a_function_is_the_logit(name):
    model, x = NETWORKS["batch norm"](), images(3)
    # These score probabilities unless the target is a function, which is taken as it is.
    logit = name.split("(")[0] not in ("rise", "groupcam", "polycam")
    cam = explainer(name, model)
    found = cam.attribute(x, lambda output: output[:, 4] if logit else output.softmax(1)[:, 4])
    expected = explainer(name, model).attribute(x, 4)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4 * float(expected.abs().max()) + 1e-12)


class Segmenter(nn.Module):
    """Logits of every pixel, in a dict as torchvision gives them."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU())
        self.head = nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"out": F.interpolate(self.head(self.encoder(x)), x.shape[2:], mode="bilinear")}


class Detector(nn.Module):
    """A list with a dict of boxes and scores for every image."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU())
        self.head = nn.Linear(8, 6)

    def forward(self, x: Tensor) -> list[dict[str, Tensor]]:
        scores = self.head(self.encoder(x).mean((2, 3)))
        return [{"boxes": torch.zeros(6, 4), "scores": row} for row in scores]


class Heads(NamedTuple):
    """What a model with two heads returns."""

    size: Tensor
    scores: Tensor


FORMS = {
    "tuple": (lambda size, scores: (size, scores), lambda out: out[1][:, 4]),
    "list": (lambda size, scores: [size, scores], lambda out: out[1][:, 4]),
    "tuple with names": (Heads, lambda out: out.scores[:, 4]),
    "tuple in a tuple": (lambda size, scores: (size, (scores, None)), lambda out: out[1][0][:, 4]),
}


@pytest.mark.parametrize("form", FORMS)
def test_two_heads_in_any_form_are_read_by_the_function(form):
    make, target = FORMS[form]
    model, x = NETWORKS["batch norm"](), images(3)
    expected = cc.GradCAM(model).attribute(x, 4)

    class TwoHeads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, x: Tensor) -> Any:
            return make(x.mean((1, 2, 3)), self.model(x))

    torch.testing.assert_close(cc.GradCAM(TwoHeads().eval()).attribute(x, target), expected)


TASKS = {
    "segmentation": (Segmenter, lambda out: out["out"][:, 2, 5:20, 5:20].mean((1, 2))),
    "detection": (Detector, lambda out: torch.stack([one["scores"][3] for one in out]).sigmoid()),
    "embedding": (
        lambda: nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        lambda out: F.cosine_similarity(out, torch.arange(8.0)[None], dim=1),
    ),
}


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith(("fgcam", "lrp"))])
def test_other_tasks_than_classification(task, name):
    build, target = TASKS[task]
    model, x = seeded(build), images(2)
    layer = {"segmentation": "encoder.3", "detection": "encoder.1", "embedding": "1"}[task]
    if (name, task) == ("liftcam", "embedding"):  # from zero on, a cosine jumps and is constant
        with pytest.raises(cc.CAMError, match="must add up"):
            explainer(name, model, layer).attribute(x, target)
        return
    maps = explainer(name, model, layer).attribute(x, target, relu_attributions=False)
    assert maps.shape[:2] == (2, 1)
    assert torch.isfinite(maps).all()
    assert maps.std() > 0


def test_segmentation_is_gradcam_of_the_mean_logit():
    model, x = seeded(Segmenter), images(2)
    target = TASKS["segmentation"][1]
    activation = model.encoder(x)
    score = F.interpolate(model.head(activation), x.shape[2:], mode="bilinear")[:, 2, 5:20, 5:20].mean((1, 2)).sum()
    (gradient,) = torch.autograd.grad(score, activation)
    expected = (gradient.mean((2, 3), keepdim=True) * activation).sum(1, keepdim=True).relu()
    torch.testing.assert_close(cc.GradCAM(model, "encoder.3").attribute(x, target), expected.detach())


def test_relevance_flows_through_the_function():
    model, x = NETWORKS["plain"](), images(2)
    found = cc.LRP(model).attribute(x, lambda output: output[:, 1] + output[:, 2])
    one, two = (cc.LRP(model).attribute(x, c) for c in (1, 2))
    torch.testing.assert_close(found, one + two, rtol=1e-3, atol=1e-5 * float(found.abs().max()))


@pytest.mark.parametrize("name", ["gradcam", "scorecam", "jittercam"])
def test_each_image_may_have_a_function_of_its_own(name):
    model, x = NETWORKS["residual"](), images(2)
    found = explainer(name, model).attribute(x, [lambda out: out[:, 1], lambda out: out[:, 5]])
    expected = explainer(name, model).attribute(x, [1, 5])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * float(expected.max()))


def test_a_function_that_gives_no_score_per_sample_is_explained():
    model, x = NETWORKS["residual"](), images(2)
    for target, got in ((lambda out: out, "2×10"), (lambda out: out.sum(), "a scalar"), (lambda out: 3, "int")):
        with pytest.raises(cc.CAMError, match=f"one score per sample, expected 2, got {got}"):
            cc.GradCAM(model).attribute(x, target)
    with pytest.raises(cc.CAMError, match="one function per sample, expected 2, got 1"):
        cc.GradCAM(model).attribute(x, [lambda out: out[:, 1]])
    with pytest.raises(cc.CAMError, match="needs scores N×classes"):
        cc.CLRP(model).attribute(x, lambda out: out[:, 1])


class InAnObject(nn.Module):
    """Scores in an attribute of an object."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU())
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> SimpleNamespace:
        return SimpleNamespace(logits=self.head(self.encoder(x).mean((2, 3))), loss=None)


LABELS = torch.tensor([4, 1, 7])
OF_THE_BATCH = {
    "labels by index": lambda out: out[torch.arange(3), LABELS],
    "labels gathered": lambda out: out.gather(1, LABELS[:, None])[:, 0],
    "labels cut to the rows": lambda out: out[torch.arange(len(out)), LABELS.repeat(50)[: len(out)]],
    "weights": lambda out: (out * F.one_hot(LABELS, 10)).sum(1),
    "similarity to the batch": lambda out: F.cosine_similarity(out, torch.arange(30.0).view(3, 10), dim=1),
    "compared with the others": lambda out: out[:, 4] - out[:, 4].mean(),
    "softmax over the batch": lambda out: out.softmax(0)[:, 4],
}


@pytest.mark.parametrize("function", OF_THE_BATCH)
@pytest.mark.parametrize("name", ["gradcam", "fdcam", "scorecam", "smoothgradcamplusplus", "sess", "lrp"])
def test_a_function_of_the_batch_is_refused(function, name):
    model, x = NETWORKS["batch norm"](), images(3)
    # A CAMError from inside the function says more than that the function failed.
    unruled = name == "lrp" and function == "similarity to the batch"
    message = "cannot pass cosine_similarity" if unruled else "a list of functions, one per sample"
    with pytest.raises(cc.CAMError, match=message):
        explainer(name, model).attribute(x, OF_THE_BATCH[function])


@pytest.mark.parametrize("name", EVERY)
def test_labels_of_the_batch_are_refused_and_a_list_of_functions_is_right(name):
    torch.set_num_threads(1)
    model, x = seeded(small), images(3)
    # Chunks of as many rows as the batch: there the labels would fit to the rows by chance.
    options = {"perturbations_per_eval": 3} if takes(name, "perturbations_per_eval") else {}
    cam = explainer(name, model, **options)
    with pytest.raises(cc.CAMError):
        cam.attribute(x, OF_THE_BATCH["labels gathered"])
    if not name.startswith(CLASSES):
        each = [lambda out, c=c: out.softmax(1)[:, c] for c in LABELS.tolist()]
        alone = [explainer(name, model, **options).attribute(x[n : n + 1], each[n]) for n in range(3)]
        torch.testing.assert_close(cam.attribute(x, each), torch.cat(alone), rtol=1e-4, atol=1e-5)


def small() -> nn.Module:
    features = (nn.Conv2d(3, 6, 3, 2, 1), nn.ReLU(), nn.Conv2d(6, 6, 3, 2, 1), nn.ReLU())
    return nn.Sequential(*features, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 10))


def takes(name: str, option: str) -> bool:
    return any(option in inspect.signature(kind.__init__).parameters for kind in lookup(name.split("(")[0]).__mro__)


def test_metrics_take_no_functions():
    model, x = NETWORKS["batch norm"](), images(3)
    maps = cc.GradCAM(model).attribute(x, 1)
    for metric in (functional.deletion_curve, functional.insertion_curve, functional.average_drop):
        with pytest.raises(cc.CAMError, match="target must be"):
            metric(model, x, maps, OF_THE_BATCH["labels gathered"])


@pytest.mark.parametrize("count", [1, 2, 3, 6])
@pytest.mark.parametrize(
    ("build", "layer", "target"),
    [
        (Detector, "encoder.1", TASKS["detection"][1]),
        (Segmenter, "encoder.3", TASKS["segmentation"][1]),
        (InAnObject, "encoder.1", lambda out: out.logits[:, 2]),
    ],
)
def test_rows_are_found_in_outputs_of_any_form(build, layer, target, count):
    model, x = seeded(build), images(count)
    found = cc.AblationCAM(model, layer).attribute(x, target)
    alone = torch.cat([cc.AblationCAM(model, layer).attribute(image[None], target) for image in x])
    torch.testing.assert_close(found, alone, rtol=1e-3, atol=1e-4 * float(alone.max()))


def test_an_error_in_the_function_is_named():
    model, x = seeded(Segmenter), images(2)
    with pytest.raises(cc.CAMError, match="KeyError: 'logits'"):
        cc.GradCAM(model, "encoder.3").attribute(x, lambda out: out["logits"].mean((1, 2, 3)))
