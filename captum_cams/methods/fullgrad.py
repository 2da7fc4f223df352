"""FullGrad."""

import torch
from torch import Tensor

from captum_cams.bases.attribution import CAMAttribution
from captum_cams.cost import Cost
from captum_cams.engine.biases import BiasTrail
from captum_cams.engine.call import Call
from captum_cams.engine.gradient import gradients_of
from captum_cams.engine.scores import notice_probabilities
from captum_cams.engine.targets import wide
from captum_cams.errors import CAMError, check_finite, shape_of
from captum_cams.images import minmax, upsample
from captum_cams.paper import Paper
from captum_cams.registry import register


@register
class FullGrad(CAMAttribution):
    """Shows where the image and the biases of all layers make the class score.

    Srinivas and Fleuret 2019, eq. 6: map = ψ(x ∘ ∂y_c/∂x) + Σ_l up(ψ(b_l ∘ ∂y_c/∂z_l)), where z_l is the output of a
    layer with the bias b_l, and ψ takes the size of each value, scales those of one layer to [0, 1], and adds up the
    channels. In a network of ReLUs, the products before ψ add up to the score (:meth:`products`). Convolutions, linear
    maps and norms count, BatchNorms with running statistics with all that they add. Layers behind the pooling have no
    positions and no part in the map. The gradient of a layer right before global average pooling is the same at all
    positions where a channel is on, so that this layer shows how many channels are on, and not how strong they are. A
    layer and ``reshape`` are refused, because all layers count. The map is not negative, and as large as the image.

    Raises:
        CAMError: in a call, if a layer or ``reshape`` is given, a layer with a bias gives tokens, no layer with
            positions has a bias, a bias differs from position to position, or the images are integers.

    Example::

        cam = cc.FullGrad(model)
        maps = cam.attribute(images, labels)  # 2×1×64×64
    """

    title = "FullGrad"
    paper = Paper(
        "Srinivas and Fleuret",
        "Full-Gradient Representation for Neural Network Visualization",
        "NeurIPS",
        2019,
        "https://arxiv.org/abs/1905.00780",
    )
    cost = Cost(gradients=1)

    @property
    def at_input_size(self) -> bool:
        return True

    def explain(self, call: Call) -> Tensor:
        if self.layer is not None or self.reshape is not None:
            given = "a layer" if self.layer is not None else "reshape="
            raise CAMError(f"FullGrad explains with all layers, got {given}; leave it out, or use HiResCAM")
        image, *biases = self.products(call)
        size, axes = image.shape[2:], tuple(range(1, image.ndim))
        if image.ndim < 3:
            raise CAMError(f"FullGrad needs inputs with positions, got {shape_of(image)}; use Captum's InputXGradient")
        if odd := [one for one in biases if 2 < one.ndim != image.ndim]:
            raise CAMError(
                f"FullGrad needs layers that give maps, got tokens with {len(odd)} biases, the first for "
                f"{shape_of(odd[0])}; use LRP for transformers"
            )
        placed = [one for one in biases if one.ndim == image.ndim]
        if not placed:
            raise CAMError("FullGrad needs layers with positions and a bias, got none; use Captum's InputXGradient")
        maps = [upsample(minmax(one.abs(), axes).sum(1, keepdim=True), size) for one in (image, *placed)]
        return torch.stack(maps).sum(0)

    def products(self, call: Call) -> list[Tensor]:
        """Compute the image and each bias times its gradient; in a network of ReLUs they add up to the score.

        Args:
            call: the user's call.

        Returns:
            The product for the image, N×C×H×W, and for each bias in the order of the network, N×K×….

        Raises:
            CAMError: the images are integers, or the score does not depend on them.
        """
        call = call.copied()
        image = call.inputs[0].requires_grad_()
        with torch.enable_grad():
            with BiasTrail() as trail:
                output = call.output()
            score = call.resolved(output).chosen(output)
            check_finite(f"scores of the model ({type(call.network).__name__})", score.detach())
            notice_probabilities(call.network, output, call.task)
            kept = [biased for biased in trail.found if len(biased.output) == call.samples]
            if odd := [biased for biased in kept if biased.bias.ndim > 1]:
                raise CAMError(
                    "FullGrad needs biases with one number for each channel, got one of "
                    f"{shape_of(odd[0].bias)} (a LayerNorm over several axes); use HiResCAM or LRP"
                )
            first, *others = gradients_of(score, [image, *(biased.output for biased in kept)], "the input")
        products = [biased.shares(gradient) for biased, gradient in zip(kept, others, strict=True)]
        return [wide((image * first).detach()), *(wide(product.detach()) for product in products)]
