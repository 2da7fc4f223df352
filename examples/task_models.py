"""Small networks with random weights for tasks other than classification, as each library builds them.

In your own code, take trained networks instead; everything else stays the same. Each function says in its first line
what the network returns.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torchvision.models import detection, segmentation
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

CLASSES = 4
SIDE = 96  # of the images, in pixels


def seeded(build: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    """Build a network with random weights, in eval mode; its batch norms know the size of what they normalise."""
    torch.manual_seed(seed)
    model = build()
    backbone = getattr(model, "backbone", None)
    if backbone is not None:
        for module in backbone.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 1.0
        with torch.no_grad():
            backbone.train()(torch.rand(4, 3, SIDE, SIDE))
    return model.eval()


def pyramid(**options: Any) -> nn.Module:
    """The backbone of three detectors: a ResNet-18 with a feature pyramid."""
    return resnet_fpn_backbone(backbone_name="resnet18", weights=None, norm_layer=nn.BatchNorm2d, **options)


def faster_rcnn() -> nn.Module:
    """A list with boxes, labels and scores for each image, from torchvision."""
    size = {"min_size": SIDE, "max_size": SIDE, "box_score_thresh": 0.0, "box_detections_per_img": 5}
    return detection.FasterRCNN(pyramid(), CLASSES, **size)


def retinanet() -> nn.Module:
    """A list with boxes, labels and scores for each image, from torchvision."""
    size = {"min_size": SIDE, "max_size": SIDE, "score_thresh": 0.0, "detections_per_img": 5}
    return detection.RetinaNet(pyramid(), CLASSES, **size)


def fcos() -> nn.Module:
    """A list with boxes, labels and scores for each image, from torchvision."""
    size = {"min_size": SIDE, "max_size": SIDE, "score_thresh": 0.0, "detections_per_img": 5}
    backbone = pyramid(returned_layers=[2, 3, 4], extra_blocks=LastLevelP6P7(256, 256))
    return detection.FCOS(backbone, CLASSES, **size)


def ssdlite() -> nn.Module:
    """A list with boxes, labels and scores for each image, from torchvision."""
    size = {"num_classes": CLASSES, "score_thresh": 0.0, "detections_per_img": 5}
    return detection.ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, **size)


def fcn() -> nn.Module:
    """A dict with the scores of all pixels, out, from torchvision."""
    return segmentation.fcn_resnet50(weights=None, weights_backbone=None, num_classes=CLASSES)


def deeplab() -> nn.Module:
    """A dict with the scores of all pixels, out, from torchvision."""
    return segmentation.deeplabv3_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=CLASSES)


def lraspp() -> nn.Module:
    """A dict with the scores of all pixels, out, from torchvision."""
    return segmentation.lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=CLASSES)


def unet() -> nn.Module:
    """The scores of all pixels, from segmentation_models_pytorch."""
    import segmentation_models_pytorch as smp

    return smp.Unet("resnet18", encoder_weights=None, classes=CLASSES)


def segformer() -> nn.Module:
    """An object with the scores at a quarter of the image's size, logits, from Hugging Face."""
    from transformers import SegformerConfig, SegformerForSemanticSegmentation

    sizes = {"depths": [1, 1, 1, 1], "hidden_sizes": [8, 16, 24, 32], "decoder_hidden_size": 32}
    return SegformerForSemanticSegmentation(
        SegformerConfig(num_labels=CLASSES, num_attention_heads=[1, 1, 2, 2], **sizes)
    )


def detr() -> nn.Module:
    """An object with logits and pred_boxes of all queries, from Hugging Face."""
    from transformers import DetrConfig, DetrForObjectDetection, ResNetConfig

    backbone = ResNetConfig(
        embedding_size=16, hidden_sizes=[16, 24, 32, 48], depths=[1, 1, 1, 1], out_features=["stage4"]
    )
    layers = {"encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64}
    heads = {"d_model": 32, "encoder_attention_heads": 2, "decoder_attention_heads": 2}
    return DetrForObjectDetection(
        DetrConfig(
            use_timm_backbone=False,
            use_pretrained_backbone=False,
            backbone=None,
            backbone_config=backbone,
            num_labels=CLASSES,
            num_queries=10,
            **layers,
            **heads,
        )
    )


def open_clip() -> nn.Module:
    """Embeddings of images and texts, from open_clip."""
    from open_clip import CLIP
    from open_clip.model import CLIPTextCfg, CLIPVisionCfg

    image = CLIPVisionCfg(layers=2, width=64, head_width=16, patch_size=16, image_size=SIDE)
    return CLIP(32, image, CLIPTextCfg(width=32, heads=2, layers=2))


def clip() -> nn.Module:
    """Embeddings of images and texts, from Hugging Face."""
    from transformers import CLIPConfig, CLIPModel

    image, text = _towers()
    return CLIPModel(CLIPConfig(text_config=text, vision_config=image, projection_dim=24))


def siglip() -> nn.Module:
    """Embeddings of images and texts, from Hugging Face."""
    from transformers import SiglipConfig, SiglipModel

    image, text = _towers()
    return SiglipModel(SiglipConfig(text_config=text, vision_config=image))


def _towers() -> tuple[dict, dict]:
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {"vocab_size": 9, "max_position_embeddings": 16, "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2}
    return sizes | {"image_size": SIDE, "patch_size": 16}, sizes | text


def words() -> Callable:
    """A tokenizer with a few words, in place of that of the trained model."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: i for i, word in enumerate(("<pad>", "</s>", "<s>", "<unk>", "a", "photo", "of", "dog", "cat"))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, "<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 2), ("</s>", 1)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", model_max_length=16)
