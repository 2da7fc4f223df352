"""Small networks of every image classifier of Hugging Face that answers with class scores."""

from collections.abc import Callable

import transformers
from torch import nn

_TOKENS = {"hidden_size": 96, "num_hidden_layers": 4, "num_attention_heads": 3, "intermediate_size": 192}
_FOUR = {"hidden_sizes": [16, 32, 64, 96], "depths": [1, 1, 2, 1]}
_WINDOWS = {"embed_dim": 24, "depths": [1, 1, 2, 1], "num_heads": [1, 2, 4, 8], "window_size": 7}


def _network(name: str, **options: object) -> Callable[[], nn.Module]:
    """What builds the classifier of this name from its configuration."""

    def make() -> nn.Module:
        config = getattr(transformers, f"{name}Config")(num_labels=10, **options)
        return getattr(transformers, f"{name}ForImageClassification")(config)

    return make


_FIRST = {"width_coefficient": 1.0, "depth_coefficient": 1.0, "hidden_dim": 1280}
_VISION = {"vision_config": {**_TOKENS, "image_size": 224, "patch_size": 32}}

CLASSIFIERS: dict[str, Callable[[], nn.Module]] = {
    "vit": _network("ViT", **_TOKENS, image_size=112),
    "deit": _network("DeiT", **_TOKENS, image_size=112),
    "beit": _network("Beit", **_TOKENS, image_size=112),
    "beit, class token": _network("Beit", **_TOKENS, image_size=112, use_mean_pooling=False),
    "data2vec-vision": _network("Data2VecVision", **_TOKENS, image_size=112),
    "dinov2": _network("Dinov2", **_TOKENS | {"mlp_ratio": 2}, image_size=112),
    "dinov2_with_registers": _network("Dinov2WithRegisters", **_TOKENS | {"mlp_ratio": 2}, image_size=112),
    "vit_msn": _network("ViTMSN", **_TOKENS, image_size=112),
    "ijepa": _network("IJepa", **_TOKENS, image_size=112),
    "siglip": _network("Siglip", **_VISION),
    "clip": _network("CLIP", **_VISION),
    "metaclip_2": _network("MetaClip2", **_VISION),
    "swin": _network("Swin", **_WINDOWS),
    "swinv2": _network("Swinv2", **_WINDOWS),
    "donut-swin": _network("DonutSwin", **_WINDOWS),
    "hiera": _network("Hiera", embed_dim=24, depths=[1, 1, 2, 1], num_heads=[1, 2, 4, 8]),
    "pvt": _network("Pvt", **_FOUR, num_attention_heads=[1, 2, 4, 4]),
    "pvt_v2": _network("PvtV2", **_FOUR, num_attention_heads=[1, 2, 4, 4]),
    "segformer": _network("Segformer", **_FOUR, num_attention_heads=[1, 2, 4, 4]),
    "cvt": _network(
        "Cvt", embed_dim=[16, 32, 64], num_heads=[1, 2, 4], depth=[1, 2, 3], drop_path_rate=[0.0, 0.0, 0.0]
    ),
    "levit": _network("Levit"),
    "focalnet": _network("FocalNet", embed_dim=24, depths=[1, 1, 2, 1]),
    "convnext": _network("ConvNext", **_FOUR),
    "convnextv2": _network("ConvNextV2", **_FOUR),
    "poolformer": _network("PoolFormer", **_FOUR),
    "swiftformer": _network("SwiftFormer", depths=[1, 1, 2, 1], embed_dims=[24, 32, 48, 64]),
    "resnet": _network("ResNet", **_FOUR, embedding_size=16),
    "bit": _network("Bit", hidden_sizes=[32, 64, 64, 96], depths=[1, 1, 2, 1], embedding_size=32, num_groups=8),
    "regnet": _network("RegNet", **_FOUR, embedding_size=16, groups_width=16),
    "hgnet_v2": _network("HGNetV2"),
    "pp_lcnet": _network("PPLCNet"),
    "mobilenet_v1": _network("MobileNetV1"),
    "mobilenet_v2": _network("MobileNetV2"),
    "mobilevit": _network("MobileViT", initializer_range=0.05),
    "mobilevitv2": _network("MobileViTV2", initializer_range=0.1),
    "efficientnet": _network(
        "EfficientNet", width_coefficient=1.0, depth_coefficient=1.0, hidden_dim=1280, initializer_range=0.1
    ),
    "textnet": _network("TextNet"),
}
"""The model type, and what builds a small network of it with random weights."""
