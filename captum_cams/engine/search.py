"""Choose the place to explain: the deepest one through which all scores pass, and which still holds positions."""

import logging
from collections.abc import Iterator
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from captum_cams.engine.call import Call
from captum_cams.engine.graph import reached
from captum_cams.engine.layers import Place
from captum_cams.engine.survey import Candidate, Survey, survey
from captum_cams.engine.untouched import unwrap
from captum_cams.errors import CAMError

log = logging.getLogger("captum_cams")

_ENCODERS = ("backbone", "encoder", "base_model")
"""What networks with dense outputs or boxes call the part that makes their features."""


def find_layer(call: Call) -> Place:
    """Find the deepest place that holds positions of the image, and through which all scores pass.

    The network runs once on five images: the first image of the call, and copies in which one half is changed. That
    proves the layout: the positions are those that answer to the changed half. The autograd graph of the same run
    tells which places all scores pass through, and where their gradient is not zero.

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
    model = unwrap(call.network)
    if not isinstance(model, nn.Module):
        raise CAMError(
            f"layer=None needs a torch.nn.Module to search, got {type(call.network).__name__}; "
            "pass the layer as a module: layer=model.layer4"
        )
    found = Search(survey(call, model))
    chosen: dict[tuple[int, ...], Candidate] = {}
    for candidate in found.places():
        if candidate.reading.size not in chosen:
            chosen[candidate.reading.size] = candidate
            if len(chosen) == sizes:
                break
    if not chosen:
        raise found.nothing()
    for candidate in chosen.values():
        log.info("layer %s is explained", found.named(candidate))
    return [Place(candidate.module, False, candidate.reading.layout) for candidate in chosen.values()]


class Search:
    """The choice among the candidates of one run."""

    def __init__(self, seen: Survey) -> None:
        self.seen = seen
        self.trunk = seen.passages()

    def places(self) -> Iterator[Candidate]:
        """The places that can be explained, the best first."""
        dense = self._encoder_candidates() if _dense(self.seen.raw) else None
        yield from self._deepest() if dense is None else dense

    def _deepest(self) -> Iterator[Candidate]:
        silent = False
        for candidate in reversed(self.seen.candidates):
            if candidate.edge.node not in self.trunk or not _feature(candidate) or self._holds_scores(candidate):
                continue
            if not self._answers(candidate):
                silent = True
                continue
            if silent:  # only the prefix is read behind it; the norm in between is what the last attention reads
                yield from self._narrower(candidate)
            silent = False
            yield candidate

    def _encoder_candidates(self) -> Iterator[Candidate] | None:
        return None

    def _answers(self, candidate: Candidate) -> bool:
        """Whether the scores have a gradient at the positions, not only at the tokens before them."""
        gradient = self.seen.gradient(candidate)
        return gradient is not None and bool(candidate.reading.to_map(gradient).any())

    def _narrower(self, before: Candidate) -> Iterator[Candidate]:
        """A later place through which the whole gradient at the positions of ``before`` passes, such as a norm."""
        whole = self.seen.gradient(before)
        for candidate in reversed(self.seen.candidates):
            if candidate.start < before.end or candidate.shape != before.shape or not self._answers(candidate):
                continue
            gradient = self.seen.gradient(candidate)
            if whole is None or gradient is None:
                continue
            through = self.seen.pulled_back([candidate.edge], [gradient], before)
            if through is not None and _close(before.reading.to_map(through), before.reading.to_map(whole)):
                yield candidate
                return

    def _holds_scores(self, candidate: Candidate) -> bool:
        """Whether the place holds one map for each class: the classifier has run, and the rest only pools."""
        output = self.seen.output
        channels = candidate.reading.to_map(torch.empty(candidate.shape, device="meta")).shape[1]
        if output.ndim < 2 or channels != output.shape[1]:
            return False
        before = [call for call in self.seen.weighted if call[1] <= candidate.end]
        later = any(start > candidate.end for start, _, _ in self.seen.weighted)
        if later or not before or self._parameter_behind(candidate):
            return False
        _, end, module = before[-1]
        weight = getattr(module, "weight", None)
        own = next((c for c in self.seen.candidates if c.module is module and c.end == end), None)
        linear = isinstance(weight, Tensor) and weight.ndim >= 2
        return linear and own is not None and own.edge.node in self.trunk

    def _parameter_behind(self, candidate: Candidate) -> bool:
        """Whether an operation between the place and the scores reads a parameter."""
        behind = reached(self.seen.roots) - reached([candidate.edge.node])
        return any(hasattr(node, "variable") for node in behind)

    def named(self, candidate: Candidate) -> str:
        """The name of a candidate with the shape of its output for one sample."""
        return f"{candidate.name} ({'×'.join(map(str, candidate.shape[1:]))})"

    def nothing(self) -> CAMError:
        """The error if no place can be explained."""
        known = [self.named(c) for c in self.seen.candidates if _feature(c) and prod(c.reading.size) > 1][-5:]
        listed = f"; places with positions off that way are {', '.join(known)}" if known else ""
        return CAMError(
            "layer=None needs a layer with positions (N×K×h×w, N×h×w×K or tokens) before the classifier, through which "
            f"all scores pass, got none{listed}; pass layer= as a module or a dotted name"
        )


def _feature(candidate: Candidate) -> bool:
    return type(candidate.module) is not nn.Sequential and prod(candidate.reading.size) > 1


def _dense(raw: Any) -> bool:
    return not isinstance(raw, Tensor) or raw.ndim > 2


def _close(one: Tensor, other: Tensor) -> bool:
    return bool((one - other).abs().max() <= 1e-3 * other.abs().max())
