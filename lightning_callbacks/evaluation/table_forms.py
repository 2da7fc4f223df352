"""The forms in which the table of an evaluation leaves Python: Markdown, CSV, LaTeX and pandas."""

import csv
import io
import math
from typing import Any

from captum_cams import statistics
from captum_cams.errors import CAMError
from captum_cams.metrics.catalogue import METRICS
from captum_cams.statistics import Interval
from captum_cams.statistics.seeds import seed_deviations
from lightning_callbacks.evaluation.records import directed, markdown, number, with_ends
from lightning_callbacks.evaluation.table_statistics import TableStatistics

_LATEX = {
    **{letter: f"\\{letter}" for letter in "_&%$#{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
}


class TableForms(TableStatistics):
    """The forms of :class:`Table`."""

    def cells(self) -> list[dict[str, Any]]:
        """Take every cell with its interval.

        Returns:
            For each method and metric: "method", "metric", "mean", "standard_error", "low" and "high" (the ends of the
            95 % bootstrap interval), "n" (the number of rows with a value) and "level". If seeds were given, also
            "seeds" (how many the method has, 1 if it draws no random numbers) and "seed_deviation" (the standard
            deviation of the mean over the seeds).
        """
        found = []
        for (method, metric), of in self.intervals().items():
            cell, seeds = self[method, metric], len(self.seeds_of(method))
            entry = {"method": method, "metric": metric, "mean": cell.mean, "standard_error": cell.standard_error}
            entry |= {"low": of.low, "high": of.high, "n": cell.n, "level": cell.level}
            if self.seeds:
                entry |= {"seeds": max(1, seeds), "seed_deviation": of.seed_deviation if seeds else math.nan}
            found.append(entry)
        return found

    def over_seeds(self) -> str:
        """Write how far the mean of each method that draws random numbers depends on its seed.

        Returns:
            A sentence, and a table in Markdown of the standard deviation over the seeds; empty without seeds.
        """
        drawn = [method for method in self.methods if self.seeds_of(method)]
        if not drawn:
            return ""
        deviations = {metric: seed_deviations(self.seeded_values(metric)[0]).tolist() for metric in self.metrics}
        lines = []
        for method in drawn:
            mine = [deviations[metric][self.methods.index(method)] for metric in self.metrics]
            lines.append([method, *("–" if math.isnan(one) else f"{one:.2g}" for one in mine)])
        said = f"Each value of {', '.join(drawn)} is a mean over the seeds {', '.join(map(str, self.seeds))}."
        table = markdown(["standard deviation of the mean over the seeds", *self.metrics], lines)
        return f"{said}\n\n{table}"

    def with_intervals(self) -> str:
        """Write the table in Markdown, each mean with its 95 % bootstrap interval.

        Returns:
            The text; a cell is "mean (low to high)".
        """
        shown = {key: with_ends(of, key[1]) for key, of in self.intervals().items()}
        lines = [[method, *(shown[method, metric] for metric in self.metrics)] for method in self.methods]
        return markdown(["method", *map(directed, self.metrics)], lines)

    def to_csv(self) -> str:
        """Write the table as comma-separated values, a line for each method and metric.

        Returns:
            The text, with the names of :meth:`cells` in its first line.
        """
        text, cells = io.StringIO(newline=""), self.cells()
        writer = csv.DictWriter(text, [*cells[0]], lineterminator="\n")
        writer.writeheader()
        writer.writerows(cells)
        return text.getvalue()

    def to_pandas(self) -> Any:
        """Make a DataFrame of the table, a row for each method and metric.

        Returns:
            The ``pandas.DataFrame`` with the columns of :meth:`cells`; ``pivot(index="method", columns="metric")``
            makes the wide table.

        Raises:
            CAMError: pandas is not installed.
        """
        try:
            import pandas
        except ModuleNotFoundError as error:
            raise CAMError(
                "to_pandas needs the package pandas, which is not installed; pip install pandas, or use to_csv"
            ) from error
        return pandas.DataFrame(self.cells())

    def to_latex(self) -> str:
        """Write the table for LaTeX with the package booktabs.

        Bold are the best method of each metric and all methods from which no difference to it is shown by
        :meth:`compare`.

        Returns:
            The ``tabular`` environment; a cell is the mean with its 95 % bootstrap interval. A comment says how to read
            it.
        """
        found = self.intervals()
        bold = {metric: self._not_worse(metric) for metric in self.metrics}
        lines = [["method", *map(_latex_head, self.metrics)]]
        for method in self.methods:
            shown = [_latex_cell(found[method, name], name, method in bold[name]) for name in self.metrics]
            lines.append([_escaped(method), *shown])
        head, *body = (" & ".join(line) + r" \\" for line in lines)
        begin = rf"\begin{{tabular}}{{l{'c' * len(self.metrics)}}}"
        counts = sorted({of.n for of in found.values()})
        images = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else str(counts[0])
        notes = [
            f"% Mean over {images} images [95 % bootstrap interval over the images]. Bold: the best mean of each",
            "% metric and methods from which no difference to it is shown (Wilcoxon, Holm over all pairs, 5 %).",
        ]
        rules = [begin, r"\toprule", head, r"\midrule", *body, r"\bottomrule", r"\end{tabular}"]
        return "\n".join([*rules, *notes])

    def _not_worse(self, metric: str) -> set[str]:
        """The best method of a metric, and those from which no difference to it is shown."""
        known = [(good, name) for good, name in zip(self.goodness(metric), self.methods, strict=True) if good == good]
        if not known:
            return set()
        best = max(known, key=lambda pair: pair[0])[1]
        values, images = self.seeded_values(metric)
        found = statistics.compare(
            values,
            self.methods,
            higher_is_better=METRICS[metric].higher_is_better,
            units=images,
            pairs=[(best, name) for _, name in known if name != best],
        )
        return {best} | {one.second for one in found if one.better is None}


def _latex_head(metric: str) -> str:
    unit = r" (\%)" * (METRICS[metric].unit == "%")
    return rf"{_escaped(metric)}{unit} $\{'up' if METRICS[metric].higher_is_better else 'down'}arrow$"


def _latex_cell(of: Interval, metric: str, bold: bool) -> str:
    """The mean, bold or not, and its interval in small letters."""
    mean, both = _minus(number(of.mean, metric)), (number(of.low, metric), number(of.high, metric))
    small = rf" {{\scriptsize [{_minus(both[0])}, {_minus(both[1])}]}}" if all(both) else ""
    return (rf"\textbf{{{mean}}}" if bold else mean) + small


def _minus(text: str) -> str:
    """LaTeX writes a hyphen for "-" outside of formulas."""
    return text.replace("-", r"\textminus{}")


def _escaped(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in text)
