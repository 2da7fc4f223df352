"""How a photograph becomes the input of a network of torchvision."""

from torchvision import transforms

PREPROCESS = transforms.Compose(
    [
        transforms.ToTensor(),
        transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    ]
)
