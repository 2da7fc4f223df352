"""Statistics of values that several methods have on the same images: intervals, comparisons, ranks, agreement.

All functions take a matrix of values with one row for each explained pair of image and class and one column for each
method; :func:`intervals` and :func:`compare` also take a third axis with the seeds of methods that draw random
numbers. NaN means that there is no value. Rows of the same image are one unit: they are drawn together and averaged
before a test, because they are not independent of each other.

Example::

    from captum_cams import statistics

    values = torch.rand(40, 2) + torch.tensor([0.5, 0.0])
    print(statistics.compare(values, ["ours", "theirs"], higher_is_better=True)[0].verdict)  # ours is better
"""

from captum_cams.statistics.agreement import Agreement as Agreement
from captum_cams.statistics.agreement import agreement as agreement
from captum_cams.statistics.bootstrap import Interval as Interval
from captum_cams.statistics.bootstrap import intervals as intervals
from captum_cams.statistics.bootstrap import resampled_means as resampled_means
from captum_cams.statistics.comparison import Comparison as Comparison
from captum_cams.statistics.comparison import compare as compare
from captum_cams.statistics.comparison import holm as holm
from captum_cams.statistics.comparison import signed_rank as signed_rank
from captum_cams.statistics.rank_figure import draw_ranks as draw_ranks
from captum_cams.statistics.ranking import Rank as Rank
from captum_cams.statistics.ranking import critical_difference as critical_difference
from captum_cams.statistics.ranking import ranks as ranks
from captum_cams.statistics.reliability import Reliability as Reliability
from captum_cams.statistics.reliability import reliability as reliability
