"""Any change of what an evaluation depends on shows; what is the same is the same in another process."""

import functools
import inspect
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import captum_cams as cc
from captum_cams.engine.layout import Layout
from captum_cams.registry import lookup
from lightning_callbacks.evaluation.fingerprints import Description, digest
from lightning_callbacks.evaluation.settings import differences, plain, settings_of
from lightning_callbacks.network import Network
from tests.support.arguments import other
from tests.support.evaluation_run import network

ROOT = Path(__file__).parents[2]
OFFSET = 1


def held(model=None, method=None, version=None, **given):
    """The settings of a small evaluation, in which one thing is replaced."""
    model = network() if model is None else model
    seen = Network(model, None)
    methods = {"one": cc.create("gradcam", seen) if method is None else method(seen)}
    return plain(settings_of(model, seen, methods, version, **given))


def shifted(by):
    return lambda output: output + by


def adding(scores):
    return scores + OFFSET


class Scaled:
    """A callable object."""

    def __init__(self, factor):
        self.factor = factor

    def __call__(self, output):
        return self.factor * output


class Twice(nn.Module):
    def forward(self, x):
        return 2 * x


class Thrice(nn.Module):
    def forward(self, x):
        return 3 * x


def options(name):
    defaults = cc.create(name, network()).hyperparameters
    refused = {"base", "reshape"} if name == "fgcam" else {"base"}  # relevance has no way through reshape=
    return [(name, key, value) for key, value in defaults.items() if key not in refused]


@pytest.mark.parametrize(("name", "key", "value"), [one for name in cc.names() for one in options(name)])
def test_every_hyperparameter_counts(name, key, value):
    """Among them batch_norm, pixel_range, transformations and layers, which vars() hid or named by their class."""
    changed = {key: [0] if key == "layers" else other(key, value)}
    changed = {key: ["network.0", "network.2"]} if key == "layers" else changed
    changed = {key: "network.0"} if key == "to" else changed
    before = held(method=lambda seen: cc.create(name, seen))
    after = held(method=lambda seen: cc.create(name, seen, **changed))
    found = differences(before, after)
    assert found
    assert all(one.startswith("methods.one") for one in found)
    assert any(key in one for one in found)


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_functions_count_by_code_closure_and_defaults(data):
    """Two draws of the same recipe are told apart where what they do differs, and only there."""
    values = st.one_of(st.integers(-3, 3), st.floats(-3, 3), st.booleans(), st.text(max_size=2), st.none())
    recipes = {
        "closure": lambda v: shifted(v),
        "default": lambda v: lambda output, by=v: output,
        "keyword": lambda v: lambda output, *, by=v: output,
        "partial": lambda v: functools.partial(torch.add, other=v),
        "object": Scaled,
        "method": lambda v: Scaled(v).__call__,
        "nested": lambda v: lambda output: (lambda inner: inner + len(str(v)) * 0)(shifted(v)),
        "constant": lambda v: eval(f"lambda output: {v!r}", {"nan": None}),
        "tensor": lambda v: shifted(torch.tensor(len(str(v)) + hash(v) % 97)),
        "layout": lambda v: Layout(shifted(v)),
        "list": lambda v: shifted([v, (v, {"k": v})]),
    }
    name = data.draw(st.sampled_from(sorted(recipes)))
    first, second = data.draw(values), data.draw(values)
    one, two, again = (digest(Description({}).of(recipes[name](v))) for v in (first, second, first))
    assert one == again
    if name == "tensor":
        return
    assert (one == two) == (type(first) is type(second) and repr(first) == repr(second)), (name, first, second)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 6), st.sampled_from(["act", "prefix", "attribute", "buffer", "hook", "dropped", "forward"]))
def test_every_part_of_the_model_counts(place, kind):
    def build(changed):
        torch.manual_seed(0)
        parts = [nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        model = nn.Sequential(*parts, nn.Linear(4, 3))
        if kind == "act" and changed:
            model[1 if place < 3 else 3] = nn.GELU()
        if kind == "prefix":
            model.insert(0, nn.Sequential(nn.Dropout(0.2 if changed else 0.1)))
        if kind == "attribute":
            model[place].scale = 2.0 + changed
        if kind == "buffer":
            model[place].register_buffer("mean", torch.zeros(2) + changed, persistent=False)
        if kind == "hook":
            model[place].register_forward_hook(shifted_hook(1 + changed))
        if kind == "dropped" and changed:
            model.pop(3)
        if kind == "forward":
            model.append(Thrice() if changed else Twice())
        return model.eval()

    before, same, after = (held(build(changed)) for changed in (False, False, True))
    assert differences(before, same) == []
    assert any(one.startswith("model") for one in differences(before, after))


def shifted_hook(by):
    return lambda module, args, output: output + by


def test_relu_and_gelu_and_a_function_in_forward_are_named_with_their_place():
    changed = network()
    changed[1] = nn.GELU()
    assert differences(held(), held(changed)) == ["model.parts.1"]


def test_layouts_and_nested_bases_and_rules_count():
    def made(**options):
        return held(method=lambda seen: cc.create("gradcam", seen, "network.2", **options))

    assert differences(made(reshape=cc.tokens(1)), made(reshape=cc.tokens(1))) == []
    assert differences(made(reshape=cc.tokens(1)), made(reshape=cc.tokens(2)))
    assert differences(made(reshape="tokens"), made(reshape="channels_last"))
    nested = [held(method=lambda seen, q=q: cc.create("fgcam(fdcam)", seen, percentile=q)) for q in (5.0, 5, 4.0)]
    assert differences(nested[0], nested[1]) == []
    assert differences(nested[0], nested[2]) == ["methods.one.base.percentile"]
    rules = [cc.ZBetaRule(0.0, high) for high in (1.0, 2.0)]
    assert differences(held(rule=rules[0]), held(rule=rules[1]))
    assert differences(held(rule=cc.Propagation()), held(rule=cc.Propagation("fold")))


def test_another_model_behind_an_explainer_counts():
    torch.manual_seed(9)
    stranger = network()
    before = held(method=lambda seen: cc.GradCAM(stranger))
    with torch.no_grad():
        stranger[0].weight[0, 0, 0, 0] += 1
    after = held(method=lambda seen: cc.GradCAM(stranger))
    assert differences(before, after) == ["methods.one.network.weights"]


def test_globals_count_but_not_the_name_or_the_place_of_a_function(monkeypatch):
    assert Description({}).of(lambda o: o[:, ::2]) == Description({}).of(lambda o: o[:, ::2])
    before = Description({}).of(adding)
    monkeypatch.setattr(sys.modules[__name__], "OFFSET", 2)
    assert Description({}).of(adding) != before

    def factorial(n):
        return 1 if n < 2 else n * factorial(n - 1)

    assert Description({}).of(factorial) == Description({}).of(factorial)  # and it ends


def test_the_first_use_changes_nothing():
    model = network()
    seen = Network(model, None)
    methods = {name: cc.create(name, seen) for name in ("gradcam", "multilayercam", "fgcam(fdcam)")}
    before = settings_of(model, seen, methods, None)
    for one in methods.values():
        one.attribute(torch.rand(1, 3, 24, 24))
    assert differences(before, settings_of(model, seen, methods, None)) == []


def test_what_cannot_be_compared_is_refused_and_version_stands_for_code():
    lock = threading.Lock()
    with pytest.raises(cc.CAMError, match=r"hold a lock, which cannot be compared .* pass version="):
        held(function=lambda output: (output, lock))
    assert differences(held(function=shifted(1), version="a"), held(function=shifted(2), version="a")) == []
    assert held(function=lambda output: (output, lock), version="a")
    found = differences(held(function=shifted(1), version="a"), held(function=shifted(1), version="b"))
    assert {"code version", "function.version"} <= set(found)


SCRIPT = """
import json, functools, torch
from tests.evaluation.test_fingerprints import everything
print(json.dumps(everything()))
"""


def everything():
    """Settings with something of every kind in them."""
    given = {
        "functions": [shifted(2), lambda o: o[:, [1, 0]], adding, functools.partial(torch.softmax, dim=1)],
        "others": [Scaled(3.0), {1, "a", (2, 3)}, {3: "x", "y": None}, torch.float32, Path("a"), float("nan"), b"x"],
        "classes": [Twice, Scaled, torch.zeros_like, torch.Tensor.softmax, len, inspect.Parameter],
    }
    names = [name for name in cc.names() if "layers" not in cc.create(name, network()).hyperparameters]
    seen = Network(network(), None)
    methods = {name: cc.create(name, seen) for name in names} | {
        "own": lookup("fgcam")(seen, base="fdcam", to="network.0")
    }
    return plain(settings_of(seen.network, seen, methods, None, **given))


@pytest.mark.slow
def test_equal_settings_are_equal_in_another_process():
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "7", "OMP_NUM_THREADS": "1"}
    script = SCRIPT.replace("from tests.test", "import warnings; warnings.simplefilter('ignore')\nfrom tests.test")
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert differences(json.loads(done.stdout.splitlines()[-1]), everything()) == []
