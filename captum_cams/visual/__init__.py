"""Draw maps over images, panels of several methods, and deletion and insertion curves.

:func:`overlay` gives tensors, :func:`panel` and :func:`curves` give pixels for logs, and the functions whose names
begin with ``draw`` give figures of matplotlib for notebooks and papers. :func:`show` explains one image and draws it.

Example::

    from captum_cams import visual

    maps = cc.GradCAM(model, "layer4").attribute(images)
    pictures = visual.overlay(visual.displayable(images), maps)
"""

from captum_cams.visual.captions import Caption as Caption
from captum_cams.visual.colours import paint as paint
from captum_cams.visual.colours import palette as palette
from captum_cams.visual.curve_plots import curves as curves
from captum_cams.visual.curve_plots import draw_curves as draw_curves
from captum_cams.visual.display import displayable as displayable
from captum_cams.visual.drawing import Drawing as Drawing
from captum_cams.visual.explanation import Explanation as Explanation
from captum_cams.visual.maps import draw_map as draw_map
from captum_cams.visual.one_image import show as show
from captum_cams.visual.overlays import overlay as overlay
from captum_cams.visual.panels import draw_panel as draw_panel
from captum_cams.visual.panels import panel as panel
from captum_cams.visual.scale import Scaled as Scaled
from captum_cams.visual.scale import scale as scale
from captum_cams.visual.slices import choose_slices as choose_slices
