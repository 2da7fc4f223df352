"""What the catalogue says of each metric, what it refuses, and how it sums up."""

import math

import pytest
import torch
import torch.nn.functional as F

import captum_cams as cc
from captum_cams import metrics
from captum_cams.metrics import METRICS, Case, Protocol, register_metric
from captum_cams.metrics.annotation import Annotation
from captum_cams.metrics.catalogue import measure, row_values, summary
from tests.support.networks import images

SHELLS = {
    "deletion_auc": metrics.DeletionAUC(),
    "insertion_auc": metrics.InsertionAUC(),
    "over_all": metrics.OverAll(),
    "average_drop": metrics.AverageDrop(),
    "average_increase": metrics.AverageIncrease(),
    "adcc": metrics.ADCC(lambda images, target: images),
    "road": metrics.ROAD(),
    "arcc": metrics.ARCC(lambda images, target: images),
    "average_gain": metrics.AverageGain(),
    "single_deletion": metrics.SingleDeletion(),
    "calibration": metrics.Calibration(),
    "sensitivity": metrics.Sensitivity(lambda images, target: images),
    "infidelity": metrics.Infidelity(),
    "randomisation": metrics.Randomisation(lambda images, target: images),
    "random_logit": metrics.RandomLogit(lambda images, target: images),
    "pointing_game": metrics.PointingGame(),
    "energy": metrics.EnergyPointingGame(),
    "relevance_mass": metrics.RelevanceMass(),
    "relevance_rank": metrics.RelevanceRank(),
    "top_k_intersection": metrics.TopKIntersection(),
    "sparseness": metrics.Sparseness(),
    "entropy": metrics.Entropy(),
    "consistency": metrics.Consistency(),
    **{f"localisation_error_{cut}": metrics.LocalisationError(cut) for cut in ("value", "mean", "energy")},
}


@pytest.fixture
def registered():
    """Forgets, after a test, the metrics that it has added."""
    before = dict(METRICS)
    yield
    METRICS.clear()
    METRICS.update(before)


def small():
    torch.manual_seed(0)
    layers = torch.nn.Conv2d(3, 4, 3, 2), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()
    return torch.nn.Sequential(*layers, torch.nn.Linear(4, 5)).eval()


def case(**changed):
    given = {
        "network": small(),
        "images": images(3),
        "classes": [1, 2, 3],
        "maps": torch.rand(3, 1, 5, 5, generator=torch.Generator().manual_seed(0)),
        "annotations": [Annotation()] * 3,
        "explain": lambda images, target: F.adaptive_avg_pool2d(images.mean(1, keepdim=True), 5),
        "conditions": Protocol((), preset="quick"),
    }
    return Case(**given | changed)


def test_each_metric_says_which_way_it_improves():
    lower = {"deletion_auc", "average_drop", "complexity", "entropy"} | {name for name in METRICS if "error" in name}
    lower |= {"sensitivity", "infidelity", "randomisation", "random_logit"}
    assert {name for name, entry in METRICS.items() if not entry.higher_is_better} == lower
    for name, shell in SHELLS.items():
        assert shell.higher_is_better is METRICS[name].higher_is_better, name
        assert (shell.plot_upper_bound == 100) is (METRICS[name].unit == "%"), name
    assert {*METRICS} - {*SHELLS} == {"coherency", "complexity", "pointing_game_difficult", "iou"}


def test_the_mean_or_the_best_level_counts():
    found = summary("adcc", torch.tensor([0.5, math.nan, 1.0, 0.0]), torch.arange(4))
    assert (found.mean, found.n, found.level) == (0.5, 3, None)
    assert found.standard_error == pytest.approx(0.5 / 3**0.5)
    assert math.isnan(summary("adcc", torch.full((2,), math.nan), torch.arange(2)).mean)
    values = torch.full((3, 20), 0.5)
    values[:2, 4], values[:2, 6], values[2] = 1, 0, math.nan
    classes = torch.arange(3)
    best, worst = summary("iou", values, classes), summary("localisation_error_mean", values, classes)
    assert (best.mean, best.level, best.n) == (1, 0.2, 2)
    assert (worst.mean, worst.level, worst.n) == (0, 0.3, 2)


def test_what_several_metrics_read_is_computed_once(monkeypatch):
    calls = []
    for name in ("deletion_curve", "insertion_curve", "drop_and_increase", "coherency", "region_overlap", "road"):
        original = getattr(metrics.functional, name)

        def counted(*args, name=name, original=original, **options):
            calls.append(name)
            return original(*args, **options)

        monkeypatch.setattr(metrics.functional, name, counted)
    boxes = torch.tensor([[2, 3, 20, 20]])
    known = [Annotation((index,), {index: boxes}, True) for index in (1, 2, 0)]
    values, curves = measure(case(annotations=known), list(METRICS))
    assert sorted(calls) == sorted([*{*calls}, *["region_overlap"] * 2])  # cut at a value, a mean and an energy
    assert set(values) == set(METRICS)
    assert curves.shape == (3, 2, 11)
    assert values["energy"].isnan().tolist() == [False, False, True]
    assert values["iou"].shape == (3, 20)


def test_a_metric_gets_the_pairs_that_have_what_it_needs(registered):
    seen = []

    @register_metric(higher_is_better=True, needs="labels")
    def labelled(case):
        seen.append(case.classes)
        return torch.tensor([float(index) for index in case.classes])

    known = [Annotation((), {}, True), Annotation(), Annotation((0,), {}, True)]
    values, curves = measure(case(annotations=known), ["labelled"])
    assert seen == [[1, 3]]
    assert curves is None
    torch.testing.assert_close(values["labelled"], torch.tensor([1, math.nan, 3]), equal_nan=True)
    assert measure(case(), ["labelled"])[0]["labelled"].isnan().all()
    assert Protocol("labelled").reads_labels
    assert not Protocol(("adcc", "over_all")).reads_labels


def values_of(case):
    return case.maps.flatten(1).amax(1)


@pytest.mark.parametrize(
    ("options", "function", "words"),
    [
        ({"higher_is_better": "yes"}, values_of, "True or False, got 'yes'"),
        ({"unit": "m"}, values_of, "unit must be one of '', '%'"),
        ({"needs": ["boxes"]}, values_of, "needs must be one of 'labels', 'regions'"),
        ({"name": "my metric"}, values_of, 'letters, digits and "_"'),
        ({"name": "drift"}, values_of, 'none of image, class, method, seconds, forward_seconds, drift, got "drift"'),
        ({"name": "adcc"}, values_of, "belongs to captum_cams.metrics.catalogue.masked.adcc; pass another name="),
        ({}, 3, "must be a function of a Case, got 3"),
    ],
)
def test_a_registration_that_does_not_fit_is_refused(registered, options, function, words):
    before = dict(METRICS)
    with pytest.raises(cc.CAMError) as caught:
        register_metric(**{"higher_is_better": True} | options)(function)
    assert words in str(caught.value)
    assert before == METRICS


def test_a_function_of_another_shape_is_refused(registered):
    register_metric(higher_is_better=True, name="whole")(lambda case: case.maps)
    with pytest.raises(cc.CAMError, match=r'"whole" must return .* pair of image and class, 3, got 3×1×5×5'):
        measure(case(), ["whole"])


def test_a_protocol_is_checked_when_it_is_made():
    for options, words in (
        ({"metrics": "adc"}, 'unknown metric "adc"; did you mean "adcc"'),
        ({"metrics": ("energy",), "classes": "all"}, "classes must be one of 'predicted', 'annotated'"),
        ({"metrics": "average_drop", "masking": "none"}, "masking must be one of 'multiply', 'fgcam'"),
    ):
        with pytest.raises(cc.CAMError) as caught:
            Protocol(**options)
        assert words in str(caught.value)


@pytest.mark.parametrize("higher", [True, False])
def test_a_level_without_any_value_is_never_the_best(registered, higher):
    register_metric(higher_is_better=higher, name="leveled", levels=(0.1, 0.2, 0.3))(lambda case: case.maps)
    values = torch.tensor([[torch.nan, 1.0, 2.0], [torch.nan, 3.0, 4.0]])
    found = summary("leveled", values, torch.zeros(2))
    assert (found.mean, found.n, found.level) == ((3.0, 2, 0.3) if higher else (2.0, 2, 0.2))
    assert summary("leveled", torch.full((2, 3), torch.nan), torch.zeros(2)).n == 0


def test_a_metric_may_compare_the_rows_of_a_class(registered):
    def spread(values, classes):  # the distance of each row from the mean of its class
        means = torch.stack([values[classes == index].mean(0) for index in classes])
        return (values - means).norm(dim=1)

    register_metric(higher_is_better=False, name="spread", size=2, over_rows=spread)(lambda case: case.maps)
    values, classes = torch.tensor([[0.0, 0.0], [3.0, 4.0], [6.0, 8.0], [1.0, 1.0]]), torch.tensor([7, 7, 7, 2])
    each, level = row_values("spread", values, classes)
    assert each.tolist() == [5, 0, 5, 0]
    assert level is None
    assert summary("spread", values, classes).mean == 2.5
    register_metric(higher_is_better=False, name="short", size=2, over_rows=lambda values, _: values)(len)
    with pytest.raises(cc.CAMError, match=r'"short" must return one value for each of 4 rows, got 4×2'):
        summary("short", values, classes)
    for options in ({"dtype": torch.uint8}, {"dtype": torch.float16, "size": 2, "over_rows": spread}):
        with pytest.raises(cc.CAMError, match=r"dtype must be torch\.float32, or torch\.uint8"):
            register_metric(higher_is_better=False, **options)
    with pytest.raises(cc.CAMError, match="size and over_rows must be given together"):
        register_metric(higher_is_better=False, size=2)


# Classes, images, one small box alone, the whole image squeezed, steps of the curves, masking, and margin.
PAPERS = {
    "default": ("predicted", None, False, False, 28, "multiply", 0),
    "training": ("predicted", None, False, False, 10, "multiply", 0),
    "fdcam_faithfulness": ("predicted", 2000, False, True, 28, "multiply", 0),  # Li et al., table I
    "fdcam_discriminability": ("annotated", None, False, True, None, "multiply", 0),  # table II
    "fgcam_faithfulness": ("predicted", 2000, False, True, 112, "fgcam", 0),  # Qiu et al., tables 1 and 2
    "fgcam_localisation": ("annotated", 500, True, True, None, "multiply", 0),  # tables 3 and 6
    "jittercam_accuracy": ("predicted", None, False, False, 28, "multiply", 0),  # Hartley et al., table 2
    "jittercam_localisation": ("annotated", None, False, True, None, "multiply", 15),  # tables 3 and 4
    "adcc": ("predicted", None, False, False, None, "multiply", 0),  # Poppi et al., section 3
}


def test_the_protocols_are_those_of_the_papers():
    assert set(PAPERS) == set(metrics.PROTOCOLS)
    for name, (classes, count, small_box, whole, steps, masking, margin) in PAPERS.items():
        found = metrics.PROTOCOLS[name]
        assert (found.classes, found.images, found.masking, found.margin) == (classes, count, masking, margin), name
        assert (found.single_small_box, found.whole) == (small_box, whole), name
        assert found.draws_curves is (steps is not None), name
        if steps is not None:
            assert metrics.PRESETS[found.preset].steps == steps, name
        assert found.reads_labels is (classes == "annotated"), name
