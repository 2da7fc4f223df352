"""Steps of a network, each written in two ways that compute the same."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

K = 4  # channels of every map
flip, cat = torch.flip, torch.cat


class Written(nn.Module):
    """Steps on the pixels, a layer, steps on the map, a pooling and a Linear, each a function of the network."""

    def __init__(self, steps) -> None:
        super().__init__()
        self.steps = steps
        self.first, self.conv, self.point = nn.Conv2d(3, K, 3, padding=1), nn.Conv2d(K, K, 3, 1, 1), nn.Conv2d(K, K, 1)
        self.norm, self.gate, self.head = nn.BatchNorm2d(K), nn.Conv2d(K, K, 1), nn.Linear(K, 5)

    def forward(self, x: Tensor) -> Tensor:
        for step in self.steps:
            x = step(self, x)
        return self.head(x)


def column(values: Tensor) -> Tensor:
    return values[:, None, None]


def by_hand(n: Written, x: Tensor) -> Tensor:
    scale = n.norm.weight * torch.rsqrt(n.norm.running_var + n.norm.eps)
    return (x - column(n.norm.running_mean)) * column(scale) + column(n.norm.bias)


def patches(layer: nn.Conv2d, x: Tensor, product, pad=lambda x: F.pad(x, (1, 1, 1, 1))) -> Tensor:
    columns = F.unfold(pad(x), 3)
    return product(columns, layer.weight.flatten(1)).unflatten(2, x.shape[2:]) + column(layer.bias)


def frame(x: Tensor, value: float) -> Tensor:
    side = x.new_full((*x.shape[:3], 1), value)
    x = cat((side, x, side), 3)
    line = x.new_full((*x.shape[:2], 1, x.shape[3]), value)
    return cat((line, x, line), 2)


def pads(x: Tensor, value: float) -> Tensor:
    return F.pad(x, (1, 1, 1, 1), value=value)


def bare(layer: nn.Conv2d, x: Tensor, padding: int = 1) -> Tensor:
    return F.conv2d(x, layer.weight, None, padding=padding)


def framed(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """A convolution of zeros around x, and what the frame adds to it."""
    return bare(layer, x) + bare(layer, pads(torch.zeros_like(x), 0.7), 0) + column(layer.bias)


def quarters(x: Tensor) -> list[Tensor]:
    return [x[..., i::2, j::2] for i in (0, 1) for j in (0, 1)]


def added(x: Tensor, other: Tensor) -> Tensor:
    x += other
    return x


PIXELS = {
    "grey: mean, slices": (
        lambda n, x: x.mean(1, keepdim=True).expand(-1, 3, -1, -1),
        lambda n, x: ((x[:, :1] + x[:, 1:2] + x[:, 2:]) / 3).repeat(1, 3, 1, 1),
    ),
    "grey: mean, sum": (
        lambda n, x: x.mean(1, keepdim=True).expand(-1, 3, -1, -1),
        lambda n, x: cat([x.sum(1, keepdim=True) / 3] * 3, 1),
    ),
    "weighted grey": (
        lambda n, x: (x * column(torch.tensor([0.3, 0.6, 0.1]))).sum(1, keepdim=True) * torch.ones(3, 1, 1),
        lambda n, x: torch.stack([0.3 * x[:, 0] + (0.6 * x[:, 1] + 0.1 * x[:, 2])] * 3, 1),
    ),
    "grey by einsum": (
        lambda n, x: x.mean(1, keepdim=True).expand(-1, 3, -1, -1),
        lambda n, x: torch.einsum("nhw,k->nkhw", torch.einsum("nchw->nhw", x / 3), torch.ones(3)),
    ),
    "half": (
        lambda n, x: F.avg_pool2d(x, 2).repeat_interleave(2, 2).repeat_interleave(2, 3),
        lambda n, x: F.interpolate(sum(quarters(x)) / 4, scale_factor=2),
    ),
    "half by stack": (
        lambda n, x: F.interpolate(F.interpolate(x, scale_factor=0.5, mode="area"), scale_factor=2),
        lambda n, x: F.interpolate(torch.stack(quarters(x)).mean(0), scale_factor=2, mode="nearest-exact"),
    ),
    "symmetric": (lambda n, x: (x + x.flip(-1)) / 2, lambda n, x: torch.stack((x.flip(3), x), 1).mean(1)),
    "in place": (lambda n, x: x + x.flip(2), lambda n, x: added(x.clone(), x.flip(2))),
    "difference": (lambda n, x: x - flip(x, (2,)) / 2, lambda n, x: torch.sub(x, x.flip(2), alpha=0.5)),
    "normalised": (
        lambda n, x: (x - 0.5) / 0.25,
        lambda n, x: F.batch_norm(x, torch.full((3,), 0.5), torch.full((3,), 0.0625), eps=0),
    ),
    "clipped": (lambda n, x: x.clamp(0, 1), lambda n, x: torch.minimum(x.relu(), torch.ones(()))),
    "masked": (lambda n, x: x.relu(), lambda n, x: x * (x > 0)),
    "crops": (lambda n, x: cat((x[:, :, 6:], x[:, :, :6]), 2), lambda n, x: x.roll(2, 2)),
    "constant": (lambda n, x: (x + 1) - 0.5, lambda n, x: 0.5 + x),
    "detached": (lambda n, x: x, lambda n, x: x.detach()),
}
FIRST = {
    "bias": (lambda n, x: n.first(x), lambda n, x: bare(n.first, x) + column(n.first.bias)),
    "matmul": (lambda n, x: n.first(x), lambda n, x: patches(n.first, x, lambda u, w: (u.mT @ w.mT).mT)),
    "bmm": (
        lambda n, x: n.first(x),
        lambda n, x: patches(n.first, x, lambda u, w: torch.bmm(u.mT, w.mT.expand(len(u), -1, -1)).mT),
    ),
    "linear": (lambda n, x: n.first(x), lambda n, x: patches(n.first, x, lambda u, w: F.linear(u.mT, w).mT)),
    "weight first": (lambda n, x: n.first(x), lambda n, x: patches(n.first, x, lambda u, w: w @ u)),
    "einsum": (
        lambda n, x: n.first(x),
        lambda n, x: patches(n.first, x, lambda u, w: torch.einsum("ndp,kd->nkp", u, w)),
    ),
    "tensordot": (
        lambda n, x: n.first(x),
        lambda n, x: patches(n.first, x, lambda u, w: torch.tensordot(u, w, ([1], [1])).mT),
    ),
    "padded unfold": (
        lambda n, x: n.first(x),
        lambda n, x: (F.linear(F.unfold(x, 3, padding=1).mT, n.first.weight.flatten(1), n.first.bias).mT).unflatten(
            2, x.shape[2:]
        ),
    ),
    "padding outside": (lambda n, x: n.first(x), lambda n, x: bare(n.first, pads(x, 0), 0) + column(n.first.bias)),
    "constant frame": (
        lambda n, x: bare(n.first, pads(x, 0.7), 0),
        lambda n, x: bare(n.first, frame(x, 0.7), 0),
    ),
    "frame as a bias": (
        lambda n, x: bare(n.first, pads(x, 0.7), 0) + column(n.first.bias),
        lambda n, x: framed(n.first, x),
    ),
}
MAP = {
    "bias": (lambda n, x: n.conv(x), lambda n, x: bare(n.conv, x) + column(n.conv.bias)),
    "bias in place": (lambda n, x: n.conv(x), lambda n, x: added(bare(n.conv, x), column(n.conv.bias))),
    "matmul": (lambda n, x: n.conv(x), lambda n, x: patches(n.conv, x, lambda u, w: (u.mT @ w.mT).mT)),
    "einsum": (
        lambda n, x: n.point(x),
        lambda n, x: torch.einsum("nchw,kc->nkhw", x, n.point.weight[:, :, 0, 0]) + column(n.point.bias),
    ),
    "einsum of a list": (
        lambda n, x: n.point(x),
        lambda n, x: torch.einsum("nchw, kc -> nkhw", [x, n.point.weight[:, :, 0, 0]]) + column(n.point.bias),
    ),
    "addmm": (
        lambda n, x: n.point(x),
        lambda n, x: (
            torch.addmm(n.point.bias, x.movedim(1, 3).flatten(0, 2), n.point.weight[:, :, 0, 0].T)
            .unflatten(0, (len(x), *x.shape[2:]))
            .movedim(3, 1)
        ),
    ),
    "product and sum": (
        lambda n, x: F.conv2d(x, n.point.weight),
        lambda n, x: (x[:, None] * n.point.weight[None]).sum(2),
    ),
    "frame": (lambda n, x: bare(n.conv, pads(x, 0.7), 0), lambda n, x: bare(n.conv, frame(x, 0.7), 0)),
    "frame as a bias": (
        lambda n, x: bare(n.conv, pads(x, 0.7), 0) + column(n.conv.bias),
        lambda n, x: framed(n.conv, x),
    ),
    "norm": (lambda n, x: n.norm(x), by_hand),
    "norm of a rectified map": (lambda n, x: n.norm(x.relu()), lambda n, x: by_hand(n, x.clamp(min=0))),
    "division": (lambda n, x: x / 4, lambda n, x: torch.mul(x, 0.25)),
    "clamp": (lambda n, x: x.relu(), lambda n, x: x.clamp(min=0)),
    "maximum": (lambda n, x: x.relu(), lambda n, x: torch.maximum(x, torch.zeros(()))),
    "threshold": (lambda n, x: x.relu(), lambda n, x: F.threshold(x, 0.0, 0.0)),
    "mask": (lambda n, x: x.relu(), lambda n, x: x * (x > 0)),
    "mask of numbers": (lambda n, x: x.relu(), lambda n, x: (x > 0).to(x) * x),
    "relu6": (lambda n, x: F.relu6(x), lambda n, x: x.clamp(min=0).clamp(max=6)),
    "swish": (lambda n, x: F.silu(x), lambda n, x: x * x.sigmoid()),
    "hard swish": (lambda n, x: F.hardswish(x), lambda n, x: x * F.relu6(x + 3) / 6),
    "hard swish of extremes": (
        lambda n, x: F.hardswish(x),
        lambda n, x: x * torch.minimum(torch.maximum(x + 3, torch.zeros(())), torch.full((), 6.0)) / 6,
    ),
    "skip": (lambda n, x: x + n.conv(x), lambda n, x: torch.stack([x, n.conv(x)]).sum(0)),
    "skip as a mean": (lambda n, x: n.conv(x) + x, lambda n, x: 2 * torch.stack([x, n.conv(x)], 1).mean(1)),
    "skip in place": (lambda n, x: x + n.conv(x), lambda n, x: added(x.clone(), n.conv(x))),
    "rectified skip in place": (lambda n, x: x.relu() + n.conv(x.relu()), lambda n, x: skip_in_place(n, x.relu())),
    "difference": (lambda n, x: x - n.conv(x), lambda n, x: x + (-n.conv(x))),
    "nearest": (
        lambda n, x: F.max_pool2d(F.interpolate(x, scale_factor=2), 2),
        lambda n, x: F.max_pool2d(x.repeat_interleave(2, 2).repeat_interleave(2, 3), 2),
    ),
    "halves": (
        lambda n, x: F.interpolate(F.avg_pool2d(x, 2), scale_factor=2),
        lambda n, x: F.interpolate(F.interpolate(x, scale_factor=0.5, mode="bilinear"), scale_factor=2),
    ),
    "window": (
        lambda n, x: F.avg_pool2d(x, 2, 1).repeat(1, 1, 2, 2)[..., : x.shape[2], : x.shape[3]],
        lambda n, x: F.conv2d(x, x.new_full((K, 1, 2, 2), 0.25), groups=K).repeat(1, 1, 2, 2)[
            ..., : x.shape[2], : x.shape[3]
        ],
    ),
    "gate": (lambda n, x: x * n.gate(x).sigmoid(), lambda n, x: torch.sigmoid(n.gate(x)).mul(x)),
    "small map, large gate": (
        lambda n, x: x.relu().mean((2, 3), keepdim=True) * n.gate(x).sigmoid(),
        lambda n, x: x.relu().mean((2, 3), keepdim=True).expand_as(x) * n.gate(x).sigmoid(),
    ),
    "squeeze and excitation": (
        lambda n, x: x * n.gate(F.adaptive_avg_pool2d(x, 1)).sigmoid(),
        lambda n, x: n.gate(x.sum((2, 3), keepdim=True) / x[0, 0].numel()).sigmoid() * x,
    ),
    "gate by einsum": (
        lambda n, x: x * n.gate(x.mean((2, 3), keepdim=True)).sigmoid(),
        lambda n, x: torch.einsum("nchw,nc->nchw", x, n.gate(x.mean((2, 3), keepdim=True)).sigmoid()[..., 0, 0]),
    ),
}
POOL = {
    "sum": (lambda n, x: x.mean((2, 3)), lambda n, x: x.sum((2, 3)) / x[0, 0].numel()),
    "adaptive": (lambda n, x: F.adaptive_avg_pool2d(x, 1).flatten(1), lambda n, x: x.flatten(2).mean(2)),
    "product": (lambda n, x: x.flatten(2).sum(2), lambda n, x: (x.flatten(2) @ torch.ones(x[0, 0].numel(), 1))[..., 0]),
    "maximum": (lambda n, x: F.adaptive_max_pool2d(x, 1)[..., 0, 0], lambda n, x: x.flatten(2).max(2).values),
    "largest": (lambda n, x: F.adaptive_max_pool2d(x, 1)[..., 0, 0], lambda n, x: x.amax((2, 3))),
    "attention": (
        lambda n, x: (x.flatten(2) * n.gate(x).flatten(2).softmax(2)).sum(2),
        lambda n, x: torch.einsum("nkp,nkp->nk", x.flatten(2), n.gate(x).flatten(2).softmax(2)),
    ),
}


def skip_in_place(n: Written, x: Tensor) -> Tensor:
    x += n.conv(x)
    return x
