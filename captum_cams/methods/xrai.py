"""XRAI."""

from collections.abc import Callable
from typing import Any

import torch
from captum.attr import IntegratedGradients
from torch import Tensor, nn

from captum_cams.bases.attribution import CAMAttribution
from captum_cams.bases.plane import check_plane
from captum_cams.cost import Cost, named
from captum_cams.engine.call import Call
from captum_cams.engine.gradient import gradient_of
from captum_cams.engine.precision import full_precision
from captum_cams.engine.scores import notice_probabilities
from captum_cams.engine.targets import wide
from captum_cams.errors import CAMError, check_at_least, check_finite, shape_of
from captum_cams.extras import import_extra
from captum_cams.images import minmax
from captum_cams.paper import Paper
from captum_cams.registry import register

_SCALES = (50, 100, 150, 250, 500, 1200)
_SIGMA = 0.8
_LEAST_NEW = 50
"""How many pixels a segment must add, in the authors' code."""


@register
class XRAI(CAMAttribution):
    """Shows the segments of the image whose pixels raise the class score.

    Kapishnikov et al. 2019, with the numbers of the authors' code. The integrated gradients of each pixel are averaged
    over two baselines, a uniform image of the lowest and one of the highest value of the image, and the largest over
    the channels counts. Felzenszwalb's segmentation at six scales gives overlapping segments, each with a margin. The
    segment whose new pixels have the highest mean joins the map first, then the next; all its new pixels get that mean.
    Segments with fewer than 50 new pixels are left out, and the pixels that stay get their own mean. The map is as
    large as the image, N×1×H×W, and signed; it adds up to the attributions.

    The image is segmented at its own size, with values from −1 to 1. The authors' code resizes it to 224×224 first, so
    the defaults suit such images; on much smaller ones, lower ``min_size`` and ``margin``.

    Args:
        steps: number of points on the path from each baseline to the image, at least 1, by Gauss-Legendre quadrature.
        min_size: the smallest segment in pixels, before the margin is added; at least 1.
        margin: how far each segment is dilated, in pixels; at least 0.
        perturbations_per_eval: the number of images in one run, at least 1; the memory grows with it.
        **options: see :class:`CAMAttribution`; a layer and ``reshape`` are refused, because no layer takes part.

    Raises:
        CAMError: a number is too small; in a call, if a layer or ``reshape`` was given, scikit-image is not installed,
            the images do not have 1 or 3 channels or are integers, or the score does not depend on them.

    Example::

        cam = cc.XRAI(model, steps=10)
        maps = cam.attribute(images, labels)  # 2×1×64×64
    """

    title = "XRAI"
    paper = Paper(
        "Kapishnikov et al.",
        "XRAI: Better Attributions Through Regions",
        "ICCV",
        2019,
        "https://arxiv.org/abs/1906.02825",
    )
    cost = Cost(1 + 2 * named("steps"), gradients=2 * named("steps"))
    rectifies = False

    def __init__(
        self,
        forward_func: Callable[..., Any],
        layer: nn.Module | str | None = None,
        device_ids: list[int] | None = None,
        *,
        steps: int = 100,
        min_size: int = 150,
        margin: int = 5,
        perturbations_per_eval: int = 8,
        **options: Any,
    ) -> None:
        super().__init__(forward_func, layer, device_ids, **options)
        check_at_least("steps", steps, 1)
        check_at_least("min_size", min_size, 1)
        check_at_least("margin", margin, 0)
        check_at_least("perturbations_per_eval", perturbations_per_eval, 1)
        self.steps, self.min_size, self.margin = steps, min_size, margin
        self.perturbations_per_eval = perturbations_per_eval

    @property
    def at_input_size(self) -> bool:
        return True

    def map_size(self, call: Call) -> torch.Size:
        return call.inputs[0].shape[2:]

    def explain(self, call: Call) -> Tensor:
        if self.layer is not None or self.reshape is not None:
            given = "a layer" if self.layer is not None else "reshape="
            raise CAMError(f"XRAI explains without a layer, got {given}; leave it out, or use HiResCAM")
        images = call.copied().inputs[0]
        check_plane("XRAI", images)
        if images.shape[1] not in (1, 3):
            raise CAMError(
                f"XRAI segments images with 1 or 3 channels, got {shape_of(images)}; use FullGrad for other inputs"
            )
        with torch.no_grad():
            output = call.output()
        check_finite(f"scores of the model ({type(call.network).__name__})", output)
        notice_probabilities(call.network, output, call.task)
        call = call.resolved(output)
        maps = []
        for sample, image in enumerate(images):
            attribution = self.pixels(call, sample).amax(0)
            maps.append(regions(attribution, self.segments(image)))
        return torch.stack(maps)[:, None]

    def pixels(self, call: Call, sample: int) -> Tensor:
        """Compute the integrated gradients of one image, in the mean over both baselines.

        Args:
            call: the user's call, resolved.
            sample: the index of the image.

        Returns:
            The attributions C×H×W.

        Raises:
            CAMError: the score does not depend on the image.
        """
        given = call.inputs[0][sample : sample + 1]
        image = wide(given.detach())

        def score(images: Tensor) -> Tensor:
            rows = call.rows(images.to(given.dtype), [sample] * len(images))
            return wide(rows.chosen(rows.output()))

        def gradient(forward_fn: Callable[[Tensor], Tensor], inputs: tuple[Tensor], **_: Any) -> tuple[Tensor]:
            with torch.enable_grad():
                return (gradient_of(forward_fn(inputs[0]), inputs[0], "the input"),)

        integrated = IntegratedGradients(score)
        integrated.gradient_func = gradient  # Captum's own gives an error that does not teach
        with full_precision(image.device):
            found = [
                integrated.attribute(
                    image,
                    baselines=torch.full_like(image, float(value)),
                    n_steps=self.steps,
                    internal_batch_size=self.perturbations_per_eval,
                ).detach()
                for value in (image.min(), image.max())
            ]
        check_finite("the integrated gradients", torch.cat(found))
        return (found[0] + found[1])[0] / 2

    def segments(self, image: Tensor) -> Tensor:
        """Segment an image at six scales, and add a margin to each segment.

        Args:
            image: C×H×W.

        Returns:
            The segments S×H×W of booleans, which overlap.

        Raises:
            CAMError: scikit-image is not installed.
        """
        segmentation = import_extra("skimage.segmentation", "xrai", "XRAI")
        morphology = import_extra("skimage.morphology", "xrai", "XRAI")
        scaled = 2 * minmax(image.detach().double(), (0, 1, 2)) - 1
        values, found = scaled.permute(1, 2, 0).contiguous().cpu().numpy(), []
        for scale in _SCALES:
            labels = segmentation.felzenszwalb(values, scale=scale, sigma=_SIGMA, min_size=self.min_size)
            for label in range(labels.max() + 1):
                found.append(torch.from_numpy(morphology.isotropic_dilation(labels == label, self.margin)))
        return torch.stack(found).to(image.device)


def regions(attribution: Tensor, segments: Tensor) -> Tensor:
    """Give all pixels of a segment the same value, the segments with the highest mean first.

    Args:
        attribution: the attribution of each pixel, H×W.
        segments: S×H×W, booleans; they may overlap.

    Returns:
        The map H×W: for each segment the mean attribution of the pixels that it adds to those before it.
    """
    values, masks = attribution.flatten().double(), segments.flatten(1)
    found, free = torch.zeros_like(values), torch.ones_like(values, dtype=torch.bool)
    counts, sums = masks.sum(1), _sums(values, masks)
    while bool((counts >= _LEAST_NEW).any()):
        means = torch.where(counts >= _LEAST_NEW, sums / counts, -torch.inf)
        new = masks[means.argmax()] & free
        found[new] = values[new].mean()
        free &= ~new
        # A pixel is new once, so that all steps together read each mask once.
        counts = counts - masks[:, new].sum(1)
        sums = sums - _sums(values[new], masks[:, new])
    if free.any():
        found[free] = values[free].mean()
    return found.view_as(attribution).to(attribution.dtype)


def _sums(values: Tensor, masks: Tensor) -> Tensor:
    """Add up the values P under each of S masks S×P, one after the other, as all products would take much memory."""
    return torch.stack([values[mask].sum() for mask in masks])
