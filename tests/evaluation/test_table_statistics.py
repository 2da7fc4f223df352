"""What a table says of its methods, against the functions of ``captum_cams.statistics`` on plain lists."""

import csv
import io
import sys
from dataclasses import replace

import pandas
import pytest
import torch
from scipy import stats

import captum_cams as cc
from captum_cams import statistics
from captum_cams.engine.generators import generator_of
from lightning_callbacks import Table, compare_tables
from lightning_callbacks.evaluation.files import write_files

METHODS, IMAGES = ("plain", "good", "same"), 20


def table(seed=0, methods=METHODS, metrics=("average_drop", "energy")):
    """Two rows for each image, of classes 0 and 1; "good" has a lower drop, and "same" the values of "plain"."""
    rows = 2 * IMAGES
    values = torch.rand(len(metrics), rows, generator=generator_of(seed))
    shifts = {"plain": 0.0, "good": -0.3, "same": 0.0}
    keys = {"image": (torch.arange(rows) // 2) * 3, "class": torch.arange(rows) % 2}
    columns = {name: key.repeat(len(methods)) for name, key in keys.items()}
    columns["method"] = torch.arange(len(methods)).repeat_interleave(rows)
    for name, column in zip(metrics, values, strict=True):
        noise = 0.05 * torch.rand(rows, generator=generator_of(seed, 1))
        columns[name] = torch.cat([column + shifts[one] + (one == "good") * noise for one in methods])
    columns |= {name: torch.ones(len(methods) * rows) for name in ("seconds", "forward_seconds")}
    order = torch.randperm(len(methods) * rows, generator=generator_of(3))  # rows find each other by image and class
    return Table(methods, metrics, {name: column[order] for name, column in columns.items()}, {})


def by_hand(of, metric):
    """The values of each method in the order of image and class."""
    keys = [(int(i), int(c)) for i, c in zip(of.columns["image"], of.columns["class"], strict=True)]
    found = {method: {} for method in of.methods}
    for key, number, value in zip(keys, of.columns["method"].tolist(), of.columns[metric].tolist(), strict=True):
        found[of.methods[number]][key] = value
    order = sorted({*keys})
    return [[found[method][key] for key in order] for method in of.methods], [image for image, _ in order]


def test_values_are_paired_by_image_and_class():
    of = table()
    values, images = of.paired_values("energy")
    expected, order = by_hand(of, "energy")
    assert values.T.tolist() == expected
    assert images.tolist() == order


def test_a_better_method_is_named_in_the_direction_of_the_metric():
    of = table()
    found = of.compare("good", "plain")
    assert found["average_drop"].verdict == "good is better"  # lower is better
    assert found["energy"].verdict == "plain is better"
    (plain, good, _), images = by_hand(of, "energy")
    means = [[sum(row) / 2 for row in zip(one[::2], one[1::2], strict=True)] for one in (good, plain)]
    p = stats.wilcoxon([a - b for a, b in zip(*means, strict=True)]).pvalue
    assert (found["energy"].p, found["energy"].n) == (pytest.approx(p), len({*images}))
    assert found["energy"].adjusted_p == pytest.approx(3 * p) or found["energy"].adjusted_p == pytest.approx(2 * p)
    assert found["energy"].difference == pytest.approx(of["good", "energy"].mean - of["plain", "energy"].mean)
    turned = of.compare("plain", "good")
    assert turned["energy"] == found["energy"].turned()
    same = of.compare("plain", "same")
    assert {one.verdict for one in same.metrics.values()} == {"no difference shown"}
    lines = str(same).splitlines()
    assert lines[0] == "| metric | plain − same | 95 % interval | n | p | adjusted p | verdict |"
    assert lines[2].startswith("| average_drop ↓ (%) | 0.0 | ")
    assert lines[3] == "| energy ↑ | 0.000 | 0.000 to 0.000 | 20 | 1.000 | 1.000 | no difference shown |"
    assert (
        "Wilcoxon's signed-rank test; Holm's adjustment for the 3 pairs of methods of the table, of each metric"
        in lines[-1]
    )
    two = table(methods=("plain", "good")).compare("plain", "good")
    assert "; the table has one pair of methods." in str(two)
    assert two["energy"].adjusted_p == two["energy"].p


def test_too_few_images_are_no_equal_methods():
    of = table()
    few = replace(of, columns={name: column[of.columns["image"] < 15] for name, column in of.columns.items()})
    found = few.compare("good", "plain")["energy"]
    assert (found.n, found.verdict) == (5, "too few images")
    assert "| – | 5 | 0.062 | " in str(few.compare("good", "plain"))  # the smallest p of five images, 2 / 2^5


def test_intervals_ranks_and_agreement_are_those_of_the_functions():
    of = table()
    values, images = of.paired_values("energy")
    options = {"higher_is_better": True, "units": images}
    interval = of.interval("good", "energy")
    assert interval == statistics.intervals(values[:, [1]], images)[0]
    assert interval.mean == pytest.approx(of["good", "energy"].mean)
    every = of.intervals()["good", "energy"]
    assert (every.low, every.high) == (pytest.approx(interval.low), pytest.approx(interval.high))
    assert [*of.ranks("energy")] == statistics.ranks(values, METHODS, **options)
    assert of.ranks("average_drop")["good"].rank == 1
    assert of.ranks("energy")["good"].rank == 3
    assert of.ranks("energy")["same"].rank == 1.5
    assert "\n\n20 images have a value of every method. Rank 1 is the best mean" in str(of.ranks("energy"))
    assert of.agreement()["average_drop", "energy"] == pytest.approx(-1)
    assert of.reliability()["energy"] == statistics.reliability(values, images)


def test_the_intervals_of_a_table_are_computed_once(monkeypatch, tmp_path):
    of, calls = table(), []
    resampled = statistics.intervals
    monkeypatch.setattr(
        statistics, "intervals", lambda *given, **options: calls.append(1) or resampled(*given, **options)
    )
    of.to_latex()
    write_files(of, tmp_path, {})
    assert len(calls) == 1
    found = of.intervals()
    found.clear()  # a dict of its own
    assert of.intervals()
    part = of.by_class()[0]
    assert part.intervals()["good", "energy"].mean == pytest.approx(part["good", "energy"].mean)


def test_the_best_and_the_worst_images():
    of = table()
    (_, good, _), images = by_hand(of, "average_drop")
    means = {image: (good[2 * k] + good[2 * k + 1]) / 2 for k, image in enumerate(sorted({*images}))}
    order = sorted(means, key=means.__getitem__)
    assert of.best("good", "average_drop", 4) == order[:4]
    assert of.worst("good", "average_drop", 4) == order[::-1][:4]
    assert len(of.best("good", "average_drop", 100)) == IMAGES


def test_a_class_has_a_table_of_its_own():
    of = table()
    parts = of.by_class()
    assert [*parts] == [0, 1]
    rows = of.rows("good")
    for index, part in parts.items():
        assert part["good", "energy"].mean == pytest.approx(float(rows["energy"][rows["class"] == index].mean()))
        assert part["good", "energy"].n == IMAGES


def test_every_form_says_the_same(monkeypatch):
    of = table()
    read = [*csv.DictReader(io.StringIO(of.to_csv()))]
    assert [float(row["low"]) for row in read] == [cell["low"] for cell in of.cells()]
    assert {(row["method"], row["metric"]) for row in read} == {(a, b) for a in of.methods for b in of.metrics}
    frame = of.to_pandas()
    pandas.testing.assert_frame_equal(frame, pandas.DataFrame(of.cells()))
    latex = of.to_latex().splitlines()
    assert latex[2] == r"method & average\_drop (\%) $\downarrow$ & energy $\uparrow$ \\"
    assert latex[-2].startswith("% Mean over 20 images [95 % bootstrap interval over the images]. Bold: the best")
    bold = [[r"\textbf" in cell for cell in line.split("&")[1:]] for line in latex[4:7]]
    assert bold == [[False, True], [True, False], [False, True]]  # plain and same do not differ
    for metric in of.metrics:
        assert f"{of['good', metric].mean:.{1 if metric == 'average_drop' else 3}f} (" in of.with_intervals()
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(cc.CAMError, match="needs the package pandas, which is not installed; pip install pandas"):
        of.to_pandas()


def test_tables_side_by_side():
    one, other = table(), table(1, ("same", "good"), ("energy",))
    both = compare_tables({"one": one, "other": other})
    assert {key[1:] for key in both.intervals} == {("same", "energy"), ("good", "energy")}
    assert both.intervals["other", "good", "energy"] == other.intervals()["good", "energy"]
    assert both.agreement["energy"]["one", "other"] == 1
    assert str(both).startswith("| energy ↑ | one | other |\n| --- | --- | --- |\n| good | ")
    assert str(both).endswith("Kendall's τ compares the orders of the means of 2 methods.")
    with pytest.raises(cc.CAMError, match="needs two or more tables, got 1"):
        compare_tables({"one": one})
    with pytest.raises(cc.CAMError, match="got the methods good, same and the metrics none; evaluate the same"):
        compare_tables({"one": table(metrics=("adcc",)), "other": other})


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (lambda of: of.compare("good", "godo"), 'unknown method of this table "godo"; did you mean "good"?'),
        (lambda of: of.compare("good", "good"), 'compare needs two methods of the table, got "good" twice'),
        (lambda of: of.interval("good", "enrgy"), 'unknown metric of this table "enrgy"; did you mean "energy"?'),
        (lambda of: of.ranks("adcc"), 'unknown metric of this table "adcc"'),
        (lambda of: of.best("good", "energy", 0), "k must be an integer of at least 1"),
        (lambda of: of.best("good", "enrgy"), 'unknown metric of this table "enrgy"'),
        (lambda of: of.compare("good", "plain")["adcc"], 'unknown metric of this table "adcc"'),
        (lambda of: table(methods=("good",)).ranks("energy"), "two or more methods, got 40×1; add a method"),
    ],
)
def test_mistakes_are_explained(action, words):
    with pytest.raises(cc.CAMError) as caught:
        action(table())
    assert words in str(caught.value)
