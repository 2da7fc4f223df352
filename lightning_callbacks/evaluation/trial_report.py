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
    lines = ["## Which metrics a control games", ""]
    for kind in KINDS:
        graded: dict[str, list[str]] = {"above": [], "level": [], "below": []}
        for where, duels in trial.challenges.items():
            mine = [one for one in duels if trial.controls[one.first, one.second] == kind]
            for grade, said in graded.items():
                of_grade = [one for one in mine if one.grade == grade]
                if of_grade:
                    said.append(f"{where} ({'; '.join(_against(where, one) for one in of_grade)})")
        games = f"games {_joined(graded['above'])}" if graded["above"] else "is nowhere shown to be above its method"
        lines.append(f"- **{WHAT[kind]}** {games}.")
        if graded["level"]:
            lines.append(f"  - Not told from its method, as no difference is shown: {_joined(graded['level'])}.")
        if graded["below"]:
            lines.append(f"  - Shown to be rated below its method: {_joined(graded['below'])}.")
    clean = [where for where, duels in trial.challenges.items() if duels and all(o.grade == "below" for o in duels)]
    if clean:
        lines += ["", f"No control games {_joined(map(str, clean))}: every one is shown to be rated below its method."]
    return lines


def _replacements(trial: Trial) -> list[str]:
    lines = ["## Where the ranking turns over with the replacement"]
    if not trial.agreements:
        return [*lines, "", "Nothing to compare: this needs two methods, two replacements and a metric of curves."]
    for metric, found in trial.agreements.items():
        taus = sorted((found[pair], *pair) for pair in combinations(found.names, 2) if found[pair] == found[pair])
        lowest = f": Kendall's τ is lowest between {taus[0][1]} and {taus[0][2]}, {taus[0][0]:.2f}" if taus else ""
        lines += ["", f"**{metric}**{lowest}.", "", str(found), ""]
        turns = trial.turnovers[metric]
        lines += [f"- {_turn(metric, duels)}" for duels in turns]
        if not turns:
            lines.append("All replacements order the means of every pair of methods alike.")
    return lines


def _turn(metric: str, duels: Mapping[str, Duel]) -> str:
    """One pair of methods that replacements order differently."""
    some = next(iter(duels.values()))
    sides = []
    for name, sign, grade in ((some.first, 1, "above"), (some.second, -1, "below")):
        mine = {replacement: one for replacement, one in duels.items() if sign * one.gain > 0}
        said = [
            f"{replacement} {_figures(metric, one, sign)}{', shown' * (one.grade == grade)}"
            for replacement, one in mine.items()
        ]
        sides.append((f"{name} is ahead with {_joined(said)}", any(one.grade == grade for one in mine.values())))
    shown = sum(known for _, known in sides)
    words = (
        "Neither side is shown, so the turn may be chance.",
        "Only one side is shown, so the turn may be chance.",
        "Both sides are shown: the replacement decides.",
    )[shown]
    return f"{some.first} and {some.second}: {sides[0][0]}; {sides[1][0]}. {words}"


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
    shown = {pair: sum(one.grade == "above" for one in duels.values()) for pair, duels in orders.items()}
    sure = sum(count == len(conditions) for count in shown.values())
    lines = [
        f"Of {_number(pairs, 'pair')} of methods, {len(orders)} have the same order of means in {which} {total}, and "
        f"{sure} of them are shown in each."
    ]
    for (better, worse), duels in orders.items():
        count = shown[better, worse]
        known = "shown in each" if count == len(conditions) else f"shown in {count} of {len(conditions)}"
        figures = _joined(f"{where} {_figures(where.metric, one)}" for where, one in duels.items())
        lines.append(f"- {better} above {worse}, {known}: {figures}.")
    return lines


def _against(where: Condition, duel: Duel) -> str:
    return f"{duel.second} {_figures(where.metric, duel)}"


def _figures(metric: str, duel: Duel, sign: int = 1) -> str:
    """The gain and its interval; ``sign`` −1 turns them over."""
    low, high = sorted((sign * duel.low, sign * duel.high))
    return f"{sign * duel.gain:+.2g} [{low:+.2g}, {high:+.2g}]{METRICS[metric].unit and ' %'}"


def _joined(parts: Iterable[str]) -> str:
    return ", ".join(parts)


def _number(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"
