"""All metrics by name. The callback, ``evaluate`` and the command line look them up here.

A metric is a function of a :class:`Case`, which :func:`register_metric` adds to the list. There is one file for each
kind of metric. Results that several metrics need are computed once: ``case.shared(deletion)``.
"""

from captum_cams.metrics.catalogue import curves, masked  # the order of import is the order of the lists for users
from captum_cams.metrics.catalogue import localisation as localisation
from captum_cams.metrics.catalogue import sanity as sanity
from captum_cams.metrics.catalogue import stability as stability
from captum_cams.metrics.catalogue.measured import Summary, measure, row_values, summary
from captum_cams.metrics.entry import METRICS

__all__ = ["METRICS", "Summary", "curves", "localisation", "masked", "measure", "row_values", "summary"]
