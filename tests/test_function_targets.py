"""Targets that are functions of the model's output: segmentation, detection, embeddings."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import captum_cams as cc
from tests.explainers import ANYWHERE, explainer
from tests.networks import NETWORKS, images, seeded

CLASSES = ("cam", "clrp", "sglrp", "relevancecam")  # set one class against the others
NAMES = [name for name in ANYWHERE if not name.startswith(CLASSES)]


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("sess")])  # weighs by probability
def test_the_logit_as_a_function_is_the_logit(name):
    model, x = NETWORKS["batch norm"](), images(3)
    # These score probabilities unless the target is a function, which is taken as it is.
    logit = name.split("(")[0] not in ("rise", "groupcam")
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
    with pytest.raises(cc.CAMError, match="one per sample, expected 2, got 1"):
        cc.GradCAM(model).attribute(x, [lambda out: out[:, 1]])
    with pytest.raises(cc.CAMError, match="needs N×classes scores"):
        cc.CLRP(model).attribute(x, lambda out: out[:, 1])
