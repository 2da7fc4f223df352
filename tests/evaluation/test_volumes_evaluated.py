"""An evaluation of volumes: rows, an interrupted run that continues, and files."""

import pytest
import torch
from torch.utils.data import Dataset, TensorDataset

import captum_cams as cc
from captum_cams import metrics
from lightning_callbacks import Protocol, evaluate
from tests.support.volumes import SIZE, balls, seeded_densenet, volumes


@pytest.fixture
def quiet(recwarn):
    return recwarn


def test_every_volume_has_a_row_with_the_values_of_the_functions(tmp_path):
    model, x = seeded_densenet(), volumes(3)
    data = TensorDataset(x, torch.tensor([0, 1, 2]))
    names = ("deletion_auc", "average_drop", "adcc", "complexity")
    table = evaluate(model, data, ["gradcam", "scorecam"], metrics=names, protocol="training", out=tmp_path)
    with torch.no_grad():
        predicted = model(x).argmax(1).tolist()
    for name in ("gradcam", "scorecam"):
        rows, maps = table.rows(name), cc.create(name, model).attribute(x, predicted)
        assert rows["image"].tolist() == [0, 1, 2]
        assert rows["class"].tolist() == predicted
        curve = metrics.deletion_curve(model, x, maps, predicted, preset="quick")
        torch.testing.assert_close(rows["deletion_auc"], metrics.curve_area(curve), rtol=0, atol=1e-5)
        drop = metrics.average_drop(model, x, maps, predicted)
        torch.testing.assert_close(rows["average_drop"], drop, rtol=0, atol=1e-2)
        torch.testing.assert_close(rows["complexity"], metrics.complexity(x, maps), rtol=0, atol=1e-5)
    assert (tmp_path / "curves.png").exists()
    again = evaluate(model, data, ["gradcam", "scorecam"], metrics=names, protocol="training", out=tmp_path)
    assert torch.equal(again.columns["seconds"], table.columns["seconds"])  # read from the journal
    other = TensorDataset(x + 1, torch.tensor([0, 1, 2]))
    with pytest.raises(cc.CAMError, match="image"):
        evaluate(model, other, ["gradcam", "scorecam"], metrics=names, protocol="training", out=tmp_path)


class Balls(Dataset):
    """Volumes with the masks of their balls, as a detection data set gives them."""

    def __init__(self, region=None) -> None:
        self.volumes, self.labels, self.masks = balls(4)
        self.region = region

    def __len__(self) -> int:
        return len(self.volumes)

    def __getitem__(self, index: int):
        regions = {"masks": self.masks[index][None]} if self.region is None else {"boxes": self.region}
        return self.volumes[index], {"labels": self.labels[index][None], **regions}


def test_masks_of_volumes_are_regions_and_boxes_are_refused():
    model = seeded_densenet()
    protocol = Protocol(("energy", "pointing_game", "iou"), classes="annotated", single_small_box=True)
    data = Balls()
    table = evaluate(model, data, "gradcam", protocol=protocol)
    maps = cc.GradCAM(model).attribute(data.volumes, data.labels)
    expected = metrics.energy_inside(maps, data.masks[:, None], SIZE)
    torch.testing.assert_close(table.rows("gradcam")["energy"], expected, rtol=0, atol=1e-5)
    with pytest.raises(cc.CAMError, match="regions of signals and volumes must be masks B×12×16×20"):
        evaluate(model, Balls(torch.tensor([[0, 0, 4, 4]])), "gradcam", protocol=protocol)
