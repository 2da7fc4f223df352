"""What find_concepts refuses, and what it says."""

import pytest
import torch

import captum_cams as cc
from captum_cams.concepts import find
from tests.support.concepts import planted
from tests.support.networks import images
from tests.support.vit import LAYER, small_vit


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"count": 0}, "count must be an integer of at least 1"),
        ({"count": 9}, r"count must be at most 8 for activations 2×8×6×6"),
        ({"max_iter": 0}, "max_iter must be"),
        ({"seed": -1}, "seed must be"),
        ({"task": "classes"}, "task must be"),
        ({"n_components": 3}, 'no argument "n_components"; here it is called count'),
    ],
)
def test_wrong_arguments(options, words):
    model, x, *_ = planted()
    with pytest.raises(cc.CAMError, match=words):
        cc.find_concepts(model, x, "0", **options)


def test_activations_without_concepts():
    model, x, *_ = planted()
    with pytest.raises(cc.CAMError, match="got only zeros"):
        cc.find_concepts(model, -x, "0")
    with pytest.raises(cc.CAMError, match=r"layer 3 \(Linear\)"):
        cc.find_concepts(model, x, "3")


def test_a_transformer_without_a_relu():
    with pytest.raises(cc.CAMError, match=r"norm1 \(LayerNorm\) must be 0 or greater, .+ transformers"):
        cc.find_concepts(small_vit(), images(2), LAYER)


def test_a_concept_that_is_zero_everywhere(monkeypatch):
    model, x, *_ = planted()
    left, right = torch.ones(72, 3), torch.ones(3, 8)
    right[1] = 0
    monkeypatch.setattr(find, "factorise", lambda *given: (left, right, 0.5))
    with pytest.raises(cc.CAMError, match=r"got 3, of which 1 are zero everywhere; pass count=2"):
        cc.find_concepts(model, x, "0", count=3)


def test_steps_that_are_not_enough_are_said():
    from sklearn.exceptions import ConvergenceWarning

    model, x, *_ = planted()
    with pytest.warns(ConvergenceWarning, match="Maximum number of iterations 1 reached"):
        cc.find_concepts(model, x, "0", max_iter=1)
