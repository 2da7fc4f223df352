"""Choose among the places of one run: the deepest that holds positions, and through which all scores pass."""

from collections.abc import Iterator, Sequence
from math import prod
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node

from captum_cams.engine.graph import joins, passages, reached
from captum_cams.engine.mixing import following, mixes
from captum_cams.engine.survey import Candidate, Output, Survey, is_dense
from captum_cams.errors import CAMError

_Output = TypeVar("_Output", bound=Output)

_ENCODERS = ("backbone", "encoder")
"""What networks with dense outputs or boxes call the part that makes their features; Hugging Face has its own word."""

_READ = 0.1
"""The least share of the tokens that the scores must read, if they also read the tokens before them."""


class Search:
    """The choice among the candidates of one run."""

    def __init__(self, seen: Survey, network: nn.Module) -> None:
        self.seen, self.network = seen, network
        self.trunk = seen.passages()
        self._follow()

    def _follow(self) -> None:
        """Read later outputs on the way by those before them, since a weak contrast is no reason to go back."""
        way = self._way()
        features = [c for c in self.seen.candidates if c.edge.node in way and _feature(c) and not self._holds_scores(c)]
        place = features[-1] if features else None
        for output in list(self.seen.unread):
            if place is not None and output.end > place.end and output.edge.node in way:
                reading = following(self.seen, output, place)
                if reading is not None and _feature(output.read(reading)):
                    place = output.read(reading)
                    self.seen.unread.remove(output)
                    self.seen.candidates.append(place)
        self.seen.candidates.sort(key=lambda candidate: candidate.end)

    def _way(self) -> dict[Node, int]:
        """What all scores pass through; in a network with dense outputs, what the last output of the encoder does."""
        if not is_dense(self.seen.raw):
            return self.trunk
        inside = self._inside(sorted([*self.seen.candidates, *self.seen.unread], key=lambda output: output.end))
        inside = [output for output in inside if output.name != self.encoder]  # which may return several maps
        return passages([inside[-1].edge.node], self.seen.sources) if inside else self.trunk

    def check(self, place: Candidate) -> None:
        """Check that nothing behind a place holds other positions of which the scores are made.

        Raises:
            CAMError: if something does; it lists where.
        """
        dense, way = is_dense(self.seen.raw), self._way()
        if not dense and place.edge.node not in self.trunk:
            return
        later = [c for c in self.seen.candidates if c.end > place.end and _feature(c) and not self._holds_scores(c)]
        unread = [c for c in self.seen.unread if c.end > place.end and c.edge.node in way]
        found: list[Output] = [c for c in unread if mixes(self.seen, c, place)]
        for candidate in [] if dense else later:  # a decoder may mix positions
            if candidate.edge.node not in self.trunk and self._answers(candidate):
                other = candidate.reading.size != place.reading.size
                if place.edge.node in reached([candidate.edge.node]) and (other or mixes(self.seen, candidate, place)):
                    found.append(candidate)
        if found:
            listed = ", ".join(map(self.named, sorted(found, key=lambda c: -c.end)[:5]))
            raise CAMError(
                "layer=None needs the last layer with positions of the image, got several that could be it: all scores "
                f"pass through {self.named(place)}, but positions are mixed behind it, in {listed}; pass layer= as a "
                "module or a dotted name (a name needs reshape= if its axes are none of N×K×h×w, N×h×w×K and tokens)"
            )

    def check_repeatable(self) -> None:
        """Check that another run of the same image gives the same values on the way of all scores.

        Raises:
            CAMError: if they are as different as for another image, so that no position is proven.
        """
        outputs: list[Output] = [*self.seen.candidates, *self.seen.unread]
        # Maps N×K×h×w may change from run to run, as with dropout, and stay maps; tokens may be shuffled.
        tokens = [output for output in outputs if output.random and len(output.shape) == 3]
        random = [output for output in tokens if output.edge.node in self._way()]
        if random:
            first = min(random, key=lambda output: output.end)
            raise CAMError(
                "layer=None needs the same values in each run of the same image, got other values in "
                f"{self.named(first)}, as in a model that shuffles or leaves out tokens at random; explain the model "
                "without that (masked autoencoders: the encoder alone on all tokens in their order, such as "
                "ViTForImageClassification or ViTModel with the same weights)"
            )

    def places(self) -> Iterator[Candidate]:
        """The places that can be explained, the best first."""
        yield from self._encoded() if is_dense(self.seen.raw) else self._deepest()

    def _deepest(self) -> Iterator[Candidate]:
        silent = False
        for candidate in reversed(self.seen.candidates):
            if not self.on_the_trunk(candidate) or self._inside_attention(candidate):
                continue
            if not self._answers(candidate):
                silent = True
                continue
            if silent:  # only the prefix is read behind it; the norm in between is what the last attention reads
                yield from self._narrower(candidate)
            silent = False
            yield candidate

    def _inside_attention(self, candidate: Candidate) -> bool:
        """Whether a module that returns no positions joins what it makes of a place, such as keys and values."""
        for name, (start, end) in self.seen.spans.items():
            inside = start < candidate.start and candidate.end < end
            before = [c for c in self.seen.candidates if c.end <= start and self.on_the_trunk(c)] if inside else []
            if not before or before[-1].reading.size != candidate.reading.size:
                continue
            returns_positions = any(c.name == name for c in self.seen.candidates)
            joined = joins(self.seen.parts[name], candidate.edge.node)
            if joined and not returns_positions and not mixes(self.seen, candidate, before[-1]):
                return True
        return False

    def on_the_trunk(self, candidate: Candidate) -> bool:
        """Whether all scores pass through a candidate, and features are there instead of maps of the classes."""
        return candidate.edge.node in self.trunk and _feature(candidate) and not self._holds_scores(candidate)

    def _encoded(self) -> Iterator[Candidate]:
        """In the encoder, the last place of the smallest maps, through which all passes that comes from such maps."""
        inside = self._inside(self.seen.candidates)
        for size in sorted({c.reading.size for c in inside if _feature(c)}, key=prod):
            level = [c for c in inside if c.reading.size == size]
            # Not the smaller keys and values of attention in earlier stages, which the encoder's own way goes around.
            way = passages([level[-1].edge.node], self.seen.sources)
            level = [c for c in level if c is level[-1] or c.edge.node in way]
            on_the_way = passages(self.seen.roots, {level[0].edge.node})
            for candidate in reversed(level):
                passed = candidate.edge.node in on_the_way and _feature(candidate)
                if passed and self._read_by_all(candidate) and self._answers(candidate):
                    yield candidate
                    break

    def _inside(self, outputs: Sequence[_Output]) -> list[_Output]:
        """The outputs inside the encoder; all of them if no part of the network has such a name."""
        words = {*_ENCODERS, getattr(self.network, "base_model_prefix", "") or ""}
        for output in outputs:
            parts = output.name.split(".")
            depth = next((i for i, part in enumerate(parts) if part in words), None)
            if depth is not None:
                self.encoder = ".".join(parts[: depth + 1])
                return [found for found in outputs if f"{found.name}.".startswith(f"{self.encoder}.")]
        self.encoder = ""
        return [*outputs]

    def _read_by_all(self, candidate: Candidate) -> bool:
        """Whether each map of a pyramid for boxes depends on the place; otherwise a box may not read it at all."""
        boxes = isinstance(self.seen.raw, list)
        levels = self.seen.parts.get(self.encoder, []) if boxes and self.encoder else []
        return all(candidate.edge.node in reached([level]) for level in levels)

    def _answers(self, candidate: Candidate) -> bool:
        """Whether the scores have a gradient at the positions, not only at the tokens before them."""
        gradient = self.seen.gradient(candidate)
        if gradient is None:
            return False
        share = float((candidate.reading.to_map(gradient).abs().sum(1) > 0).float().mean())
        # Beside the class token, a head may read the largest score of all other tokens.
        return share > (_READ if candidate.reading.prefix else 0)

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

    def named(self, candidate: Output) -> str:
        """The name of a candidate with the shape of its output for one sample."""
        return f"{candidate.name} ({'×'.join(map(str, candidate.shape[1:]))})"

    def nothing(self) -> CAMError:
        """The error if no place can be explained."""
        passed = [c for c in self.seen.candidates if self.on_the_trunk(c)]
        if passed:
            weights = self.seen.weighted[-1][2]
            zero = all(not parameter.any() for parameter in weights.parameters(recurse=False))
            why = "all weights of the last layer are zero" if zero else "its gradient is zero there"
            return CAMError(
                f"layer=None needs a score with a gradient at {self.named(passed[-1])}, through which all scores pass, "
                f"got none: {why}; pass another target, or layer= as a module or a dotted name"
            )
        known = [self.named(c) for c in self.seen.candidates if _feature(c)][-5:]
        listed = f"; places with positions off that way are {', '.join(known)}" if known else ""
        if known and not self.trunk:
            listed += "; the scores are cut off from the images, as detach() does"
        return CAMError(
            "layer=None needs a layer with positions (N×K×h×w, N×h×w×K or tokens) before the classifier, through which "
            f"all scores pass, got none{listed}; pass layer= as a module or a dotted name"
        )


def _feature(candidate: Candidate) -> bool:
    return type(candidate.module) is not nn.Sequential and prod(candidate.reading.size) > 1


def _close(one: Tensor, other: Tensor) -> bool:
    return bool((one - other).abs().max() <= 1e-3 * other.abs().max())
