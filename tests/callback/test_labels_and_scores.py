"""Labels mean what the task says, and explainers explain the scores that are measured."""

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import captum_cams as cc
from captum_cams import metrics, visual
from captum_cams.metrics.protocols import Protocol
from lightning_callbacks import CAMCallback, evaluate
from lightning_callbacks.batches import Annotation, annotations, images_and_labels
from lightning_callbacks.callback.explained import Explained
from lightning_callbacks.callback.image_explainer import ImageExplainer
from lightning_callbacks.callback.report import Report
from lightning_callbacks.callback.selection import Sample, losses_of
from lightning_callbacks.command.main import main
from lightning_callbacks.network import Network
from tests.support.lightning_modules import Net, data, trainer
from tests.support.networks import images


@pytest.mark.parametrize("shape", [(4,), (4, 1)])
@pytest.mark.parametrize("kind", [torch.float, torch.long, torch.bool])
def test_the_sides_of_a_binary_task_are_read_in_every_form(shape, kind):
    labels = torch.tensor([0, 1, 1, 0]).view(shape).to(kind)
    known = annotations(images_and_labels((images(4), labels))[1], 4, "binary")
    assert [one.classes for one in known] == [(0,), (1,), (1,), (0,)]


def test_a_column_of_integers_holds_classes_and_one_of_a_label_does_not():
    column = torch.tensor([[3], [0]])
    assert [one.classes for one in annotations(column, 2)] == [(3,), (0,)]
    assert [one.classes for one in annotations(column > 0, 2, "multilabel")] == [(0,), ()]
    assert images_and_labels((images(2), torch.tensor([0.3, 1.0])))[1] is None


def test_an_image_without_any_label_has_a_loss():
    scores, labels = torch.full((2, 3), 3.0), torch.tensor([[1.0, 1, 1], [0, 0, 0]])
    found = losses_of(scores, annotations(labels, 2), "multilabel")
    torch.testing.assert_close(found, F.binary_cross_entropy_with_logits(scores, labels, reduction="none").mean(1))


def test_a_true_class_is_explained_where_it_is_known():
    known = [Annotation((1,)), Annotation(), Annotation((14,))]
    explainer = ImageExplainer({"gradcam": "gradcam"}, None, None, Protocol(()), true_class=True)
    (outcome,) = explainer.explain(Net(), list(map(Sample, data(3).tensors[0], known)))
    assert ["true" in row.maps["gradcam"] for row in outcome.rows] == [True, False, False]
    (doubt,) = outcome.doubts
    assert "labels from 0 to 2, and leaves out [14]" in doubt


def test_a_caption_names_the_class_that_is_explained():
    p = torch.tensor([40.0, 30, 50]).sigmoid()
    report = Report("cam", ("gradcam",), (), task="multilabel")
    assert p[0] == p[2]
    assert "predicted 2" in report.caption(Explained(images(1)[0], Annotation(), 2, p))
    named = Report("cam", ("gradcam",), ("complexity",), class_names=("a", "b", "c", "d"))
    assert "predicted 1" in named.caption(
        Explained(images(1)[0], Annotation(), 1, p)
    )  # four names fit no three classes


def flipped(output):
    return output.flip(1)


def test_an_explainer_of_other_scores_is_refused():
    model, loader = Net().eval(), DataLoader(TensorDataset(data(4).tensors[0]), 2)

    def run(explainer, **given):
        return evaluate(model, loader, explainer, metrics=("complexity",), **given)

    for given in ({"task": flipped}, {"output_fn": flipped}):
        with pytest.raises(cc.CAMError, match="must explain the scores that are measured"):
            run(cc.GradCAM(model), **given)
    with pytest.raises(cc.CAMError, match="must explain the scores that are measured"):
        run(cc.GradCAM(model, task=flipped))
    run(cc.GradCAM(model, task=flipped), task=flipped)
    run(cc.GradCAM(model), output_fn=lambda output: output.softmax(1).log() / 2)


def test_an_explainer_of_a_value_with_the_other_sign_is_refused():
    model, loader = Net().eval(), DataLoader(TensorDataset(data(4).tensors[0]), 4)

    def first(output):
        return output[:, :1]

    def run(output_fn):
        explainer = cc.GradCAM(model, task=first)
        return evaluate(model, loader, explainer, metrics=("complexity",), task="regression", output_fn=output_fn)

    with pytest.raises(cc.CAMError, match="must explain the scores that are measured"):
        run(lambda output: -first(output))
    run(lambda output: 2 * first(output))


def test_adcc_refuses_an_explainer_for_another_task():
    model, x = (
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 1)),
        images(2),
    )
    cam = cc.GradCAM(model, task="binary")
    maps = cam.attribute(x, 0)
    metrics.adcc(model, x, maps, 0, explain=cam.attribute, task="binary")
    with pytest.raises(cc.CAMError, match="for the task 'binary'"):
        metrics.adcc(model, x, maps, 0, explain=cc.GradCAM(model).attribute, task="binary")


def test_batch_fn_keeps_the_images_and_may_translate_the_labels():
    class Named(TensorDataset):
        classes = tuple("abcdefgh")

    model, x, box = Net(), data(4).tensors[0], torch.tensor([[2.0, 2, 9, 9]])
    labels = [{"labels": torch.tensor([1]), "boxes": box}] * 2
    named = DataLoader(Named(x, torch.arange(4)), 2)
    with pytest.raises(cc.CAMError, match="keep all 2 images"):
        evaluate(model, named, "gradcam", metrics=("complexity",), batch_fn=lambda batch: (batch[0][1:], None))
    table = evaluate(
        model,
        named,
        "gradcam",
        metrics=("energy",),
        protocol=Protocol((), "annotated"),
        batch_fn=lambda batch: (batch[0], labels),
    )
    assert table["gradcam", "energy"].n == 4


def test_pictures_refuse_what_they_cannot_show():
    image, nan = torch.rand(1, 3, 8, 8), torch.full((1, 4, 4), torch.nan)
    with pytest.raises(cc.CAMError, match="maps of overlay must be finite"):
        visual.overlay(image, nan)
    with pytest.raises(cc.CAMError, match="images must be finite"):
        visual.displayable(image * torch.nan)
    with pytest.raises(cc.CAMError, match="a value for each of 1 channels"):
        visual.displayable(image[:, :1], (0.1, 0.2, 0.3), (1.0, 1, 1))


class TakesBytes(Net):
    """Takes bytes N×H×W×3, and returns its scores in a mapping."""

    def forward(self, x):
        return {"logits": super().forward(x.permute(0, 3, 1, 2).float() / 255 - 0.5)}

    def training_step(self, batch, batch_idx):
        return F.cross_entropy(self(batch[0])["logits"], batch[1])

    def validation_step(self, batch, batch_idx):
        self(batch[0])


def test_the_callback_explains_images_as_the_network_takes_them(tmp_path):
    given = torch.randint(256, (4, 24, 20, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    loader, model = DataLoader(TensorDataset(given, torch.arange(4) % 3), 2), TakesBytes()
    measured = ("insertion_auc", "average_drop", "complexity")
    callback = CAMCallback("gradcam", num_images=4, metrics=measured, on_error="raise")
    trainer(tmp_path, callbacks=[callback], max_epochs=1).fit(model, loader, loader)
    rows = callback.explained["validation"]
    assert torch.equal(torch.stack([row.image for row in rows]), given)
    classes = [row.predicted for row in rows]
    explain = cc.GradCAM(Network(model.eval(), None)).attribute
    found, expected = torch.stack([row.maps["gradcam"]["predicted"] for row in rows]), explain(given, classes)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    usual = given.permute(0, 3, 1, 2).float()
    complexity = torch.stack([row.values["gradcam"]["complexity"] for row in rows])
    torch.testing.assert_close(complexity, metrics.complexity(usual, found))


def flat() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 1), nn.Flatten(0)
    )


def pixels() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 1))


def grey() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))


@pytest.mark.parametrize(
    ("made", "said"), [("flat", 'task="binary"'), ("pixels", "segmentation"), ("grey", "1 channels")]
)
def test_the_command_line_refuses_other_networks_in_one_line(made, said, tmp_path, monkeypatch, capsys):
    Image.new("RGB", (50, 40), (200, 90, 10)).save(tmp_path / "one.png")
    monkeypatch.chdir(tmp_path)
    assert main(["explain", "one.png", "--model", f"{__name__}:{made}"]) == 2
    assert said in capsys.readouterr().err
    assert main(["evaluate", "--model", f"{__name__}:grey", "--data", ".", "--devices", "-1"]) == 2
