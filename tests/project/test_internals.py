"""The private names of other libraries exist in the versions that are installed, and mean what we think.

CONTRIBUTING.md has the command that asks the oldest supported versions.
"""

import inspect
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from captum_cams.engine import torch_internals
from captum_cams.relevance.rules import PropagationRule
from tests.support.private_names import INTERNALS, foreign_private_names

ROOT = Path(__file__).parents[2]


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, gradient):
        return 2 * gradient


def compiled(value):
    return torch.compile(value, backend="eager")


def compiled_in_place(module):
    module.compile(backend="eager")
    return module


def compiled_forward(module):
    module.forward = compiled(module.forward)
    return module


@pytest.mark.parametrize("file", INTERNALS)
def test_each_file_of_private_names_has_some(file):
    assert foreign_private_names(ROOT / file)


def test_the_version_of_a_tensor_counts_what_is_written_to_it():
    tensor = torch.zeros(2)
    before = torch_internals.version_of(tensor)
    tensor.add_(1)
    assert torch_internals.version_of(tensor) == before + 1


def test_the_node_of_an_autograd_function_is_known():
    assert isinstance(Doubled.apply(torch.zeros(2, requires_grad=True)).grad_fn, torch_internals.graph_node(Doubled))


@pytest.mark.parametrize("compile", [compiled, compiled_in_place, compiled_forward])
def test_compiled_modules_are_known(compile):
    assert not torch_internals.is_compiled(nn.Linear(2, 2))
    assert torch_internals.is_compiled(compile(nn.Linear(2, 2)))


def test_what_was_compiled_is_found():
    module = nn.Linear(2, 2)
    assert torch_internals.compiled_module(compiled(module)) is module
    assert torch_internals.compiled_module(module) is None
    assert torch_internals.compiled_function(compiled(compiled_in_place)) is compiled_in_place
    assert torch_internals.compiled_function(compiled_in_place) is None


def test_buffers_are_the_modules_own():
    module = nn.BatchNorm1d(2)
    torch_internals.buffers_of(module)["running_mean"] = torch.ones(2)
    assert module.running_mean.sum() == 2


def test_other_parameters_leave_the_module_as_it_is():
    module = nn.Linear(2, 1)
    before = module.weight
    bare = torch_internals.with_parameters(module, {"weight": torch.full((1, 2), 3.0), "bias": None})
    assert bare.forward(torch.ones(1, 2)).item() == 6
    assert module.weight is before
    assert module.bias is not None


def test_our_hooks_come_first_and_go_again():
    module, calls = nn.Linear(2, 2), []
    module.register_forward_pre_hook(lambda *args: calls.append("own begin"))
    module.register_forward_hook(lambda *args: calls.append("own end"))
    before = torch_internals.hooks_of(module)
    begin, end = (lambda module, args: calls.append("begin"), lambda *args: calls.append(f"end {len(args)}"))
    with torch_internals.hooked([module], begin, end):
        module(input=torch.ones(1, 2))
        assert calls == ["begin", "own begin", "end 4", "own end"]  # module, arguments, those by keyword, output
        with pytest.raises(RuntimeError):
            module(torch.ones(1, 3))
        assert calls[4:] == ["begin", "own begin", "end 4"]
    assert torch_internals.hooks_of(module) == before
    assert len(before["_forward_hooks"]) == len(before["_forward_pre_hooks"]) == 1


def test_parts_that_are_computed_again_are_known():
    inside, x = [], torch.ones(2, requires_grad=True)

    def part(x):
        inside.append(torch_internals.in_checkpoint())
        return x.sin().cos()

    kept = checkpoint(part, x, use_reentrant=False)
    again = checkpoint(part, x, use_reentrant=True)
    with torch.autograd.graph.save_on_cpu():
        part(x)
    assert inside == [True, False, False]
    assert [torch_internals.is_checkpoint(y.grad_fn) for y in (kept, again)] == [False, True]


def test_trees_and_losses_have_the_names_that_are_imported():
    leaves, form = torch_internals.tree_flatten(([1, {"two": 2}], 3))
    assert leaves == [1, 2, 3]
    assert torch_internals.tree_unflatten(leaves, form) == ([1, {"two": 2}], 3)
    assert issubclass(nn.CrossEntropyLoss, torch_internals.Loss)


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("forward_hook", ["module", "inputs", "outputs"]),
        ("_manipulate_weights", ["module", "inputs", "outputs"]),
        ("_create_backward_hook_input", ["inputs"]),
    ],
)
def test_captums_rules_call_what_ours_override(method, arguments):
    assert list(inspect.signature(getattr(PropagationRule, method)).parameters)[1:] == arguments
