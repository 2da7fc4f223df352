"""Write the verdicts of a trial in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

from captum_cams.metrics.entry import METRICS
from captum_cams.statistics.comparison import ALPHA
from lightning_callbacks.evaluation.controls import KINDS
from lightning_callbacks.evaluation.duels import Condition, Duel

if TYPE_CHECKING:
    from lightning_callbacks.evaluation.verdicts import Trial

WHAT = {
    "blurred": "A blurred copy of the map",
    "sharpened": "A sharpened copy of the map",
    "random": "A map of noise",
    "centre": "A spot in the centre",
    "constant": "A constant map",
}
LISTED = 3
"""How many methods below one control have their figures in the report; trial.json has all."""


def report(trial: Trial) -> str:
    """Write the report as Markdown."""
    sections = (_head(trial), _controls(trial), _replacements(trial), _orders(trial))
    return "\n\n".join("\n".join(lines) for lines in sections)


def _head(trial: Trial) -> list[str]:
    count = max((one.n for duels in trial.challenges.values() for one in duels), default=0)
    methods = f"{_number(len(trial.methods), 'method')} ({', '.join(trial.methods)})"
    lines = [
        "# The metrics on trial",
        "",
        f"{methods} on {_number(count, 'image')}, each beside its controls, in "
        f"{_number(len(trial.challenges), 'condition')}. A number says how much better the first map is rated than the "
        "second, whatever way the metric points; its 95 % bootstrap interval over the images is in brackets. A "
        "difference is shown if this interval leaves out 0 and Wilcoxon's signed-rank test, adjusted by Holm over all "
        f"comparisons of this kind in the condition, gives at most {ALPHA}.",
    ]
    family = max(len(trial.controls), len(trial.methods) * (len(trial.methods) - 1) // 2)
    if _least_p(count, family) > ALPHA:
        least = next(n for n in range(1, 100) if _least_p(n, family) <= ALPHA)
        lines += [
            "",
            f"**Too few images to show anything.** Even a difference in the same direction in each of {count} images "
            f"has an adjusted p of {_least_p(count, family):.2f} among {family} comparisons. At least {least} images "
            "are needed, so nothing below accuses or acquits a metric.",
        ]
    return lines


def _least_p(images: int, comparisons: int) -> float:
    """The adjusted p of the clearest difference that this number of images can have."""
    return float(min(1.0, comparisons * 2 * 0.5**images))


def _controls(trial: Trial) -> list[str]:
    lines = [
        "## Which metrics a control games",
        "",
        "For how many methods the control is shown to be above its method / no difference is shown / the control is "
        "shown to be below. A metric that tells maps from controls has 0 / 0 / all.",
        "",
        f"| condition | {' | '.join(KINDS)} |",
        f"|{' --- |' * (1 + len(KINDS))}",
    ]
    lines += [
        f"| {where} | {' | '.join(_counts(trial, where, kind) for kind in KINDS)} |" for where in trial.challenges
    ]
    lines.append("")
    for kind in KINDS:
        gamed = {
            where: [one for one in duels if trial.controls[one.first, one.second] == kind]
            for where, duels in trial.gamed.items()
        }
        said = [f"{where} ({_against(where, duels)})" for where, duels in gamed.items() if duels]
        lines.append(
            f"- **{WHAT[kind]}** {f'games {_joined(said)}' if said else 'is nowhere shown to be above its method'}."
        )
    clean = [where for where, duels in trial.challenges.items() if duels and all(o.grade == "below" for o in duels)]
    if clean:
        lines += ["", f"No control games {_joined(map(str, clean))}: every one is shown to be rated below its method."]
    return lines


def _counts(trial: Trial, where: Condition, kind: str) -> str:
    """How many controls of a kind are above, level with and below their methods."""
    grades = [one.grade for one in trial.challenges[where] if trial.controls[one.first, one.second] == kind]
    return " / ".join(str(grades.count(grade)) for grade in ("above", "level", "below"))


def _against(where: Condition, duels: Sequence[Duel]) -> str:
    """The methods below a control: each with its figures, or the ends of a long list."""
    if len(duels) <= LISTED:
        return "; ".join(f"{one.second} {_figures(where.metric, one)}" for one in duels)
    ends = (min(duels, key=lambda one: one.gain), max(duels, key=lambda one: one.gain))
    least, most = (f"{_figures(where.metric, one)} ({one.second})" for one in ends)
    return f"{len(duels)} methods, from {least} to {most}"


def _replacements(trial: Trial) -> list[str]:
    lines = ["## Where the ranking turns over with the replacement"]
    if not trial.agreements:
        return [*lines, "", "Nothing to compare: this needs two methods, two replacements and a metric of curves."]
    for metric, found in trial.agreements.items():
        taus = sorted((found[pair], *pair) for pair in combinations(found.names, 2) if found[pair] == found[pair])
        lowest = f": Kendall's τ is lowest between {taus[0][1]} and {taus[0][2]}, {taus[0][0]:.2f}" if taus else ""
        turns = trial.turnovers[metric]
        decided = [duels for duels in turns if {"above", "below"} <= {one.grade for one in duels.values()}]
        lines += ["", f"**{metric}**{lowest}.", "", str(found), ""]
        lines += [f"- {_turn(metric, duels)}" for duels in decided]
        if not turns:
            lines.append("All replacements order the means of every pair of methods alike.")
        elif left := len(turns) - len(decided):
            pairs = _number(left, "other pair" if decided else "pair")
            lines.append(f"The means of {pairs} turn over, but not both sides are shown, so it may be chance.")
    return lines


def _turn(metric: str, duels: Mapping[str, Duel]) -> str:
    """One pair of methods in whose order the replacement decides."""
    some = next(iter(duels.values()))
    sides = []
    for name, sign, grade in ((some.first, 1, "above"), (some.second, -1, "below")):
        shown = {replacement: one for replacement, one in duels.items() if one.grade == grade}
        said = _joined(f"{replacement} {_figures(metric, one, sign)}" for replacement, one in shown.items())
        sides.append(f"{name} is shown to be ahead with {said}")
    return f"{some.first} and {some.second}: {'; '.join(sides)}. The replacement decides."


def _orders(trial: Trial) -> list[str]:
    lines = ["## What remains", ""]
    lines += _kept(trial, [*trial.duels], "all")
    fair = [where for where in trial.duels if where not in trial.gamed]
    if fair and trial.gamed:
        lines += ["", f"Without what a control games, {_joined(map(str, fair))} remain.", ""]
        lines += _kept(trial, fair, "these")
    return lines


def _kept(trial: Trial, conditions: Sequence[Condition], which: str) -> list[str]:
    """The pairs of methods that some conditions order alike."""
    pairs = len(trial.methods) * (len(trial.methods) - 1) // 2
    if not pairs:
        return ["There is no pair of methods to order."]
    total, orders = _number(len(conditions), "condition"), trial.orders(conditions)
    sure = [pair for pair, duels in orders.items() if all(one.grade == "above" for one in duels.values())]
    lines = [
        f"Of {_number(pairs, 'pair')} of methods, {len(orders)} have the same order of means in {which} {total}, and "
        f"{len(sure)} of them are shown in each."
    ]
    for better in trial.methods:
        worse = [second for first, second in sure if first == better]
        if worse:
            lines.append(f"- {better} above {_joined(worse)}, shown in each.")
    return lines


def _figures(metric: str, duel: Duel, sign: int = 1) -> str:
    """The gain and its interval; ``sign`` −1 turns them over."""
    low, high = sorted((sign * duel.low, sign * duel.high))
    return f"{sign * duel.gain:+.2g} [{low:+.2g}, {high:+.2g}]{METRICS[metric].unit and ' %'}"


def _joined(parts: Iterable[str]) -> str:
    return ", ".join(parts)


def _number(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"
