"""Three small networks that tell which classes a drawn scene has, and their weights."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torchvision.models.vision_transformer import ConvStemConfig, VisionTransformer

from captum_cams.benchmark.drawing import SIZE
from captum_cams.benchmark.scenes import CLASSES, Scenes
from captum_cams.errors import CAMError, check_choice, shape_of

NetworkName = Literal["pooled_cnn", "dense_cnn", "vit"]
"""A CNN that ends with global pooling, a CNN with fully connected layers as VGG has, or a vision transformer."""
NETWORKS: tuple[NetworkName, ...] = get_args(NetworkName)
WEIGHTS = Path(__file__).with_name("weights")


def build(name: NetworkName) -> nn.Module:
    """Make a network with random weights; its output is one logit for each of the seven classes of the scenes.

    Args:
        name: one of ``NETWORKS``.

    Raises:
        CAMError: there is no such network.
    """
    check_choice("network", name, NetworkName)
    makers: dict[NetworkName, Callable[[], nn.Module]] = {
        "pooled_cnn": _pooled_cnn,
        "dense_cnn": _dense_cnn,
        "vit": _vit,
    }
    return makers[name]()


def load_network(name: NetworkName) -> nn.Module:
    """Load one of the trained networks that come with the package.

    Its output is one logit for each of the seven classes; a class is there if its logit is positive. The networks were
    made by ``python -m captum_cams.benchmark.train``.

    Args:
        name: one of ``NETWORKS``.

    Returns:
        The network, in eval mode, on the CPU, in float32.

    Raises:
        CAMError: there is no such network.

    Example::

        from captum_cams import benchmark

        scenes = benchmark.draw_scenes("one_object", 4)
        print((benchmark.load_network("pooled_cnn")(scenes.images) > 0).equal(scenes.labels))
    """
    network = build(name)
    network.load_state_dict(_stored(name)["state"])
    return network.eval()


def promised_accuracy(name: NetworkName) -> dict[str, float]:
    """Read which share of the scenes of each factor the network decided rightly after training; see :func:`decided`.

    Args:
        name: one of ``NETWORKS``.

    Returns:
        Factor → accuracy, 0 to 1.

    Example::

        from captum_cams import benchmark

        print(benchmark.promised_accuracy("dense_cnn")["shortcut"])
    """
    return _stored(name)["accuracy"]


def decided(network: nn.Module, scenes: Scenes) -> Tensor:
    """Tell which scenes a network decides rightly.

    A scene is decided rightly if the network sees the class that is asked about, and does not see it in the
    counterfactual.

    Args:
        network: in eval mode; its output is one logit for each of the seven classes.
        scenes: N scenes.

    Returns:
        N booleans.

    Raises:
        CAMError: the network is in train mode, or its output has another shape.

    Example::

        from captum_cams import benchmark

        network, scenes = benchmark.load_network("dense_cnn"), benchmark.draw_scenes("large", 4)
        print(benchmark.decided(network, scenes))
    """
    if network.training:
        raise CAMError("the network must be in eval mode, because it is explained as it is used; pass network.eval()")

    def sees(images: Tensor) -> Tensor:
        with torch.no_grad():
            scores = torch.cat([network(part) for part in images.split(256)])
        if scores.shape != (len(images), len(CLASSES)):
            raise CAMError(
                f"the network must give {len(CLASSES)} logits for each image, N×{len(CLASSES)}, got {shape_of(scores)}"
            )
        return scores.gather(1, scenes.classes[:, None])[:, 0] > 0

    return sees(scenes.images) & ~sees(scenes.counterfactuals)


def _stored(name: NetworkName) -> dict[str, Any]:
    check_choice("network", name, NetworkName)
    file = WEIGHTS / f"{name}.pt"
    if not file.is_file():
        raise CAMError(
            f"the weights of {name} must be in {file}, but there is no such file; install the package again, or run "
            f"python -m captum_cams.benchmark.train {name}"
        )
    return torch.load(file, map_location="cpu", weights_only=True)


def _convolution(channels: int, out: int) -> list[nn.Module]:
    return [nn.Conv2d(channels, out, 3, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU()]


def _pooled_cnn() -> nn.Module:
    """Maps of 8×8, averaged, and one linear layer."""
    return nn.Sequential(
        *_convolution(3, 16),
        nn.MaxPool2d(2),
        *_convolution(16, 32),
        nn.MaxPool2d(2),
        *_convolution(32, 64),
        *_convolution(64, 64),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, len(CLASSES)),
    )


def _dense_cnn() -> nn.Module:
    """Three stages with max pooling, and two fully connected layers that see all 4×4 positions."""
    return nn.Sequential(
        *_convolution(3, 16),
        nn.MaxPool2d(2),
        *_convolution(16, 32),
        nn.MaxPool2d(2),
        *_convolution(32, 48),
        *_convolution(48, 48),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(48 * 4 * 4, 64),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Linear(64, len(CLASSES)),
    )


def _vit() -> nn.Module:
    """Three blocks over 8×8 tokens and a class token; convolutions make the tokens, with which few scenes suffice."""
    stem = [ConvStemConfig(24, 3, 2), ConvStemConfig(32, 3, 1), ConvStemConfig(64, 3, 2)]
    return VisionTransformer(SIZE, 4, 3, 4, 64, 128, num_classes=len(CLASSES), conv_stem_configs=stem)
