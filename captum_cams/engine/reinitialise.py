"""Give the layers of a network new random weights, in the order from its output to its input."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from captum_cams.engine.generators import generator_of
from captum_cams.engine.random_state import DrawnFrom
from captum_cams.engine.targets import wide
from captum_cams.engine.trace import watch


def from_the_top(model: nn.Module, run: Callable[[], Any]) -> dict[str, nn.Module]:
    """Find the modules that have parameters of their own, the one that begins last first.

    A module that is not called itself, as the output projection of an attention, begins with the module around it.

    Args:
        model: the network.
        run: runs the network once.

    Returns:
        The modules by their dotted names ("" is the network itself).
    """
    modules = dict(model.named_modules())
    _, calls, _ = watch(run, modules.values())
    starts: dict[nn.Module, int] = {}
    for call in calls:
        starts[call.module] = min(call.start, starts.get(call.module, call.start))

    def start(name: str) -> int:
        while name and modules[name] not in starts:
            name = name.rpartition(".")[0]
        return starts.get(modules[name], 0)

    own = [name for name, module in modules.items() if any(True for _ in module.parameters(recurse=False))]
    order = sorted(range(len(own)), key=lambda number: (start(own[number]), number), reverse=True)
    return {own[number]: modules[own[number]] for number in order}


def reinitialise(module: nn.Module, seed: int) -> None:
    """Give a module new weights by its ``reset_parameters``; what this does not change is drawn normally distributed.

    The normal distribution has the mean and the standard deviation of the parameter, so that a constant parameter stays
    as it is. The new weights are the same on every device. They are drawn without the random state that all threads of
    the process share (see :class:`DrawnFrom` for the one exception).

    Args:
        module: a module with parameters of its own, which is changed. The modules inside it change only if its
            ``reset_parameters`` does that.
        seed: another seed gives other weights.
    """
    before = [parameter.detach().clone() for parameter in module.parameters(recurse=False)]
    if callable(getattr(module, "reset_parameters", None)):
        device = before[0].device
        module.cpu()  # so that a GPU draws the same numbers
        with torch.no_grad(), DrawnFrom(torch.Generator().manual_seed(seed)):
            module.reset_parameters()  # type: ignore[operator]
        module.to(device)
    for number, (old, parameter) in enumerate(zip(before, module.parameters(recurse=False), strict=True)):
        if old.is_floating_point() and torch.equal(old, parameter):
            noise = torch.randn(old.shape, generator=generator_of(seed, number)).to(old.device)
            with torch.no_grad():
                parameter.copy_(wide(old).mean() + wide(old).std(correction=0) * noise)
