"""Under the ε-rule a bias keeps its part, however it is added.

So with ReLU, max pooling and affine maps alone, and ε near zero, relevance is the gradient times the activation
(Ancona et al., "Towards Better Understanding of Gradient-Based Attribution Methods", ICLR 2018, proposition 2).
"""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import captum_cams as cc
from captum_cams.relevance.marks import Mark, known_mark, mark
from captum_cams.relevance.operations import Operations
from captum_cams.relevance.rules import ZBetaRule


class Behind(nn.Module):
    """A layer and what follows it, in one of several spellings."""

    def __init__(self, spelling: str) -> None:
        super().__init__()
        self.spelling = spelling
        self.stem, self.conv = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
        self.norm, self.fc = nn.BatchNorm2d(6), nn.Linear(6, 4)
        self.norm.weight.data.uniform_(0.5, 1.5)
        self.norm.bias.data.normal_()
        self.norm.running_mean.normal_()
        self.norm.running_var.uniform_(0.5, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(SPELLINGS[self.spelling](self, self.stem(x)).mean((2, 3)))


def _channels(vector: Tensor) -> Tensor:
    return vector[None, :, None, None]


def _bare(net: Behind, x: Tensor, factor: int = 1) -> Tensor:
    return F.conv2d(x, factor * net.conv.weight, padding=1)


def _norm(net: Behind, x: Tensor) -> Tensor:
    scale = net.norm.weight / (net.norm.running_var + net.norm.eps).sqrt()
    return x * _channels(scale) + _channels(net.norm.bias - net.norm.running_mean * scale)


def _added_in_place(net: Behind, x: Tensor) -> Tensor:
    y = _bare(net, x)
    y += _channels(net.conv.bias)
    return y.relu_()


def _point(net: Behind) -> Tensor:
    return net.conv.weight[:, :, 1, 1]


def _as_rows(net: Behind, x: Tensor) -> Tensor:
    rows = torch.addmm(net.conv.bias, x.movedim(1, 3).flatten(0, 2), _point(net).T, beta=0.5, alpha=3)
    return rows.unflatten(0, (len(x), *x.shape[2:])).movedim(3, 1).relu()


def _as_batches(net: Behind, x: Tensor) -> Tensor:
    weight = _point(net).expand(len(x), -1, -1)
    return torch.baddbmm(net.conv.bias[None, :, None], weight, x.flatten(2), alpha=0.5).unflatten(2, x.shape[2:]).relu()


SPELLINGS = {
    "module": lambda net, x: net.conv(x).relu(),
    "added": lambda net, x: (_bare(net, x) + _channels(net.conv.bias)).relu(),
    "added in place": _added_in_place,
    "a multiple": lambda net, x: torch.add(_bare(net, x), _channels(net.conv.bias), alpha=3).relu(),
    "a multiple of a product": _as_rows,
    "a multiple of products": _as_batches,
    "by keyword": lambda net, x: torch.matmul(input=_point(net), other=x.flatten(2)).unflatten(2, x.shape[2:]).relu(),
    "subtracted": lambda net, x: (_channels(net.conv.bias) - _bare(net, x)).relu(),
    "subtracted a multiple": lambda net, x: torch.sub(_channels(net.conv.bias), _bare(net, x), alpha=2).relu(),
    "from a number": lambda net, x: (1 - _bare(net, x)).relu(),
    "mirrored before a norm": lambda net, x: net.norm(1 - _bare(net, x)).relu(),
    "norm behind": lambda net, x: net.norm(net.conv(x)).relu(),
    "norm behind, written": lambda net, x: _norm(net, net.conv(x)).relu(),
    "norm before": lambda net, x: net.conv(net.norm(x).relu()).relu(),
    "norm before, written": lambda net, x: net.conv(_norm(net, x).relu()).relu(),
    "residual": lambda net, x: F.max_pool2d((net.norm(_bare(net, x)) + net.conv(x) + x).relu(), 2),
    "padded with a constant": lambda net, x: F.avg_pool2d(F.pad(net.conv(x).relu(), (1, 1, 1, 1), value=2.0), 2),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_bias_keeps_its_part_however_it_is_written(spelling):
    torch.manual_seed(3)
    net, x = Behind(spelling).double().eval(), torch.randn(2, 3, 8, 8, dtype=torch.float64)
    cam = cc.LRPCAM(net, net.stem, epsilon=1e-12)
    activation = net.stem(x).detach()
    found = (cam.contributions(x, 1) / activation).flatten(2)[..., 0]
    value = activation.requires_grad_()
    score = net.fc(SPELLINGS[spelling](net, value).mean((2, 3)))[:, 1].sum()
    (gradient,) = torch.autograd.grad(score, value)
    expected = (gradient * activation).detach().flatten(2).sum(2)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6 * float(expected.abs().max()))


def test_what_is_subtracted_is_bounded_from_the_other_side():
    x = mark(torch.randn(2, 3, requires_grad=True), Mark())
    with Operations(False, ZBetaRule(), str):
        mirrored = known_mark(1 - x.relu())
    assert (mirrored.floor, mirrored.ceiling) == (False, True)
