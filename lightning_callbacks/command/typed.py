"""How each command is typed, for the help of the command line."""

USAGE = {
    "explain": "IMAGES --model MODEL [options]",
    "evaluate": "--data FOLDER --model MODEL [options]",
    "merge": "FOLDERS --out FOLDER [options]",
    "report": "FOLDER",
    "trial": "--data FOLDER --model MODEL [options]",
    "export": "--model MODEL --out FILE [options]",
    "benchmark": "[options]",
    "example": "[NAME] [options]",
    "methods": "",
}
"""The words that each command needs."""

TYPED = {
    "explain": (
        "explain photo.jpg --model resnet50 --methods fdcam gradcam",
        "explain photos --model timm:resnet50 --target 277 278 --html",
    ),
    "evaluate": (
        "evaluate --data photos --model resnet50 --methods gradcam fdcam",
        "evaluate --data photos --model resnet50 --protocol adcc --limit 9",
    ),
    "merge": ("merge shard0 shard1 shard2 shard3 --out whole",),
    "report": ("report evaluation",),
    "trial": ("trial --data photos --model resnet50 --methods gradcam fdcam",),
    "export": ("export --model resnet18 --method gradcam --out resnet18.onnx",),
    "benchmark": ('benchmark --methods gradcam "fgcam(gradcam)" --scenes 5',),
    "example": ("example", "example train_shapes"),
    "methods": ("methods",),
}
"""Examples of each command."""
