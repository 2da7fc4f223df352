"""ROAD and ARCC beside pytorch-grad-cam's, with the same noise for both."""

import pytest
import torch

from captum_cams import metrics
from captum_cams.images import minmax
from tests.support.networks import NETWORKS, seeded

pytest.importorskip("pytorch_grad_cam", reason="pip install '.[conformance]'")
pytestmark = pytest.mark.filterwarnings("ignore")  # the peers' own
PERCENTAGES = [20, 40, 60, 80]


def pictures(size):
    return torch.randn(3, 3, *size, generator=torch.Generator().manual_seed(1))


def sharp(net):
    """A network whose probabilities change much: its logits have a spread of 2."""
    model = seeded(NETWORKS[net])
    scale = 2 / model(pictures((40, 40))).std().detach()
    return lambda images: scale * model(images)


@pytest.fixture
def same_noise(monkeypatch):
    """Gives the peer's imputation the noise of ours, which is what ours adds if it replaces a whole image."""
    from pytorch_grad_cam.metrics import road

    class SameNoise(road.NoisyLinearImputer):
        def __init__(self):
            super().__init__()
            self.size, self.noise = self.noise, 0.0

        def __call__(self, img, mask):
            everything = torch.ones(1, 1, *mask.shape, dtype=torch.bool)
            flat = torch.zeros_like(img)[None]
            field = metrics.noisy_linear_imputation(flat, everything, self.size)[0]
            return super().__call__(img, mask) + field * (mask == 0)

    monkeypatch.setattr(road, "NoisyLinearImputer", SameNoise)


@pytest.mark.parametrize("size", [(40, 40), (33, 46)])
@pytest.mark.parametrize("net", ["plain", "batch norm", "residual"])
def test_road_is_pytorch_grad_cams(same_noise, net, size):
    from pytorch_grad_cam.metrics.road import ROADCombined
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputSoftmaxTarget

    model, x = sharp(net), pictures(size)
    classes = model(x).argmax(1).tolist()
    maps = torch.rand(3, 1, *size, generator=torch.Generator().manual_seed(2))  # no equal values
    heat = minmax(maps)[:, 0].numpy()
    targets = [ClassifierOutputSoftmaxTarget(c) for c in classes]
    expected = torch.from_numpy(ROADCombined(PERCENTAGES)(x, heat, targets, model))
    assert expected.abs().max() > 1e-3  # ten times what is allowed
    torch.testing.assert_close(metrics.road(model, x, maps, classes), expected, rtol=0, atol=1e-4)
    most, least = metrics.road_curves(model, x, maps, classes, percentages=PERCENTAGES)
    torch.testing.assert_close((least - most).mean(1) / 2, expected, rtol=0, atol=1e-4)


def test_arcc_is_pytorch_grad_cams(same_noise):
    from pytorch_grad_cam.metrics.arcc import ARCC
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputSoftmaxTarget

    model, x = sharp("residual"), pictures((40, 40))

    def explain(images, target=None):
        """A map without equal values: there the peer removes all pixels, and solves equations without a solution."""
        return minmax(images.square().mean(1, keepdim=True))

    maps = explain(x)
    maps = torch.cat((maps, 1 - maps))  # where ROAD is negative, it is positive for the opposite map
    x, classes = torch.cat((x, x)), [1, 4, 2] * 2
    targets = [ClassifierOutputSoftmaxTarget(c) for c in classes]
    peer = ARCC(lambda input_tensor, targets: explain(input_tensor)[:, 0].numpy(), PERCENTAGES)
    expected = torch.from_numpy(peer(x, maps[:, 0].numpy(), targets, model)).float()
    assert expected.max() > 1e-3
    torch.testing.assert_close(metrics.arcc(model, x, maps, classes, explain=explain), expected, rtol=0, atol=1e-4)
