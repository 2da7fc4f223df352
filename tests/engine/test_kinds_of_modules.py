"""Networks that are not plain eager modules: the right map, or an error of ours that says what to do."""

from functools import cache

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import captum_cams as cc
from tests.support.networks import images, seeded

pytestmark = pytest.mark.filterwarnings("ignore")  # what torch deprecates of its own tools


class Eager(nn.Module):
    """Two stages and a head; subclasses run a stage in their own way."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 6, 3, 2), nn.ReLU())
        self.body = nn.Sequential(nn.Conv2d(6, 8, 3, 2), nn.ReLU())
        self.tail = nn.Sequential(nn.Conv2d(8, 8, 3), nn.ReLU())
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))

    def forward(self, x):
        return self.head(self.tail(self.body(self.stem(x))))


class CheckpointedBefore(Eager):
    def forward(self, x):
        return self.head(self.tail(self.body(checkpoint(self.stem, x, use_reentrant=True))))


class CheckpointedBehind(Eager):
    def forward(self, x):
        return self.head(checkpoint(self.tail, self.body(self.stem(x)), use_reentrant=True))


class CheckpointedAround(Eager):
    def forward(self, x):
        return self.head(self.tail(checkpoint(self.body, self.stem(x), use_reentrant=True)))


class ByKeyword(Eager):
    def forward(self, *, image):
        return super().forward(image)


class HeadByKeyword(Eager):
    def forward(self, x):
        maps = self.tail(input=self.body(input=self.stem(input=x)))
        return self.head[2](input=maps.mean((2, 3)))


class InList(Eager):
    """The layer gives its map in a list."""

    def __init__(self):
        super().__init__()
        self.listed = Listed()

    def forward(self, x):
        return self.head(self.tail(self.listed(self.body(self.stem(x)))[0]))


class Listed(nn.Module):
    def forward(self, x):
        return [x]


class Caught(Eager):
    """A module raises, and its parent goes on without it."""

    def __init__(self):
        super().__init__()
        self.broken = nn.Sequential(nn.Conv2d(3, 1, 1), nn.ReLU())

    def forward(self, x):
        x = self.stem(x)
        try:
            self.broken(x)
        except RuntimeError:
            return self.head(self.tail(self.body(x)))


def scripted_stem(net):
    net.stem = torch.jit.script(net.stem)
    return net


def scripted_head(net):
    net.head = torch.jit.script(net.head)
    return net


def quantised(net):
    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.inside = net
            self.begin, self.end = torch.ao.quantization.QuantStub(), torch.ao.quantization.DeQuantStub()

        def forward(self, x):
            return self.end(self.inside(self.begin(x)))

    wrapped = Wrapped().eval()
    wrapped.qconfig = torch.ao.quantization.get_default_qconfig("x86")
    prepared = torch.ao.quantization.prepare(wrapped)
    prepared(images(2))
    return torch.ao.quantization.convert(prepared)


def like(kind):
    made = kind()
    made.load_state_dict(seeded(Eager).state_dict(), strict=False)
    return made.eval()


KINDS = {
    "scripted": lambda: torch.jit.script(seeded(Eager)),
    "traced": lambda: torch.jit.trace(seeded(Eager), images(1)),
    "frozen": lambda: torch.jit.freeze(torch.jit.script(seeded(Eager))),
    "a scripted part before the layer": lambda: scripted_stem(seeded(Eager)),
    "a scripted part behind the layer": lambda: scripted_head(seeded(Eager)),
    "exported": lambda: torch.export.export(seeded(Eager), (images(1),)).module(),
    "a graph of torch.fx": lambda: torch.fx.symbolic_trace(seeded(Eager)),
    "quantised": lambda: quantised(seeded(Eager)),
    "checkpointed before": lambda: like(CheckpointedBefore),
    "checkpointed behind": lambda: like(CheckpointedBehind),
    "checkpointed around": lambda: like(CheckpointedAround),
    "by keyword": lambda: like(ByKeyword),
    "parts by keyword": lambda: like(HeadByKeyword),
    "a map in a list": lambda: like(InList),
    "a module that raises": lambda: like(Caught),
}
EAGER_ONLY = "explain the eager|pass the eager|is not computed from|explain nn.Sequential"
GUIDED = "whose ReLUs no hook reaches"
REFUSED = {
    "scripted": dict.fromkeys(("gradcam", "scorecam", "cam", "rise", "lrp", "relevancecam"), EAGER_ONLY),
    "traced": dict.fromkeys(("gradcam", "scorecam", "cam", "lrp", "relevancecam"), EAGER_ONLY),
    "frozen": dict.fromkeys(("gradcam", "scorecam", "cam", "rise", "lrp", "relevancecam"), EAGER_ONLY),
    "a scripted part before the layer": {"lrp": "is not computed from", "fgcam(gradcam)": "not computed"},
    "a scripted part behind the layer": {
        "lrp": "cannot pass",
        "relevancecam": "not computed|cannot pass",
        "cam": "Grad-CAM",
    },
    "exported": {
        **dict.fromkeys(("gradcam", "scorecam", "cam", "relevancecam", "fgcam(gradcam)"), EAGER_ONLY),
        "rise": "free batch axis",
        "guidedcam(lrp)": "called as a function",
    },
    "quantised": dict.fromkeys(
        ("gradcam", "scorecam", "cam", "lrp", "relevancecam", "fgcam(gradcam)", "guidedcam(lrp)"),
        "before quantisation",
    ),
    "checkpointed before": {
        "lrp": "use_reentrant",
        "fgcam(gradcam)": "use_reentrant",
        "guidedcam(lrp)": "use_reentrant",
    },
    "checkpointed behind": {
        **dict.fromkeys(("gradcam", "fgcam(gradcam)"), "use_reentrant=False"),
        **dict.fromkeys(("lrp", "relevancecam", "guidedcam(lrp)"), "its own gradient"),
    },
    "checkpointed around": {
        **dict.fromkeys(("gradcam", "relevancecam", "fgcam(gradcam)"), "use_reentrant"),
        **dict.fromkeys(("lrp", "guidedcam(lrp)"), "its own gradient"),
    },
    "by keyword": dict.fromkeys(
        ("gradcam", "scorecam", "cam", "rise", "lrp", "relevancecam", "fgcam(gradcam)", "guidedcam(lrp)"), "by position"
    ),
    "a map in a list": {},
}
for kind in ("scripted", "traced", "frozen"):
    REFUSED[kind] |= {"guidedcam(lrp)": GUIDED, "fgcam(gradcam)": EAGER_ONLY}
for where in ("before", "behind"):
    REFUSED[f"a scripted part {where} the layer"] |= {"guidedcam(lrp)": GUIDED}
METHODS = ("gradcam", "scorecam", "fdcam", "cam", "rise", "lrp", "relevancecam", "fgcam(gradcam)", "guidedcam(lrp)")


def explained(name, model, kind):
    layer = {"cam": "tail", "rise": None, "lrp": None, "guidedcam(lrp)": None}.get(name, "body")
    if layer == "body" and kind == "a map in a list":
        layer = "listed"
    if layer and kind == "quantised":
        layer = f"inside.{layer}"
    if layer and kind == "a graph of torch.fx":
        layer += ".1"
    base = {"base": "lrp"} if name == "guidedcam(lrp)" else {}
    options = {"masks": 20} if name == "rise" else {"layer": layer} if layer else {}
    if base:
        return cc.GuidedCAM(model, **base).attribute(images(1), 1)
    return cc.create(name, model, **options).attribute(images(1), 1)


@cache
def of_eager(name):
    return explained(name, seeded(Eager), "eager")


@pytest.mark.parametrize("kind", KINDS)
def test_the_map_is_right_or_the_error_teaches(kind):
    model = KINDS[kind]()
    for name in METHODS:
        words = REFUSED.get(kind, {}).get("gradcam" if name == "fdcam" else name)
        if words:
            with pytest.raises(cc.CAMError, match=words):
                explained(name, model, kind)
            continue
        found, expected = explained(name, model, kind), of_eager(name)
        tolerance = 0.05 if kind == "quantised" else 1e-4  # of eight bits
        assert float((found - expected).abs().max()) <= tolerance * float(expected.abs().max()), name


def test_a_script_as_the_only_layer_of_a_network():
    expected = cc.create("rise", seeded(Eager), masks=20).attribute(images(1), 1)
    script = torch.jit.script(seeded(Eager))
    torch.testing.assert_close(cc.create("rise", nn.Sequential(script), masks=20).attribute(images(1), 1), expected)


@pytest.mark.parametrize("name", ["gradcam", "rise", "fdcam", "lrp", "sglrp", "guidedcam", "jittercam(gradcam)"])
def test_features_without_positions_have_no_map(name):
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4)).eval()
    with pytest.raises(cc.CAMError, match=r"needs images|contributions with positions"):
        cc.create(name, model).attribute(torch.randn(2, 6), 1)
