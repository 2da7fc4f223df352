"""A model that writes to its own arguments gets the map of one that does not."""

import pytest
import torch
from torch import Tensor, nn

import captum_cams as cc


class Gated(nn.Module):
    """Scales its features by a second argument, before and after the layer."""

    def __init__(self, writes: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.relu, self.fc, self.writes = nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Linear(4, 3), writes

    def forward(self, x: Tensor, gate: Tensor) -> Tensor:
        gate = gate.mul_(1.5) if self.writes else gate * 1.5
        features = self.relu(self.conv(x * gate[:, None, None, None]))
        return self.fc((features * gate[:, None, None, None]).sigmoid().mean((2, 3)))


@pytest.mark.parametrize("name", ["gradcam", "scorecam", "ablationcam", "integratedgradcam", "lrpcam"])
@pytest.mark.parametrize("perturbations_per_eval", [1, 3])
@pytest.mark.parametrize("further", [True, False])
def test_an_argument_that_the_model_writes_to_is_given_anew_in_each_run(name, perturbations_per_eval, further):
    x, gate = torch.rand(2, 3, 8, 8), torch.tensor([0.6, 0.9])
    maps = []
    for net in (Gated(writes=False).eval(), Gated(writes=True).eval()):
        explainer = cc.create(name, net, net.relu)
        explainer.perturbations_per_eval = perturbations_per_eval
        given = gate.clone()
        found = explainer.attribute(x, 1, given) if further else explainer.attribute((x, given), 1)
        maps.append(found if isinstance(found, Tensor) else found[0])
        assert torch.equal(given, gate)
    torch.testing.assert_close(maps[1], maps[0])
