"""What the table of an evaluation can say of its methods beyond their means."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cached_property

import torch
from torch import Tensor

from captum_cams import statistics
from captum_cams.errors import CAMError, check_at_least, lookup
from captum_cams.metrics.catalogue import METRICS, Summary
from captum_cams.statistics.seeds import mean_over_seeds
from captum_cams.statistics.units import unit_sums
from lightning_callbacks.evaluation.records import Compared, Ranking


class TableStatistics(ABC):
    """The statistics of :class:`Table`. An image is the unit: its rows are drawn together.

    The value of a method with several seeds is the mean over its seeds. The intervals of means and of differences
    contain the seeds; ranks, agreement and reliability are those of the means over the seeds.
    """

    methods: tuple[str, ...]
    metrics: tuple[str, ...]
    columns: Mapping[str, Tensor]

    @abstractmethod
    def __getitem__(self, key: tuple[str, str]) -> Summary: ...

    @abstractmethod
    def values(self, method: str, metric: str) -> Tensor: ...

    @cached_property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of the evaluation; none if each method ran once."""
        found = self.columns["seed"].unique().tolist() if "seed" in self.columns else []
        return tuple(seed for seed in found if seed >= 0)

    def seeds_of(self, method: str) -> tuple[int, ...]:
        """The seeds of one method; none if it ran once, because it draws no random numbers.

        Args:
            method: the name of the method.

        Returns:
            The seeds in increasing order.

        Raises:
            CAMError: the table has no such method.
        """
        mine = self.columns["method"] == self._number(method)
        return self.seeds if self.seeds and bool((self.columns["seed"][mine] >= 0).any()) else ()

    def paired_values(self, metric: str) -> tuple[Tensor, Tensor]:
        """Take the values of a metric side by side, for the functions of ``captum_cams.statistics``.

        Args:
            metric: the name of the metric.

        Returns:
            R×methods values, one row for each pair of image and class, NaN if a method has no value there, the mean
            over the seeds if there are several; and the image of each row, R.

        Raises:
            CAMError: the table has no such metric.
        """
        values, images = self.seeded_values(metric)
        return mean_over_seeds(values) if self.seeds else values, images

    def seeded_values(self, metric: str) -> tuple[Tensor, Tensor]:
        """Take the values as :meth:`paired_values` does, with a third axis for the seeds if there are several.

        Args:
            metric: the name of the metric.

        Returns:
            R×methods×seeds values, or R×methods if each method ran once; and the image of each row, R. A method that
            ran once has the same value for each seed.

        Raises:
            CAMError: the table has no such metric.
        """
        keys = torch.stack((self.columns["image"], self.columns["class"]), 1)
        pairs, which = keys.unique(dim=0, return_inverse=True)
        seeds = torch.tensor(self.seeds, dtype=torch.long)
        found = torch.full((len(pairs), len(self.methods), max(1, len(seeds))), torch.nan, dtype=torch.float64)
        for number, method in enumerate(self.methods):
            mine, values = self.columns["method"] == number, self.values(method, metric).double()
            of = self.columns["seed"][mine] if len(seeds) else torch.zeros(len(values), dtype=torch.long)
            found[which[mine], number, torch.searchsorted(seeds, of)] = values.where(values.isfinite(), torch.nan)
            if not self.seeds_of(method):
                found[:, number] = found[:, number, :1]
        return found if self.seeds else found[..., 0], pairs[:, 0]

    def intervals(self) -> dict[tuple[str, str], statistics.Interval]:
        """Compute the 95 % bootstrap interval of each cell, 10,000 resamples of the images.

        The best level of a metric that chooses one, and the values of a metric that compares images, are kept as they
        are for all images.

        Returns:
            (method, metric) → interval. They are computed once for each table.
        """
        return dict(self._intervals)

    @cached_property
    def _intervals(self) -> dict[tuple[str, str], statistics.Interval]:
        pairs = [self.seeded_values(metric) for metric in self.metrics]
        found = statistics.intervals(torch.cat([values for values, _ in pairs], 1), pairs[0][1])
        keys = [(method, metric) for metric in self.metrics for method in self.methods]
        return dict(zip(keys, found, strict=True))

    def interval(self, method: str, metric: str) -> statistics.Interval:
        """Compute the 95 % bootstrap interval of one cell, as :meth:`intervals` does for all.

        Args:
            method: the name of the method.
            metric: the name of the metric.

        Returns:
            The mean with both ends of its interval, and the number of images.

        Raises:
            CAMError: the table has no such method or metric.
        """
        column = [self._number(method)]
        values, images = self.seeded_values(metric)
        return statistics.intervals(values[:, column], images)[0]

    def compare(self, first: str, second: str) -> Compared:
        """Compare two methods on the images that both explain; ``print`` shows the result as Markdown.

        A method is called better only if the bootstrap interval of the mean difference leaves out 0 and Wilcoxon's
        test, adjusted by Holm over all pairs of methods of the table (of each metric by itself), has p ≤ 0.05, both on
        the same side; otherwise no difference is shown. Fewer than six images are too few for a verdict.

        Args:
            first: the name of one method.
            second: the name of the other method.

        Returns:
            The comparison for each metric; see :class:`captum_cams.statistics.Comparison`.

        Raises:
            CAMError: the table has no such method, or both are the same.
        """
        if self._number(first) == self._number(second):
            raise CAMError(f'compare needs two methods of the table, got "{first}" twice; pass another one')
        found = {}
        for metric in self.metrics:
            (values, images), better = self.seeded_values(metric), METRICS[metric].higher_is_better
            (found[metric],) = statistics.compare(
                values, self.methods, higher_is_better=better, units=images, pairs=[(first, second)]
            )
        return Compared(first, second, found, len(self.methods))

    def ranks(self, metric: str) -> Ranking:
        """Rank the methods by one metric, with the 95 % bootstrap interval of each rank.

        Args:
            metric: the name of the metric.

        Returns:
            The ranks, best first; ``print`` shows them as Markdown.

        Raises:
            CAMError: the table has no such metric or only one method, or fewer than two images have a value of every
                method.
        """
        values, images = self.paired_values(metric)
        found = statistics.ranks(values, self.methods, higher_is_better=METRICS[metric].higher_is_better, units=images)
        return Ranking(metric, tuple(found), self.ranked_images(metric))

    def agreement(self) -> statistics.Agreement:
        """Compute how far the metrics agree about the methods.

        Returns:
            Kendall's τ of each pair of metrics, 1 if both order the means of the methods alike.
        """
        return statistics.agreement({metric: self.goodness(metric) for metric in self.metrics})

    def reliability(self) -> dict[str, statistics.Reliability]:
        """Compute for each metric how far one half of the images ranks the methods as the other half does.

        Returns:
            Metric → reliability. Metrics that have a value of every method on fewer than two images are left out.

        Raises:
            CAMError: the table has only one method.
        """
        ranked = [metric for metric in self.metrics if self.ranked_images(metric) > 1]
        return {metric: statistics.reliability(*self.paired_values(metric)) for metric in ranked}

    def best(self, method: str, metric: str, k: int = 9) -> list[int]:
        """Find the images on which one method does best.

        Args:
            method: the name of the method.
            metric: the name of the metric.
            k: how many images.

        Returns:
            Up to k indices in the data set, best first. An image with several rows counts by their mean, and one
            without a value does not count.

        Raises:
            CAMError: the table has no such method or metric, or ``k`` is not positive.
        """
        return self._ordered(method, metric, k)[:k]

    def worst(self, method: str, metric: str, k: int = 9) -> list[int]:
        """Find the images on which one method does worst.

        Args:
            method: the name of the method.
            metric: the name of the metric.
            k: how many images.

        Returns:
            Up to k indices in the data set, worst first, chosen as by :meth:`best`.

        Raises:
            CAMError: the table has no such method or metric, or ``k`` is not positive.
        """
        return self._ordered(method, metric, k, worst=True)[:k]

    def goodness(self, metric: str) -> list[float]:
        """The mean of each method, with the sign that makes higher values better."""
        means = self.paired_values(metric)[0].nanmean(0)
        return (means if METRICS[metric].higher_is_better else -means).tolist()

    def ranked_images(self, metric: str) -> int:
        """How many images have a value of every method."""
        values, images = self.paired_values(metric)
        return len(images[values.isfinite().all(1)].unique())

    def _number(self, method: str) -> int:
        return lookup("method of this table", method, {name: i for i, name in enumerate(self.methods)})

    def _ordered(self, method: str, metric: str, k: int, worst: bool = False) -> list[int]:
        """The images with a value, best or worst first, and of equal ones the first."""
        check_at_least("k", k, 1)
        number = self._number(method)
        values, images = self.paired_values(metric)
        known = values[:, number].isfinite()
        sums, counts = unit_sums(values[known][:, [number]], images[known])
        highest = METRICS[metric].higher_is_better != worst
        order = (sums / counts)[:, 0].argsort(descending=highest, stable=True)
        return images[known].unique()[order].tolist()
