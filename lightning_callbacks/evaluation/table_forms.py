"""The forms in which the table of an evaluation leaves Python: Markdown, CSV, LaTeX and pandas."""

import csv
import io
from typing import Any

from captum_cams import statistics
from captum_cams.extras import import_extra
from captum_cams.metrics.catalogue import METRICS
from captum_cams.statistics import Interval
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
            95 % bootstrap interval), "n" and "level".
        """
        return [
            {
                **{"method": method, "metric": metric, "mean": cell.mean, "standard_error": cell.standard_error},
                **{"low": of.low, "high": of.high, "n": cell.n, "level": cell.level},
            }
            for (method, metric), of in self.intervals().items()
            for cell in (self[method, metric],)
        ]

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
        return import_extra("pandas", "pandas", "to_pandas", ", or use to_csv").DataFrame(self.cells())

    def to_latex(self) -> str:
        """Write the table for LaTeX with the package booktabs.

        Bold are the best method of each metric and all methods from which no difference to it is shown by
        :meth:`compare`.

        Returns:
            The ``tabular`` environment; a cell is the mean with its 95 % bootstrap interval.
        """
        found = self.intervals()
        bold = {metric: self._not_worse(metric) for metric in self.metrics}
        lines = [["method", *map(_latex_head, self.metrics)]]
        for method in self.methods:
            shown = [_latex_cell(found[method, name], name, method in bold[name]) for name in self.metrics]
            lines.append([_escaped(method), *shown])
        head, *body = (" & ".join(line) + r" \\" for line in lines)
        begin = rf"\begin{{tabular}}{{l{'c' * len(self.metrics)}}}"
        return "\n".join([begin, r"\toprule", head, r"\midrule", *body, r"\bottomrule", r"\end{tabular}"])

    def _not_worse(self, metric: str) -> set[str]:
        """The best method of a metric, and those from which no difference to it is shown."""
        known = [(good, name) for good, name in zip(self.goodness(metric), self.methods, strict=True) if good == good]
        if not known:
            return set()
        best = max(known, key=lambda pair: pair[0])[1]
        values, images = self.paired_values(metric)
        found = statistics.compare(
            values,
            self.methods,
            higher_is_better=METRICS[metric].higher_is_better,
            units=images,
            pairs=[(best, name) for _, name in known if name != best],
        )
        return {best} | {one.second for one in found if one.better is None}


def _latex_head(metric: str) -> str:
    return rf"{_escaped(metric)} $\{'up' if METRICS[metric].higher_is_better else 'down'}arrow$"


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
