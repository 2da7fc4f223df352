"""Ready targets: what is explained, as small records that read one score for each sample from the model's output.

A target is passed as ``target=`` to ``attribute``, ``heatmap`` and ``contributions`` of every explainer. It has no
values per sample: if labels, boxes or masks differ between the images, pass a list with one target for each image.

Example::

    maps = cc.GradCAM(model, "layer4").attribute(images, cc.targets.Contrast(3, against=[5]))
    each = [cc.targets.Classification(label) for label in labels]
    maps = cc.GradCAM(model, "layer4").attribute(images, each)
"""

from captum_cams.targets.classification import Classification as Classification
from captum_cams.targets.contrast import Contrast as Contrast
from captum_cams.targets.detection import Detection as Detection
from captum_cams.targets.prompt import Prompt as Prompt
from captum_cams.targets.regression import Regression as Regression
from captum_cams.targets.segmentation import Segmentation as Segmentation
from captum_cams.targets.similarity import Similarity as Similarity
from captum_cams.targets.target import Target as Target
