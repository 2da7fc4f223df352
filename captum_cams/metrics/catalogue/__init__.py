"""All metrics by name. The callback, ``evaluate`` and the command line look them up here.

A metric is a function of a :class:`Case`, which :func:`register_metric` adds to the list. There is one file for each
kind of metric. Results that several metrics need are computed once: ``case.shared(deletion)``.
"""

# The order of these imports is the order of the lists that users see.
# isort: off
from captum_cams.metrics.catalogue import curves, masked, removal
from captum_cams.metrics.catalogue import localisation, shape, sanity, stability

# isort: on
from captum_cams.metrics.catalogue.measured import Summary, measure, row_values, summarise, summary
from captum_cams.metrics.entry import METRICS

__all__ = [
    "METRICS",
    "Summary",
    "curves",
    "localisation",
    "masked",
    "measure",
    "removal",
    "row_values",
    "sanity",
    "shape",
    "stability",
    "summarise",
    "summary",
]
