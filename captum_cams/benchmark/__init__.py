"""A benchmark with ground truth: drawn scenes whose deciding pixels are known, and small networks trained on them.

Example::

    from captum_cams import benchmark

    grades = benchmark.grade(["gradcam", "fdcam"], ["pooled_cnn"], factors=["several_classes"], scenes=4)
    print(grades.summary())
"""

from captum_cams.benchmark.grade import grade as grade
from captum_cams.benchmark.grades import Estimate as Estimate
from captum_cams.benchmark.grades import Grades as Grades
from captum_cams.benchmark.measures import MEASURES as MEASURES
from captum_cams.benchmark.measures import average_precision as average_precision
from captum_cams.benchmark.networks import NETWORKS as NETWORKS
from captum_cams.benchmark.networks import decided as decided
from captum_cams.benchmark.networks import load_network as load_network
from captum_cams.benchmark.networks import promised_accuracy as promised_accuracy
from captum_cams.benchmark.radar import draw_radar as draw_radar
from captum_cams.benchmark.scenes import CLASSES as CLASSES
from captum_cams.benchmark.scenes import FACTORS as FACTORS
from captum_cams.benchmark.scenes import Scenes as Scenes
from captum_cams.benchmark.scenes import draw_scenes as draw_scenes
