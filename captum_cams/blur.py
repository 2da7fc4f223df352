"""The blurred image that stands in for removed pixels."""

from torch import Tensor
from torchvision.transforms.functional import gaussian_blur


def blur(images: Tensor, kernel_size: int = 51, sigma: float = 50.0) -> Tensor:
    """Gaussian blur with reflected borders; on small images the kernel shrinks to what reflection allows."""
    sizes = [min(kernel_size, 2 * side - 1) for side in reversed(images.shape[-2:])]
    return gaussian_blur(images, sizes, [sigma, sigma])
