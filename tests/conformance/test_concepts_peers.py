"""Deep feature factorisation of pytorch-grad-cam 1.5.7, where every channel has 0 somewhere in the batch."""

import numpy as np
import pytest
import torch

import captum_cams as cc
from captum_cams.concepts.factorisation import factorise
from tests.support.concepts import planted
from tests.support.networks import NETWORKS, images

peer = pytest.importorskip(
    "pytorch_grad_cam.feature_factorization.deep_feature_factorization", reason="pip install '.[conformance]'"
)
pytestmark = pytest.mark.filterwarnings("ignore")  # the peer's own, such as too few steps of the solver


def seen(net: str, layer: str) -> tuple[torch.nn.Module, torch.Tensor, torch.Tensor]:
    """A network, images, and the activation of a layer."""
    model, x, kept = NETWORKS[net](), images(4), []
    handle = model.get_submodule(layer).register_forward_hook(lambda *args: kept.append(args[2].detach()))
    model(x)
    handle.remove()
    return model, x, kept[0]


def product(directions: np.ndarray, maps: np.ndarray) -> np.ndarray:
    return np.einsum("nkhw,kc->nchw", maps, directions)


CASES = [("plain", "features.1"), ("batch norm", "features.2"), ("residual", "layer1.0")]


@pytest.mark.parametrize(("net", "layer"), CASES)
def test_the_solver_is_the_same_on_the_transpose(net, layer):
    activation = seen(net, layer)[2]
    assert (activation.amin((0, 2, 3)) == 0).all()  # so that the peer subtracts nothing
    directions, maps = peer.dff(activation.numpy().copy(), 4)
    rows = activation.movedim(1, 0).flatten(1)
    left, right, _ = factorise(rows, 4, 0, 200)
    expected = product(directions.T, maps)
    found = (left @ right).reshape(activation.movedim(1, 0).shape).movedim(0, 1).numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * float(activation.max()))


@pytest.mark.parametrize(("net", "layer"), CASES)
def test_another_start_ends_at_the_same_concepts(net, layer):
    """Reason: the transpose has the same solutions, but the random numbers of the start lie elsewhere.

    With more concepts the two may end in different local minima, as two seeds of either library do.
    """
    model, x, activation = seen(net, layer)
    found = cc.find_concepts(model, x, layer, count=3)
    directions, maps = peer.dff(activation.numpy().copy(), 3)
    theirs = np.linalg.norm(activation.numpy() - product(directions.T, maps)) / np.linalg.norm(activation.numpy())
    # No matrix of rank 3 comes closer than the singular value decomposition.
    values = torch.linalg.svdvals(activation.movedim(1, -1).flatten(0, -2).double())
    assert float(values[3:].norm() / values.norm()) <= min(found.error, theirs)
    assert abs(found.error - theirs) < 1e-3
    # The cosines between the two subspaces.
    ours, others = (torch.linalg.qr(basis)[0] for basis in (found.directions.T, torch.from_numpy(directions)))
    assert torch.linalg.svdvals(ours.T @ others).min() > 0.999


def test_a_unique_factorisation_is_the_same():
    """Both find the planted concepts: their directions as angles, their maps scaled, their order by hand."""
    model, x, *_ = planted()
    found = cc.find_concepts(model, x, "0", count=3)
    whole = peer.DeepFeatureFactorization(model, model[0])
    directions, _ = whole(x, 3)
    directions = torch.from_numpy(directions).T
    cosines = torch.nn.functional.cosine_similarity(found.directions[:, None], directions[None], dim=2)
    best = cosines.max(1)
    assert sorted(best.indices.tolist()) == [0, 1, 2]
    torch.testing.assert_close(best.values, torch.ones(3), rtol=0, atol=1e-4)
    directions, maps = peer.dff(x.numpy().copy(), 3)
    ours = product(found.directions.numpy(), found.maps.numpy())
    np.testing.assert_allclose(ours, product(directions.T, maps), rtol=0, atol=1e-4 * float(x.max()))


def test_difference_the_peer_subtracts_the_minimum_of_each_channel():
    """Reason: it adds the minimum to every direction, so the product of maps and directions is not the activation."""
    model, x, *_ = planted()
    activation = x + 1  # 0 nowhere
    directions, maps = peer.dff(activation.numpy().copy(), 3)
    theirs = np.linalg.norm(activation - product(directions.T, maps)) / np.linalg.norm(activation)
    found = cc.find_concepts(model, activation, "0", count=4)
    assert found.error < 0.02 < theirs
