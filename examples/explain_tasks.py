"""Explain detectors, segmenters, and models of images and texts with the ready targets.

    python examples/explain_tasks.py --out explained.png
    python examples/explain_tasks.py --networks ssdlite detr clip

The networks of task_models.py have random weights, so the maps show how it is done and not what a trained network sees.
Needs transformers for detr, segformer, clip and siglip, open_clip_torch for open_clip, and segmentation_models_pytorch
for unet.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import task_models
import torch
from PIL import Image
from shapes import Shapes
from torch import Tensor, nn
from torchvision.ops import box_convert

import captum_cams as cc
from captum_cams import visual
from captum_cams.targets import Detection, Prompt, Segmentation, Similarity, Target

TEXT = "a photo of a dog"
LAYERS = {
    "faster_rcnn": "backbone.body.layer4",
    "retinanet": "backbone.body.layer4",
    "fcos": "backbone.body.layer4",
    "ssdlite": "backbone.features.0.12",
    "detr": "model.input_projection",
    "fcn": "backbone.layer4",
    "deeplab": "backbone.16",
    "lraspp": "backbone.16",
    "unet": "encoder.layer4",
    "segformer": "decode_head.linear_fuse",
    "open_clip": "visual.transformer.resblocks.1.ln_1",
    "clip": "vision_model.encoder.layers.1.layer_norm1",
    "siglip": "vision_model.encoder.layers.1.layer_norm1",
}
EMBED = {"open_clip": "encode_image", "clip": "get_image_features", "siglip": "get_image_features"}


def spelled(texts: list[str]) -> Tensor:
    """Make tokens for open_clip from letters; a trained model has open_clip.get_tokenizer(name)."""
    tokens = torch.zeros(len(texts), 77, dtype=torch.long)
    for row, text in zip(tokens, texts, strict=True):
        row[: len(text) + 2] = torch.tensor([49406, *map(ord, text), 49407])
    return tokens


def first_detection(output: Any, image: Tensor) -> Detection:
    """Make the target of the first detection, from torchvision's list or the queries of DETR."""
    if isinstance(output, list):
        one = output[0]
        boxes, labels = one["boxes"], one["labels"]
    else:
        scores, labels = output.logits[0].softmax(1)[:, :-1].max(1)
        height, width = image.shape[2:]
        order = scores.argsort(descending=True)
        boxes = box_convert(output.pred_boxes[0][order], "cxcywh", "xyxy") * torch.tensor([width, height] * 2)
        labels = labels[order]
    kept = int(((boxes[:, 2:] - boxes[:, :2]).amin(1) > 1).nonzero()[0])  # random boxes may be empty
    return Detection([round(side, 1) for side in boxes[kept].tolist()], int(labels[kept]))


def most_frequent(output: Any) -> Segmentation:
    """Make the target of the class that most pixels are predicted as."""
    scores = output if isinstance(output, Tensor) else output.get("out", output.get("logits"))
    return Segmentation(int(scores.argmax(1).flatten().mode().values))


def questions(name: str, model: nn.Module, image: Tensor, other: Tensor) -> tuple[Callable[..., Any], list[Target]]:
    """Return what is explained, the model or its function that embeds images, and the targets."""
    if name in EMBED:
        tokenizer = spelled if name == "open_clip" else task_models.words()
        return getattr(model, EMBED[name]), [Prompt(TEXT, model, tokenizer), Similarity(other[0])]
    with torch.no_grad():
        output = model(image)
    detects = isinstance(output, list) or hasattr(output, "pred_boxes")
    return model, [first_detection(output, image) if detects else most_frequent(output)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=LAYERS, default=list(LAYERS), help="default: all")
    parser.add_argument("--masks", type=int, default=50, help="masks of RISE (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="PNG file for the maps")
    args = parser.parse_args()

    drawn = Shapes(2, task_models.SIDE, seed=0).images
    image, other = drawn[:1], drawn[1:]
    captions, maps = [], {"gradcam": [], "rise": []}
    for name in args.networks:
        model = task_models.seeded(getattr(task_models, name))
        layer = model.get_submodule(LAYERS[name])
        explained, targets = questions(name, model, image, other)
        reshape = cc.tokens(prefix=0 if name == "siglip" else 1) if name in EMBED else None
        for target in targets:
            gradcam = cc.GradCAM(explained, layer, reshape=reshape)
            rise = cc.RISE(explained, layer, masks=args.masks, reshape=reshape)  # with a Detection, this is D-RISE
            maps["gradcam"].append(gradcam.heatmap(image, target))
            maps["rise"].append(rise.heatmap(image, target))
            print(f"{name:12} {target}")
            captions.append(f"{name}: {type(target).__name__}")
    if args.out:
        rows = image.expand(len(captions), -1, -1, -1)
        picture = visual.panel(rows, {name: torch.cat(each) for name, each in maps.items()}, captions)
        Image.fromarray(picture).save(args.out)
        print(f"saved {args.out}")


if __name__ == "__main__":
    main()
