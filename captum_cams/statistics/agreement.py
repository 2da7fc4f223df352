"""Kendall's τ: how far several metrics, tables or halves of the data rank the methods alike."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan, nan

from scipy.stats import kendalltau

from captum_cams.errors import CAMError, lookup


@dataclass(frozen=True)
class Agreement:
    """Kendall's τ between several rankings of the same methods; ``print`` shows it as Markdown, with "–" for NaN.

    Args:
        names: the names of the rankings.
        taus: τ of each pair, in rows: 1 if both rank alike, −1 if one is the other turned over, NaN if one ranks all
            methods equal or fewer than two methods have a value in both.

    Example::

        from captum_cams import statistics

        table = statistics.agreement({"adcc": [0.3, 0.2, 0.1], "energy": [0.9, 0.5, 0.7]})
        print(table["adcc", "energy"])
        print(table)
    """

    names: tuple[str, ...]
    taus: tuple[tuple[float, ...], ...]

    def __getitem__(self, key: tuple[str, str]) -> float:
        """Take τ of one pair of rankings.

        Args:
            key: the names of both.

        Returns:
            τ, −1 to 1, or NaN.

        Raises:
            CAMError: a name is unknown.
        """
        place = {name: number for number, name in enumerate(self.names)}
        row, column = (lookup("ranking", name, place) for name in key)
        return self.taus[row][column]

    def __str__(self) -> str:
        lines = [["Kendall τ", *self.names], ["---"] * (len(self.names) + 1)]
        for name, row in zip(self.names, self.taus, strict=True):
            lines.append([name, *("–" if isnan(tau) else f"{tau:.2f}" for tau in row)])
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def agreement(goodness: Mapping[str, Sequence[float]]) -> Agreement:
    """Compute Kendall's τ between several rankings of the same methods.

    It is the τ-b, which counts ties ("The Treatment of Ties in Ranking Problems", Kendall 1945).

    Args:
        goodness: the name of each ranking with one number for each method, higher for better methods. A method whose
            number is NaN is left out of the pairs with this ranking.

    Returns:
        τ of each pair of rankings.

    Raises:
        CAMError: the rankings do not have the same number of methods.

    Example::

        from captum_cams import statistics

        print(statistics.agreement({"one": [1.0, 2.0, 3.0], "other": [3.0, 2.0, 1.0]})["one", "other"])  # -1.0
    """
    if len({len(numbers) for numbers in goodness.values()}) > 1:
        sizes = ", ".join(f"{len(numbers)} for {name}" for name, numbers in goodness.items())
        raise CAMError(f"each ranking must have a number for the same methods, got {sizes}")
    taus = tuple(tuple(_tau(one, other) for other in goodness.values()) for one in goodness.values())
    return Agreement(tuple(goodness), taus)


def _tau(one: Sequence[float], other: Sequence[float]) -> float:
    """τ of two rankings, or NaN; scipy gives NaN if one ranks all methods equal."""
    pairs = [pair for pair in zip(one, other, strict=True) if not any(map(isnan, pair))]
    return float(kendalltau(*zip(*pairs, strict=True)).statistic) if len(pairs) > 1 else nan
