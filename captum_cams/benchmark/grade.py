"""Grade explanation methods on drawn scenes whose deciding pixels are known."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from captum_cams.benchmark.grades import Grades
from captum_cams.benchmark.measures import MEASURES
from captum_cams.benchmark.networks import NETWORKS, NetworkName, decided, load_network
from captum_cams.benchmark.scenes import FACTORS, Factor, Scenes, draw_scenes
from captum_cams.errors import CAMError, brief, check_at_least, check_choice, check_tensor
from captum_cams.registry import canonical, create

Explain = Callable[[nn.Module, Tensor, Tensor], Tensor]
"""A function of a network, images N×3×32×32 and classes N that returns maps N×h×w or N×1×h×w."""
_DRAWN_AT_ONCE = 4  # times as many scenes as needed, because a network may decide some of them wrongly


def grade(
    methods: str | Sequence[str] | Mapping[str, str | Explain],
    networks: Sequence[NetworkName] | Mapping[str, nn.Module] | None = None,
    *,
    factors: Sequence[Factor] = FACTORS,
    scenes: int = 20,
    seed: int = 0,
) -> Grades:
    """Grade methods by how well their maps agree with the pixels that decide.

    Each network explains scenes of each factor. Only scenes that the network decides rightly count: it sees the class,
    and does not see it when only the deciding pixels are changed. So these pixels do decide for this network, whatever
    a person would look at. Three measures compare map and pixels: average precision, the share of the map on the
    pixels ("mass"), and whether the maximum of the map is one of them ("pointing").

    Args:
        methods: a name of :func:`captum_cams.names`, a wrapper as ``fgcam(gradcam)``, or several; or own names with
            such a name or a function ``(network, images, classes) -> maps``. A method that explains no network keeps
            its reasons in the table.
        networks: names of the trained networks of this package, or own names with networks that give the logits of the
            seven classes; None takes all of this package.
        factors: the kinds of scenes.
        scenes: number of scenes of each factor for each network.
        seed: of the scenes.

    Returns:
        The table, with intervals.

    Raises:
        CAMError: a name is unknown, no method explains any network, or a network decides so few scenes rightly that it
            cannot be asked.

    Example::

        from captum_cams import benchmark

        def brightness(network, images, classes):
            return images.mean(1)

        methods = {"gradcam": "gradcam", "brightness": brightness}
        grades = benchmark.grade(methods, ["pooled_cnn"], factors=["small", "shortcut"], scenes=4)
        print(grades.summary())
    """
    check_at_least("scenes", scenes, 1)
    for factor in factors:
        check_choice("factor", factor, Factor)
    named = _named(methods)
    chosen: Mapping[str, nn.Module] = (
        networks if isinstance(networks, Mapping) else {name: load_network(name) for name in networks or NETWORKS}
    )
    if not named or not chosen or not factors:
        raise CAMError("there must be at least one method, one network and one factor, got none; name one")
    shape = (len(named), len(chosen), len(factors), len(MEASURES), scenes)
    values, refused = torch.full(shape, torch.nan, dtype=torch.float64), dict[tuple[str, str], str]()
    for column, (network_name, network) in enumerate(chosen.items()):
        asked = [_asked(network_name, network, factor, scenes, seed) for factor in factors]
        for row, (name, method) in enumerate(named.items()):
            try:
                values[row, column] = torch.stack([_measured(method, network, part) for part in asked])
            except CAMError as error:
                refused[name, network_name] = str(error)
    if len(refused) == len(named) * len(chosen):
        (name, _), reason = next(iter(refused.items()))
        raise CAMError(f"{name} must explain at least one of {', '.join(chosen)}, but: {reason}")
    return Grades(tuple(named), tuple(chosen), tuple(factors), values, refused)


def _named(methods: str | Sequence[str] | Mapping[str, str | Explain]) -> Mapping[str, str | Explain]:
    if isinstance(methods, Mapping):
        for method in methods.values():
            if isinstance(method, str):
                canonical(method)  # a name that is misspelled is no method that explains nothing
        return methods
    listed = [methods] if isinstance(methods, str) else methods
    if any(not isinstance(name, str) for name in listed):
        raise CAMError(
            "methods must be a name, a list of names, or a mapping from own names to names or functions, got "
            f"{brief(methods)}"
        )
    return {canonical(name): name for name in listed}


def _asked(name: str, network: nn.Module, factor: Factor, count: int, seed: int) -> Scenes:
    """The first scenes that the network decides rightly."""
    drawn = draw_scenes(factor, _DRAWN_AT_ONCE * count, seed)
    right = decided(network, drawn).nonzero()[:count, 0]
    if len(right) < count:
        raise CAMError(
            f"{name} must decide at least {count} of {len(drawn)} scenes {factor} rightly, it decides {len(right)}; "
            "train it longer, or leave this factor out"
        )
    return drawn[right]


def _measured(method: str | Explain, network: nn.Module, scenes: Scenes) -> Tensor:
    """Each measure of each scene: measures×N."""
    if isinstance(method, str):
        maps = create(method, network, task="multilabel").attribute(scenes.images, scenes.classes)
    else:
        maps = method(network, scenes.images, scenes.classes)
        check_tensor("maps", maps, "N×h×w or N×1×h×w")
    return torch.stack([measure(maps.detach(), scenes.deciding) for measure in MEASURES.values()])
