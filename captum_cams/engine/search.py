"""Find the place to explain, if the user names no layer."""

import logging

from torch import nn

from captum_cams.engine.call import Call
from captum_cams.engine.choice import Search
from captum_cams.engine.coverage import check_coverage
from captum_cams.engine.layers import Place
from captum_cams.engine.proofs import remember_layout
from captum_cams.engine.survey import Candidate, Survey, survey
from captum_cams.engine.untouched import module_of
from captum_cams.errors import CAMError, check_finite

log = logging.getLogger("captum_cams")


def find_layer(call: Call) -> Place:
    """Find the deepest place that holds positions of the image, and through which all scores pass.

    The network runs on the first image of the call, and on copies of it with one changed corner each. That proves the
    layout: the positions are those that answer to the corner. The autograd graph of one run tells which places all
    scores pass through, and where their gradient is not zero.

    Args:
        call: the user's call.

    Raises:
        CAMError: if the network is not a module, or there is no such place.
    """
    return find_layers(call, 1)[0]


def find_layers(call: Call, sizes: int) -> list[Place]:
    """Find such a place for each of the last ``sizes`` map sizes, as :func:`find_layer` does for one.

    Returns:
        At most ``sizes`` places, the deepest first.

    Raises:
        CAMError: as in :func:`find_layer`.
    """
    found = Search(_surveyed(call), network_of(call))
    found.check_repeatable()
    chosen: dict[tuple[int, ...], Candidate] = {}
    for candidate in found.places():
        if candidate.reading.size not in chosen:
            chosen[candidate.reading.size] = candidate
            if len(chosen) == sizes:
                break
    if not chosen:
        check_finite(f"scores of the model ({type(call.network).__name__})", call.output().detach())
        raise found.nothing()
    first = next(iter(chosen.values()))
    found.check(first)
    check_coverage(call, first.module, False, first.reading.size, found.seen.at_image(first))
    others = [found.named(c) for c in reversed(found.seen.candidates) if c.end < first.end and found.on_the_trunk(c)]
    for candidate in chosen.values():
        log.info(
            "layer %s is explained; places before it are %s", found.named(candidate), ", ".join(others[:3]) or "none"
        )
        remember_layout(call, candidate.module, False, candidate.reading.layout)
    return [Place(candidate.module, False, candidate.reading.layout) for candidate in chosen.values()]


def _surveyed(call: Call) -> Survey:
    if call.task is None:
        call.output()  # a function is tried once, and must be tried on the whole batch
    try:
        return survey(call, network_of(call))
    except CAMError:
        call.output()  # an error of the whole batch says it better than one of its first image
        raise


def network_of(call: Call) -> nn.Module:
    """The network of a call, whose modules can be searched.

    Raises:
        CAMError: if it is not a module.
    """
    model = module_of(call.network)
    if model is None:
        raise CAMError(
            f"layer=None needs a torch.nn.Module to search, got {type(call.network).__name__}; "
            "pass the layer as a module: layer=model.layer4"
        )
    return model
