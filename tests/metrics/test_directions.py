"""Which way every metric improves, as the papers have it, wherever it is said."""

import inspect

import pytest
from torchmetrics import Metric

from captum_cams import metrics
from lightning_callbacks import METRICS, evaluate
from tests.support.evaluation_run import loader, network, quiet

UP = {"insertion_auc", "over_all", "average_increase", "adcc", "coherency"}
UP |= {"road", "arcc", "average_gain", "single_deletion", "calibration"}
UP |= {"pointing_game", "pointing_game_difficult", "energy", "iou"}
UP |= {"relevance_mass", "relevance_rank", "top_k_intersection", "sparseness", "consistency"}
DOWN = {"deletion_auc", "average_drop", "complexity"}
DOWN |= {"localisation_error_value", "localisation_error_mean", "localisation_error_energy"}
DOWN |= {"entropy", "sensitivity", "infidelity", "randomisation", "random_logit"}
# Shells whose name is not that of a metric without its underscores.
NAMES = {"energypointinggame": "energy", "localisationerror": "localisation_error_value"}
CLASSES = {name: one for name in metrics.__all__ if inspect.isclass(one := getattr(metrics, name))}
SHELLS = [name for name, one in CLASSES.items() if issubclass(one, Metric)]


def test_every_metric_has_a_direction_here():
    assert UP.isdisjoint(DOWN)
    assert set(METRICS) == UP | DOWN


def test_the_printed_table_has_the_arrows():
    table = evaluate(network(), loader(), methods=["centre"], metrics=list(METRICS), trainer=quiet())
    header = [cell.strip() for cell in str(table).splitlines()[0].strip("|").split("|")]
    assert header[0] == "method"
    arrows = dict(cell.removesuffix(" (%)").rsplit(" ", 1) for cell in header[1 : 1 + len(METRICS)])
    assert arrows == {name: "↑" if name in UP else "↓" for name in METRICS}


@pytest.mark.parametrize("name", SHELLS)
def test_the_shells_say_the_same_to_torchmetrics(name):
    plain = name.lower()
    (metric,) = {one for one in UP | DOWN if one.replace("_", "") == plain or one == NAMES.get(plain)}
    assert getattr(metrics, name).higher_is_better is (metric in UP)


def test_there_are_shells():
    assert {"ADCC", "InsertionAUC", "DeletionAUC", "PointingGame", "LocalisationError"} <= set(SHELLS)
