"""Models that shuffle their tokens, or leave some out, at random: no position of theirs is proven."""

import pytest
import torch
import transformers
from torch import Tensor, nn

import captum_cams as cc
from tests.support.networks import images, seeded

SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
DECODER = {f"decoder_{name}": size for name, size in SMALL.items()}
SIDES = {"image_size": 64, "patch_size": 8}


def autoencoder(kind: str, share: float) -> nn.Module:
    config = transformers.ViTMAEConfig(**SMALL, **DECODER, **SIDES, mask_ratio=share, initializer_range=0.1)
    return seeded(lambda: getattr(transformers, kind)(config))


def features(output: object) -> Tensor:
    return output.logits if hasattr(output, "logits") else output.last_hidden_state


@pytest.mark.parametrize("kind", ["ViTMAEModel", "ViTMAEForPreTraining"])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.75])
def test_a_masked_autoencoder_is_refused(kind, share):
    x = nn.functional.interpolate(images(2), (64, 64))
    with pytest.raises(cc.CAMError, match="masked autoencoders"):
        cc.GradCAM(autoencoder(kind, share)).attribute(x, lambda output: features(output).mean((1, 2)))


def test_no_order_of_tokens_is_proven_by_chance():
    x = nn.functional.interpolate(images(2), (64, 64))
    for seed in range(4):
        torch.manual_seed(seed)
        cam = cc.GradCAM(autoencoder("ViTMAEModel", 0.0), "layers.1.layernorm_before")
        with pytest.raises(cc.CAMError, match="reshape="):
            cam.attribute(x, lambda output: features(output).mean((1, 2)))


def test_the_same_encoder_on_all_tokens_in_their_order_is_explained():
    x = nn.functional.interpolate(images(2), (64, 64))
    encoder = seeded(lambda: transformers.ViTModel(transformers.ViTConfig(**SMALL, **SIDES), add_pooling_layer=False))
    missing = encoder.load_state_dict(autoencoder("ViTMAEModel", 0.0).state_dict(), strict=False)
    assert not missing.missing_keys
    cam = cc.GradCAM(encoder)
    assert cam.attribute(x, lambda output: features(output)[:, 0, 3]).shape == (2, 1, 8, 8)


class Noisy(nn.Module):
    """Draws a little noise in each run, also in eval mode."""

    def __init__(self, size: float) -> None:
        super().__init__()
        self.size = size
        self.features = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1))
        self.norm, self.head = nn.LayerNorm(8), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        features = self.features(x)
        return self.head(self.norm((features + self.size * torch.randn_like(features)).flatten(2).mT).mean(1))


@pytest.mark.parametrize("layer", [None, "norm"])
def test_a_little_noise_is_no_random_order(layer):
    assert cc.GradCAM(seeded(lambda: Noisy(0.01)), layer).attribute(images(2), 1).shape == (2, 1, 10, 10)
    with pytest.raises(cc.CAMError):
        cc.GradCAM(seeded(lambda: Noisy(10.0)), layer).attribute(images(2), 1)
