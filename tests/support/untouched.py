"""All that a call or a training must leave as it was, as values that can be compared."""

import gc
from collections import deque

import torch
from torch import nn


def hooks(model: nn.Module) -> list[int]:
    """The number of hooks of each kind on each module."""
    return [
        len(kind)
        for m in model.modules()
        for kind in (m._forward_hooks, m._forward_pre_hooks, m._backward_hooks, m._backward_pre_hooks)
    ]


def state(model: nn.Module) -> dict:
    """All that a call must leave as it was, as comparable values."""
    return {
        "parameters": [(p.detach().clone(), p.requires_grad, p.grad) for p in model.parameters()],
        "buffers": [b.clone() for b in model.buffers()],
        "training": [m.training for m in model.modules()],
        "hooks": hooks(model),
        "attributes": [sorted(m.__dict__) for m in model.modules()],
        "global hooks": [
            len(getattr(nn.modules.module, name)) for name in ("_global_forward_hooks", "_global_forward_pre_hooks")
        ],
        "random": torch.get_rng_state(),
        "modes": (
            torch.is_grad_enabled(),
            torch.is_inference_mode_enabled(),
            torch.is_autocast_cache_enabled(),
        ),
    }


def same(left, right) -> bool:
    if isinstance(left, torch.Tensor):
        return torch.equal(left, right)
    if isinstance(left, dict):
        return all(same(left[k], right[k]) for k in left)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(same(a, b) for a, b in zip(left, right, strict=True))
    return left == right


def assert_equal(left, right, where):
    if isinstance(left, torch.Tensor):
        assert torch.equal(left, right), where
    elif isinstance(left, dict):
        assert left.keys() == right.keys(), where
        for key, value in left.items():
            assert_equal(value, right[key], f"{where}/{key}")
    elif isinstance(left, list):
        for i, (one, other) in enumerate(zip(left, right, strict=True)):
            assert_equal(one, other, f"{where}/{i}")
    else:
        assert left == right, where


def leaks(call, calls=20, rounds=3) -> str:
    """What grows with each of several rounds of calls, in words; nothing if there is a round that leaves nothing.

    A leak grows in every round. What Python or a test runner makes once, at a time of its own, is in one of them.
    """
    for _ in range(5):
        call()
    before = alive()
    for _ in range(rounds):
        for _ in range(calls):
            call()
        after = alive()
        tensors, objects, entries = (b - a for a, b in zip(before, after, strict=True))
        if tensors <= 0 and objects < calls / 2 and entries < calls / 2:  # less than one for every other call
            return ""
        before = after
    return f"{tensors} tensors, {objects} objects, {entries} entries in {calls} calls"


def alive() -> tuple[int, int, int]:
    """Tensors, objects, and entries of all containers: a growing dict of numbers is one object."""
    gc.collect()
    found = gc.get_objects()
    entries = sum(len(o) for o in found if type(o) in (list, dict, set, deque) and o is not found)
    return sum(issubclass(type(o), torch.Tensor) for o in found), len(found), entries
