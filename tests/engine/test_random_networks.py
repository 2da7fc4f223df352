"""Random networks of many shapes, alone and in batches with blank and odd samples, against the plain loop."""

import random
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import captum_cams as cc
from captum_cams.images import minmax

CHANNELS, CLASSES = 8, 4


def pairs(pooled: Tensor) -> Tensor:
    return pooled.view(len(pooled), -1, 2)


def energy(pooled: Tensor) -> Tensor:
    return pooled.abs().sum(1, keepdim=True)


HEADS = {
    "channel by channel": lambda net, z, e: z,
    "L2 norm": lambda net, z, e: F.normalize(z),
    "L1 norm": lambda net, z, e: F.normalize(z, p=1.0),
    "layer norm": lambda net, z, e: F.layer_norm(z, z.shape[1:]),
    "softmax over channels": lambda net, z, e: z.softmax(1),
    "max-out": lambda net, z, e: pairs(z).amax(2).repeat_interleave(2, 1),
    "winner takes all": lambda net, z, e: (pairs(z) * (pairs(z) >= pairs(z).amax(2, keepdim=True))).flatten(1),
    "winner of one pair": lambda net, z, e: torch.cat((z[:, :6], HEADS["winner takes all"](net, z[:, 6:], e)), 1),
    "strong features normalised": lambda net, z, e: torch.where(energy(z) > net.middle, F.normalize(z), z),
    "weak features shifted": lambda net, z, e: torch.where(energy(z) < 0.3 * net.middle, z + 1, z),
    "embedding added": lambda net, z, e: z + net.embedding(e),
    "embedding gates": lambda net, z, e: z * net.embedding(e).sigmoid(),
    "shifted": lambda net, z, e: z + 0.3,
}
ENDS = {
    "": lambda y: y,
    "ReLU": F.relu,
    "ReLU in place": lambda y: y.relu_(),
    "clamp": lambda y: y.clamp(min=0.1),
    "softmax": lambda y: y.softmax(1),
    "scaled": lambda y: 3 * y,
    "conditional": lambda y: torch.where(y.sum(1, keepdim=True) > 0, y, -2 * y),
}
PLACES = ("plain", "residual", "used twice")
MEMORIES = ("", "attribute", "list", "outside")


class Encoder(nn.Module):
    """What comes before the layer; where wished for, it keeps its features for the head."""

    def __init__(self, memory: str) -> None:
        super().__init__()
        self.conv, self.memory = nn.Conv2d(3, CHANNELS, 3, 2, 1), memory
        self.kept, self.several = None, [None]

    def forward(self, x: Tensor) -> Tensor:
        z = self.conv(x).relu()
        if self.memory == "attribute":
            self.kept = z.mean((2, 3))
        if self.memory == "list":
            self.several[0] = z.mean((2, 3))
        if self.memory == "outside":
            OUTSIDE["kept"] = z.mean((2, 3))
        return z


OUTSIDE: dict[str, Tensor] = {}


@dataclass(frozen=True)
class Shape:
    head: str
    end: str
    place: str
    memory: str
    hidden: bool
    bypass: bool
    pooling: str
    scale: float


class Net(nn.Module):
    def __init__(self, shape: Shape, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.shape, self.encoder = shape, Encoder(shape.memory)
        self.layer = nn.Sequential(nn.Conv2d(CHANNELS, CHANNELS, 3, 1, 1), nn.ReLU())
        self.embedding = nn.Embedding(4, CHANNELS, padding_idx=0)
        self.hidden, self.other = nn.Linear(CHANNELS, CHANNELS), nn.Linear(CHANNELS, CLASSES)
        self.fc = nn.Linear(CHANNELS, CLASSES)
        self.middle = 1.0
        with torch.no_grad():
            self.layer[0].weight[1], self.layer[0].bias[1] = 0, -1  # a dead channel
            self.layer[0].weight[6:8] *= 2
            self.layer[0].bias[6:8] = 0.1
            for end in (self.fc, self.other):
                end.weight.mul_(3 * shape.scale)
                end.bias.mul_(shape.scale)

    def pooled(self, z: Tensor) -> Tensor:
        return z.amax((2, 3)) if self.shape.pooling == "max" else z.mean((2, 3))

    def forward(self, x: Tensor, e: Tensor) -> Tensor:
        z = self.encoder(x)
        if self.shape.place == "used twice":
            z = self.layer(z)
        z = self.layer(z) + (z if self.shape.place == "residual" else 0)
        p = HEADS[self.shape.head](self, self.pooled(z), e)
        kept = {"attribute": self.encoder.kept, "list": self.encoder.several[0], "outside": OUTSIDE.get("kept")}
        if self.shape.memory:
            p = p + kept[self.shape.memory]
        y = self.fc(self.hidden(p).relu() if self.shape.hidden else p)
        return ENDS[self.shape.end](y + self.other(self.pooled(z)) if self.shape.bypass else y)


def draw(seed: int) -> tuple[Net, Tensor, Tensor, list[int], int]:
    """A network, a batch, its further argument, its targets and a chunk; every choice is met in the first seeds."""
    pick = random.Random(seed)
    shape = Shape(
        head=[*HEADS][seed % len(HEADS)],
        end=pick.choice([*ENDS]),
        place=pick.choice(PLACES),
        memory=pick.choice(("", "", *MEMORIES)),
        hidden=pick.random() < 0.3,
        bypass=pick.random() < 0.15,
        pooling=pick.choice(("mean", "max")),
        scale=pick.choice((1.0, 1.0, 1e-6)),
    )
    net = Net(shape, seed).eval()
    count = pick.choice((1, 2, 3, 3, CHANNELS))
    x = torch.randn(count, 3, 10, 10)
    if count > 1:
        x[0] = 0  # a blank one, and one of a single colour
        x[-1] = torch.tensor([0.9, -0.4, 0.2])[:, None, None]
    e = torch.arange(count) % 4
    with torch.no_grad():
        net.middle = float(energy(net.pooled(net.layer(net.encoder(x)))).median()) * 0.999
    return net, x, e, [pick.randrange(CLASSES) for _ in range(count)], pick.choice((1, 3, 3, CHANNELS, 64))


class Loop:
    """The definitions for one sample, in full runs of one row."""

    def __init__(self, net: Net, x: Tensor, e: Tensor, target: int) -> None:
        self.net, self.x, self.e, self.target = net, x[None], e[None], target
        self.uses = 2 if net.shape.place == "used twice" else 1
        box: list[Tensor] = []
        hook = net.layer.register_forward_hook(lambda m, a, out: box.append(out.detach().requires_grad_()) or box[-1])
        with torch.enable_grad():
            self.score = net(self.x, self.e)[0, target]
            (self.gradient,) = torch.autograd.grad(self.score, box[-1], allow_unused=True)
        hook.remove()
        self.activation = box[-1].detach()[0]

    @torch.no_grad()
    def run(self, activation: Tensor) -> Tensor:
        calls = iter(range(1, self.uses + 1))
        hook = self.net.layer.register_forward_hook(lambda *_: activation[None] if next(calls) == self.uses else None)
        found = self.net(self.x, self.e)[0, self.target]
        hook.remove()
        return found

    def masked(self, masks: Tensor) -> Tensor:
        return torch.stack([self.run(mask * self.activation) for mask in masks])

    def switched(self, masks: Tensor) -> Tensor:
        return self.masked(masks[..., None, None])

    def channels(self, weights: Tensor) -> Tensor:
        return (weights[:, None, None] * self.activation).sum(0)

    def ablationcam(self, cam: cc.AblationCAM) -> tuple[Tensor, Tensor]:
        scores = self.switched(~torch.eye(CHANNELS, dtype=torch.bool))
        full = self.run(self.activation)
        return self.channels((full - scores) / (full.abs() if full else 1)), torch.cat((scores, full[None]))

    def fdcam(self, cam: cc.FDCAM) -> tuple[Tensor, Tensor]:
        group = cam.groups(self.activation[None])[0]
        change = self.switched(group) - self.switched(~group)
        alpha = self.gradient[0].mean((1, 2))
        return self.channels(minmax(alpha, 0) * minmax(change, 0).exp() - 0.5), change

    def reciprocam(self, cam: cc.ReciproCAM) -> tuple[Tensor, Tensor]:
        scores = self.masked(torch.eye(25).view(25, 1, 5, 5))
        return minmax(scores, 0).view(5, 5), scores

    @torch.no_grad()
    def scorecam(self, cam: cc.ScoreCAM) -> tuple[Tensor, Tensor]:
        masks = minmax(F.interpolate(self.activation[:, None], (10, 10), mode="bilinear"))
        scores = torch.stack([self.net(self.x * mask, self.e)[0, self.target] for mask in masks])
        return self.channels(scores.softmax(0)), scores


pytestmark = pytest.mark.filterwarnings("ignore:the outputs of Net look like probabilities")  # ENDS has a softmax


@pytest.fixture(autouse=True)
def _one_thread(_threads):
    torch.set_num_threads(1)  # several only wait for each other in networks as small as these


@pytest.mark.parametrize("name", ["ablationcam", "fdcam", "reciprocam", "scorecam"])
@pytest.mark.parametrize("first", [0, len(HEADS)])
def test_every_map_is_that_of_the_plain_loop(name, first):
    compared = 0
    for seed in range(first, first + len(HEADS)):
        net, x, e, targets, chunk = draw(seed)
        cam = cc.create(name, net, net.layer, perturbations_per_eval=chunk)
        batch = cam.attribute(x, targets, e, relu_attributions=False)
        for n in {0, len(x) // 2}:
            target = targets[n]
            alone = cam.attribute(x[n : n + 1], target, e[n : n + 1], relu_attributions=False)
            expected, scores = getattr(Loop(net, x[n], e[n], target), name)(cam)
            if scores.max() - scores.min() < 1e-4 * scores.abs().max():
                continue  # differences below rounding, which are scaled up
            compared += 1
            for found in (batch[n, 0], alone[0, 0]):
                off = float((found - expected).abs().max() / expected.abs().max().clamp(min=1e-30))
                assert off < 1e-3, (
                    f"seed {seed}, sample {n} of {len(x)}, chunk {chunk}: off by {off:.1e} in {net.shape}"
                )
    assert compared > len(HEADS) / 2
