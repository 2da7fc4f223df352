"""Opti-CAM against a plain loop with Adam written out, and what its steps do to the score."""

import pytest
import torch
import torch.nn.functional as F

import captum_cams as cc
from tests.support.formulas import LAYERS, run
from tests.support.networks import NETWORKS, images


def masked_score(model, image, activation, u, c, probability=False):
    mixed = sum(weight * channel for weight, channel in zip(u.softmax(0), activation, strict=True))
    large = F.interpolate(mixed[None, None], image.shape[1:], mode="bilinear")[0, 0]
    scores = model((image * (large - large.min()) / (large.max() - large.min()))[None])[0]
    return scores.softmax(0)[c] if probability else scores[c]


def climbed(model, image, activation, c, steps, rate, probability=False):
    """Kingma and Ba, algorithm 1, upwards; gradients of dead channels are zero but for rounding."""
    u, first, second = (torch.zeros(len(activation), dtype=torch.float64) for _ in range(3))
    alive = activation.flatten(1).amax(1) > 0
    for t in range(1, steps + 1):
        at = u.clone().requires_grad_()
        (g,) = torch.autograd.grad(masked_score(model, image, activation, at, c, probability), at)
        g = g * alive
        first, second = 0.9 * first + 0.1 * g, 0.999 * second + 0.001 * g**2
        u = u + rate * first / (1 - 0.9**t) / ((second / (1 - 0.999**t)).sqrt() + 1e-8)
    return u


@pytest.mark.parametrize(("net", "score"), [("plain", "logit"), ("residual", "logit"), ("dense", "probability")])
def test_the_loop_of_the_paper(net, score):
    model, x, layer = NETWORKS[net]().double(), images(2).double(), LAYERS[net]
    found = cc.OptiCAM(model, layer, steps=5, learning_rate=0.2, score=score).contributions(x, [3, 7])
    for n, c in enumerate((3, 7)):
        activation = run(model, layer, x[n])[1][0].detach()
        weights = climbed(model, x[n], activation, c, 5, 0.2, score == "probability").softmax(0)
        torch.testing.assert_close(found[n], weights[:, None, None] * activation, rtol=1e-6, atol=1e-9)


def test_the_score_rises_above_that_of_equal_weights():
    model, x, layer = NETWORKS["residual"]().double(), images(3).double(), "layer4"
    seen = [run(model, layer, image)[1][0].detach() for image in x]
    scores = []
    for steps in (0, 10, 30):
        contributions = [None] * 3 if steps == 0 else cc.OptiCAM(model, layer, steps=steps).contributions(x, 2)
        for image, activation, mixed in zip(x, seen, contributions, strict=True):
            alive = activation.flatten(1).amax(1) > 0
            logits = torch.zeros(len(activation), dtype=x.dtype)
            if mixed is not None:
                logits[alive] = (mixed.flatten(1).sum(1) / activation.flatten(1).sum(1))[alive].log()
                logits[~alive] = -1e9
            with torch.no_grad():
                scores.append(float(masked_score(model, image, activation, logits, 2)))
    start, middle, end = (torch.tensor(scores[i : i + 3]) for i in (0, 3, 6))
    assert (middle > start).all()
    assert (end > middle).all()


def test_parameters_and_the_random_state_are_left_alone():
    model, x = NETWORKS["residual"](), images(2)
    state = torch.get_rng_state()
    cc.OptiCAM(model, "layer4", steps=2).attribute(x)
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("options", [{"steps": 0}, {"learning_rate": 0.0}, {"score": "odds"}])
def test_what_does_not_fit_is_refused(options):
    with pytest.raises(cc.CAMError, match=next(iter(options))):
        cc.OptiCAM(NETWORKS["residual"](), "layer4", **options)
