"""The control maps of a trial: maps that no metric should rate above the methods they are compared with."""

from torch import nn

from captum_cams import Blurred, CAMAttribution, Sharpened
from captum_cams.engine.scores import Task
from captum_cams.errors import CAMError
from lightning_callbacks.methods import Method, Methods, make, named
from lightning_callbacks.network import Network, OutputFn

BASELINES = ("random", "centre", "constant")
COPIES: dict[str, type[Blurred] | type[Sharpened]] = {"blurred": Blurred, "sharpened": Sharpened}
KINDS = (*COPIES, *BASELINES)
"""The kinds of control, in the order of the report."""


def with_controls(
    methods: Methods, model: nn.Module, output_fn: OutputFn | None, task: Task
) -> tuple[dict[str, Method], dict[tuple[str, str], str]]:
    """Add the controls to the methods on trial.

    Args:
        methods: names, explainers, whatever makes maps, or a mapping from own names to these.
        model: the model that is explained.
        output_fn: function from the output of the model to scores N×classes.
        task: meaning of the scores.

    Returns:
        The methods and then their controls by name; and the kind of control of each pair of control and method that
        belong together: a copy belongs to its source, a baseline to every method.

    Raises:
        CAMError: a method is itself a control.
    """
    network = Network(model, output_fn)
    sources: dict[str, str | CAMAttribution] = {
        name: method if isinstance(method, str) else make(method, network, None, task)
        for name, method in named(methods).items()
    }
    everything: dict[str, Method] = dict(sources)
    pairs: dict[tuple[str, str], str] = {}
    for kind, copy in COPIES.items():
        for name, method in sources.items():
            control = f"{kind}({name})"
            made = f"{kind}({method})" if isinstance(method, str) else copy(method.forward_func, base=method)
            everything[control], pairs[control, name] = made, kind
    for kind in BASELINES:
        everything[kind] = kind
        pairs |= {(kind, name): kind for name in sources}
    if taken := sources.keys() & {control for control, _ in pairs}:
        raise CAMError(
            f"the methods on trial must be no controls, got {', '.join(sorted(taken))}; leave them out, every trial "
            "adds them"
        )
    return everything, pairs
