"""Run methods that draw random numbers once for each of several seeds."""

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from captum_cams import CAMAttribution, StoredMaps
from captum_cams.argument_names import options_of
from captum_cams.errors import CAMError, brief

Seeds: TypeAlias = int | Sequence[int]
"""The number of seeds, which are then 0, 1, 2, …, or the seeds."""
NO_SEED = -1


@dataclass(frozen=True)
class Run:
    """One method with one seed.

    Args:
        method: the name of the method.
        number: its position among the methods.
        seed: its seed, or ``NO_SEED`` for a method that is run once.
        explainer: the explainer with this seed.
    """

    method: str
    number: int
    seed: int
    explainer: CAMAttribution


def check_seeds(seeds: Seeds | None) -> tuple[int, ...]:
    """List the seeds; none for None.

    Raises:
        CAMError: these are not two or more different integers of at least 0.
    """
    if seeds is None:
        return ()
    several = isinstance(seeds, Sequence) and not isinstance(seeds, str)
    found = tuple(seeds) if several else tuple(range(seeds)) if type(seeds) is int else ()  # type: ignore[arg-type]
    if len({*found}) < max(2, len(found)) or not all(type(one) is int and one >= 0 for one in found):
        raise CAMError(
            f"seeds must be the number of seeds, 2 or more, or different integers of at least 0, got {brief(seeds)}; "
            "for one seed, pass explainers that are made with it"
        )
    return found


def over_seeds(explainers: Mapping[str, CAMAttribution], seeds: Sequence[int]) -> dict[str, Run]:
    """Make a run of each method, or one for each seed if it draws random numbers.

    Args:
        explainers: the explainers by name.
        seeds: the seeds; without seeds, each method is run once, as it is.

    Returns:
        The runs by name: that of the method, or ``method[seed=0]``.

    Raises:
        CAMError: there are seeds, but no method draws random numbers, or two runs have the same name.
    """
    runs = list[tuple[str, Run]]()
    for number, (name, one) in enumerate(explainers.items()):
        if seeds and _draws(one):
            runs += [(f"{name}[seed={k}]", Run(name, number, k, _with_seed(one, k))) for k in seeds]
        else:
            runs.append((name, Run(name, number, NO_SEED, one)))
    if seeds and all(run.seed == NO_SEED for _, run in runs):
        raise CAMError(
            f"seeds needs a method that draws random numbers, got {', '.join(explainers)}; leave seeds out, or add a "
            'method with a seed, such as "rise"'
        )
    found = dict(runs)
    if len(found) < len(runs):
        raise CAMError(f"each method must have a name of its own, also with its seed, got {', '.join(explainers)}")
    return found


def _draws(explainer: CAMAttribution) -> bool:
    """Whether an explainer or its base has a seed. Code of others has one, because it may draw numbers."""
    if _stored(explainer):
        return False
    parts = {name: getattr(explainer, name) for name in options_of(type(explainer))}
    return "seed" in parts or any(_draws(part) for part in parts.values() if isinstance(part, CAMAttribution))


def _stored(explainer: CAMAttribution) -> bool:
    """Whether the maps come from a folder, which has the maps of one seed."""
    function = getattr(explainer, "function", None)
    return isinstance(function.args[0] if isinstance(function, partial) else function, StoredMaps)


def _with_seed(explainer: CAMAttribution, seed: int) -> CAMAttribution:
    """A copy of an explainer that draws with this seed, as does its base."""
    made = copy(explainer)
    for name in options_of(type(explainer)):
        part = getattr(explainer, name)
        if name == "seed":
            made.seed = seed  # type: ignore[attr-defined]
        elif isinstance(part, CAMAttribution):
            setattr(made, name, _with_seed(part, seed))
    return made
