"""Metrics on trial: what a control games is named, what none games is not, and turns of a ranking are found."""

import json

import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, TensorDataset

import captum_cams as cc
from captum_cams.metrics import METRICS, REPLACEMENTS, register_metric
from lightning_callbacks import Table, trial
from lightning_callbacks.command.main import main
from lightning_callbacks.evaluation.controls import KINDS, with_controls
from lightning_callbacks.evaluation.duels import Condition, fight
from lightning_callbacks.evaluation.verdicts import UNSWEPT, judge
from tests.support.evaluation_run import network, quiet

IMAGES = 10


def table(values: dict[str, torch.Tensor], metric: str) -> Table:
    """A table of one metric with the values of each method."""
    count = len(next(iter(values.values())))
    columns = {
        "image": torch.arange(count).repeat(len(values)),
        "class": torch.zeros(count * len(values)).long(),
        "method": torch.arange(len(values)).repeat_interleave(count),
        metric: torch.cat([*values.values()]),
        "seconds": torch.ones(count * len(values)),
        "forward_seconds": torch.ones(count * len(values)),
    }
    return Table(tuple(values), (metric,), columns, {})


def around(mean: float, count: int = 20, seed: int = 0) -> torch.Tensor:
    return mean + 0.01 * torch.randn(count, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def made():
    model = network()

    @register_metric(higher_is_better=True)
    def smoothness(case):
        return -sum(case.maps.diff(dim=axis).abs().flatten(1).sum(1) for axis in (2, 3)) / case.maps.flatten(1).sum(1)

    @register_metric(higher_is_better=False)
    def distance(case):
        truth = cc.GradCAM(model).attribute(case.images, case.classes)
        return (case.maps - truth).abs().flatten(1).amax(1)

    yield model
    del METRICS["smoothness"], METRICS["distance"]


def test_what_blur_games_is_named_and_what_nothing_games_is_not_accused(made, tmp_path, capsys):
    x = torch.rand(IMAGES, 3, 24, 24, generator=torch.Generator().manual_seed(2))
    data = DataLoader(TensorDataset(x, torch.zeros(IMAGES).long()), IMAGES)
    given = {"metrics": ["smoothness", "distance", "insertion_auc"], "replacements": ["zero", "mean"]}
    found = trial(made, data, "gradcam", **given, trainer=quiet(), out=tmp_path)
    games = {found.controls[one.first, one.second] for one in found.gamed[Condition("smoothness", None)]}
    assert "blurred" in games
    assert "sharpened" not in games
    assert Condition("distance", None) not in found.gamed
    assert {one.grade for one in found.challenges[Condition("distance", None)]} == {"below"}
    lines = (tmp_path / "trial.md").read_text().splitlines()
    accusations = [line for line in lines if line.startswith("- ") and " games " in line]
    assert any(line.startswith("- **A blurred copy of the map** games smoothness (gradcam +") for line in accusations)
    assert not any("distance" in line for line in accusations)
    assert any(line.startswith("No control games distance") for line in lines)
    assert str(found) in capsys.readouterr().out
    stored = json.loads((tmp_path / "trial.json").read_text())
    assert stored["methods"] == ["gradcam"]
    assert len(stored["challenges"]) == len(KINDS) * (2 + 2)
    assert {name.name for name in tmp_path.iterdir()} == {"zero", "mean", UNSWEPT, "trial.md", "trial.json"}
    again = found.tables["mean"]["centre", "insertion_auc"].mean  # the same numbers as an evaluation by itself
    centre = cc.Centre(made).attribute(x)
    area = cc.metrics.functional.insertion_curve(
        made, x, centre, preset=cc.metrics.PRESETS["quick"].with_replacement(REPLACEMENTS["mean"])
    )
    assert again == pytest.approx(float(cc.metrics.curve_area(area).mean()), rel=1e-4)


def test_a_ranking_that_turns_over_is_found_and_what_holds_remains():
    means = {"zero": (0.2, 0.3, 0.5), "blur": (0.3, 0.2, 0.5)}  # lower is better: a and b change places, c is last
    tables = {}
    for name, of in means.items():
        values = {m: around(mean, seed=i) for i, (m, mean) in enumerate(zip("abc", of, strict=True))}
        tables[name] = table(values, "deletion_auc")
    found = judge(tables, {(m, m): "blurred" for m in "abc"})  # each is its own control, which is no difference
    assert found.agreements["deletion_auc"]["zero", "blur"] == pytest.approx(1 / 3)
    assert [[(one.first, one.second) for one in turn.values()] for turn in found.turnovers["deletion_auc"]] == [
        [("a", "b"), ("a", "b")]
    ]
    said = str(found)
    gain = float((tables["zero"].values("b", "deletion_auc") - tables["zero"].values("a", "deletion_auc")).mean())
    assert f"- a and b: a is shown to be ahead with zero {gain:+.2g} [" in said
    assert "]. The replacement decides." in said
    assert {*found.orders()} == {("a", "c"), ("b", "c")}
    assert "Of 3 pairs of methods, 2 have the same order of means in all 2 conditions, and 2 of them are shown" in said
    assert "- a above c, shown in each." in said
    assert not found.gamed


def test_a_turn_within_the_noise_is_no_turn_that_is_shown():
    wide = {m: around(0.3, seed=i) for i, m in enumerate("ab")}
    turned = {"a": wide["b"], "b": wide["a"]}
    tables = {"zero": table(wide, "insertion_auc"), "blur": table(turned, "insertion_auc")}
    found = judge(tables, {(m, m): "blurred" for m in "ab"})
    assert len(found.turnovers["insertion_auc"]) == 1
    assert "The means of 1 pair turn over, but not both sides are shown" in str(found)
    assert not found.orders()


def test_the_gain_points_the_same_way_for_every_metric():
    values = {"good": around(0.2), "bad": around(0.3, seed=1)}
    [lower] = fight(table(values, "deletion_auc"), "deletion_auc", [("good", "bad")])
    [higher] = fight(table(values, "insertion_auc"), "insertion_auc", [("bad", "good")])
    assert lower.grade == higher.grade == "above"
    for duel in (lower, higher):
        assert duel.low < duel.gain < duel.high
        assert duel.gain == pytest.approx(0.1, abs=0.02)
    unknown = {"good": around(0.2), "bad": torch.full((20,), torch.nan)}
    assert fight(table(unknown, "deletion_auc"), "deletion_auc", [("good", "bad")]) == []


def test_too_few_images_accuse_nothing_and_the_report_says_so():
    values = {"a": around(0.2, 4), "blurred(a)": around(0.9, 4)}
    found = judge({"zero": table(values, "insertion_auc")}, {("blurred(a)", "a"): "blurred"})
    assert not found.gamed
    assert "Too few images" in str(found)
    assert "At least 6 images" in str(found)
    more = {"a": around(0.2, 6), "blurred(a)": around(0.9, 6)}
    found = judge({"zero": table(more, "insertion_auc")}, {("blurred(a)", "a"): "blurred"})
    assert found.gamed
    assert "Too few images" not in str(found)


def test_many_methods_are_counted_and_the_ends_have_figures():
    methods = "abcde"
    values = {m: around(0.2, seed=i) for i, m in enumerate(methods)}
    for i, method in enumerate(methods[:4]):  # the last copy is its source, which is no difference
        values[f"blurred({method})"] = values[method] + 0.1 * (i + 1)
    values["blurred(e)"] = values["e"]
    found = judge({"zero": table(values, "insertion_auc")}, {(f"blurred({m})", m): "blurred" for m in methods})
    said = str(found)
    assert "| insertion_auc with zero | 4 / 1 / 0 | 0 / 0 / 0 |" in said
    assert "games insertion_auc with zero (4 methods, from +0.1 [+0.1, +0.1] (a) to +0.4 [+0.4, +0.4] (d))." in said


def test_controls_are_made_of_names_and_of_explainers():
    model = network()
    everything, pairs = with_controls({"mine": cc.GradCAM(model, "0"), "fd": "fdcam"}, model, None, "multiclass")
    copies = ["blurred(mine)", "blurred(fd)", "sharpened(mine)", "sharpened(fd)"]
    assert [*everything] == ["mine", "fd", *copies, "random", "centre", "constant"]
    assert everything["blurred(mine)"].base is everything["mine"]
    assert everything["sharpened(fd)"] == "sharpened(fdcam)"
    assert pairs["blurred(fd)", "fd"] == "blurred"
    assert ("blurred(fd)", "mine") not in pairs
    assert pairs["random", "fd"] == pairs["random", "mine"] == "random"
    with pytest.raises(cc.CAMError, match="must be no controls, got random; leave them out"):
        with_controls(["gradcam", "random"], model, None, "multiclass")


def test_the_command_line_writes_the_report(tmp_path, capsys):
    for i in range(2):
        Image.new("RGB", (40, 32), (80 * i, 10, 200)).save(tmp_path / f"{i}.png")
    typed = ["trial", "--model", "tests.support.evaluation_run:network", "--data", str(tmp_path), "--out"]
    out = tmp_path / "out"
    asked = ["--methods", "gradcam", "--metrics", "deletion_auc", "--replacements", "mean", "noise"]
    assert main([*typed, str(out), *asked]) == 0
    said = (out / "trial.md").read_text()
    assert said.startswith("# The metrics on trial")
    assert "deletion_auc with noise" in said
    assert "## What remains" in capsys.readouterr().out
    assert main([*typed, str(out), "--replacements", "bluur"]) == 2
    assert 'unknown replacement "bluur"; did you mean "blur"' in capsys.readouterr().err


def test_duels_do_not_depend_on_the_order_of_the_rows():
    ordered = table({"a": torch.arange(20.0), "b": torch.arange(20.0) - 0.5}, "road")
    places = torch.cat((torch.arange(20), 20 + torch.arange(20).flip(0)))
    turned = Table(("a", "b"), ("road",), {name: one[places] for name, one in ordered.columns.items()}, {})
    assert fight(turned, "road", [("a", "b")]) == fight(ordered, "road", [("a", "b")])
