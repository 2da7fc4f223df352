"""The verdicts of a trial: what the controls, the replacements and the metrics say about each other."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

from captum_cams.statistics import Agreement, agreement
from lightning_callbacks.evaluation.duels import Condition, Duel, fight, sign_of, turned
from lightning_callbacks.evaluation.table import Table
from lightning_callbacks.evaluation.trial_report import report

UNSWEPT = "other_metrics"
"""The name of the evaluation of the metrics that draw no curves."""


@dataclass(frozen=True)
class Trial:
    """The result of ``trial``; ``print(trial)`` shows it in words.

    Args:
        methods: the names of the methods on trial.
        controls: the kind of control, "blurred", "sharpened", "random", "centre" or "constant", of each pair of
            control and method.
        tables: the table of each replacement, and of the metrics that replace nothing.
        challenges: condition → the duels of each control with its methods.
        duels: condition → the duels of the methods with each other.

    Example::

        data = torch.utils.data.TensorDataset(images, labels)
        verdicts = lightning_callbacks.trial(model, data, "gradcam", metrics="complexity")
        print(verdicts.gamed)
        print(verdicts.challenges)
    """

    methods: tuple[str, ...]
    controls: Mapping[tuple[str, str], str]
    tables: Mapping[str, Table]
    challenges: Mapping[Condition, Sequence[Duel]]
    duels: Mapping[Condition, Sequence[Duel]]

    @cached_property
    def gamed(self) -> dict[Condition, list[Duel]]:
        """The conditions in which a control is shown to be rated above its method, with these duels."""
        found = {where: [one for one in duels if one.grade == "above"] for where, duels in self.challenges.items()}
        return {where: duels for where, duels in found.items() if duels}

    @cached_property
    def agreements(self) -> dict[str, Agreement]:
        """Kendall's τ between the rankings of the methods by each replacement, for each metric that has several."""
        found = {}
        for metric in dict.fromkeys(where.metric for where in self.duels):
            swept = [where for where in self.duels if where.metric == metric]
            if len(swept) > 1 and len(self.methods) > 1:
                found[metric] = agreement({str(where.replacement): self._goodness(where) for where in swept})
        return found

    @cached_property
    def turnovers(self) -> dict[str, list[dict[str, Duel]]]:
        """The pairs of methods that not all replacements order alike: metric → for each pair, replacement → duel."""
        found: dict[str, list[dict[str, Duel]]] = {}
        for metric in self.agreements:
            pairs = self._by_pair(where for where in self.duels if where.metric == metric).values()
            signs = [{one.gain > 0 for one in duels.values() if one.gain != 0} for duels in pairs]
            found[metric] = [
                {str(where.replacement): one for where, one in duels.items()}
                for duels, both in zip(pairs, signs, strict=True)
                if len(both) > 1
            ]
        return found

    def orders(self, conditions: Iterable[Condition] | None = None) -> dict[tuple[str, str], dict[Condition, Duel]]:
        """Find the pairs of methods that all conditions order alike, by their means.

        Args:
            conditions: the conditions that are asked; None asks all.

        Returns:
            Better and worse method → condition → duel, whose gain is then positive everywhere.
        """
        found = {}
        for (first, second), duels in self._by_pair(self.duels if conditions is None else conditions).items():
            if duels and all(one.gain > 0 for one in duels.values()):
                found[first, second] = duels
            elif duels and all(one.gain < 0 for one in duels.values()):
                found[second, first] = {where: turned(one) for where, one in duels.items()}
        return found

    @property
    def plain(self) -> dict[str, Any]:
        """Everything but the tables, as values for JSON; NaN becomes None."""

        def listed(duels: Mapping[Condition, Sequence[Duel]]) -> list[dict[str, Any]]:
            rows = [(where, one) for where, found in duels.items() for one in found]
            return [{**asdict(where), **{k: _known(v) for k, v in asdict(one).items()}} for where, one in rows]

        taus = {
            metric: {f"{a}, {b}": _known(found[a, b]) for a, b in combinations(found.names, 2)}
            for metric, found in self.agreements.items()
        }
        return {
            "methods": [*self.methods],
            "challenges": listed(self.challenges),
            "duels": listed(self.duels),
            "kendall": taus,
            "turnovers": {
                metric: [[one.first, one.second] for duels in found for one in [*duels.values()][:1]]
                for metric, found in self.turnovers.items()
            },
            "orders": [[*pair] for pair in self.orders()],
        }

    def __str__(self) -> str:
        return report(self)

    def _goodness(self, where: Condition) -> list[float]:
        table, sign = self.tables[where.replacement or UNSWEPT], sign_of(where.metric)
        return [sign * table[method, where.metric].mean for method in self.methods]

    def _by_pair(self, conditions: Iterable[Condition]) -> dict[tuple[str, str], dict[Condition, Duel]]:
        """The duel of each pair of methods in each of these conditions, if it has a value in all of them."""
        asked = [*conditions]
        found: dict[tuple[str, str], dict[Condition, Duel]] = {}
        for where in asked:
            for one in self.duels[where]:
                found.setdefault((one.first, one.second), {})[where] = one
        return {pair: duels for pair, duels in found.items() if len(duels) == len(asked)}


def judge(tables: Mapping[str, Table], controls: Mapping[tuple[str, str], str]) -> Trial:
    """Compare the methods with their controls and with each other in every table.

    Args:
        tables: the name of each replacement, or ``UNSWEPT``, with its table.
        controls: the pairs of control and method that belong together, with the kind of the control.

    Returns:
        The verdicts.
    """
    methods = tuple(dict.fromkeys(method for _, method in controls))
    challenges = dict[Condition, list[Duel]]()
    duels = dict[Condition, list[Duel]]()
    for name, table in tables.items():
        for metric in table.metrics:
            where = Condition(metric, None if name == UNSWEPT else name)
            challenges[where] = fight(table, metric, [*controls])
            duels[where] = fight(table, metric, [*combinations(methods, 2)])
    return Trial(methods, controls, tables, challenges, duels)


def _known(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value
