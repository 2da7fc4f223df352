"""Images by keyword, and further arguments by keyword, with a small CLIP of Hugging Face."""

import pytest
import torch
from torch import Tensor, nn
from transformers import CLIPConfig, CLIPModel

import captum_cams as cc
from tests.support.explainers import explainer

LAYER = "vision_model.embeddings.patch_embedding"
SIZES = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
X = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def clip():
    torch.manual_seed(0)
    text = SIZES | {"vocab_size": 20, "max_position_embeddings": 8, "eos_token_id": 19, "bos_token_id": 18}
    vision = SIZES | {"image_size": 32, "patch_size": 8}
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)).eval()


def texts(count: int) -> Tensor:
    return torch.randint(17, (count, 6), generator=torch.Generator().manual_seed(2))


class Bound(nn.Module):
    """The same model as a classifier whose classes are texts."""

    def __init__(self, clip: CLIPModel, ids: Tensor) -> None:
        super().__init__()
        self.clip, self.ids = clip, ids

    def forward(self, x: Tensor) -> Tensor:
        return self.clip(input_ids=self.ids, pixel_values=x).logits_per_image


@pytest.mark.parametrize("name", ["gradcam", "ablationcam", "fdcam", "scorecam", "jittercam", "rise", "liftcam"])
def test_clip_takes_its_images_by_keyword(clip, name):
    expected = explainer(name, Bound(clip, texts(3)), f"clip.{LAYER}").attribute(X, [2, 0])
    for layer in (LAYER, f"model.{LAYER}"):
        cam = explainer(name, cc.ImageInput(clip, "pixel_values"), layer)
        found = cam.attribute(X, [2, 0], {"input_ids": texts(3)})
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))
    assert expected.any()


@pytest.mark.parametrize("name", ["scorecam", "fdcam", "jittercam", "rise"])
def test_as_many_texts_as_images_are_not_taken_for_rows_of_the_samples(clip, name):
    cam = explainer(name, cc.ImageInput(clip, "pixel_values"), LAYER)
    with pytest.raises(cc.CAMError, match=r"(one row for each sample|the same output in every batch)"):
        cam.attribute(X, [1, 0], {"input_ids": texts(2)})
    expected = explainer(name, Bound(clip, texts(2)), f"clip.{LAYER}").attribute(X[:1], 1)
    found = cam.attribute(X[:1], 1, {"input_ids": texts(2)})
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


def test_mistakes_with_keywords_are_explained(clip):
    with pytest.raises(cc.CAMError, match=r'ImageInput\(model, "image"\)'):
        cc.LRP(lambda *, image: image).attribute(X, 1)
    with pytest.raises(cc.CAMError, match="its keys must be names, got 3"):
        cc.GradCAM(clip, LAYER).attribute(X, 1, {3: X})
    with pytest.raises(cc.CAMError, match="model must be a module"):
        cc.ImageInput(lambda image: image, "image")
    with pytest.raises(cc.CAMError, match="did you mean"):
        cc.GradCAM(cc.ImageInput(clip, "pixel_values"), "vision_model.embeddings.patch_embeding")


def test_the_adapter_leaves_the_flags_of_the_model(clip):
    clip.vision_model.train()
    try:
        adapter = cc.ImageInput(clip, "pixel_values")
        assert clip.vision_model.training
        assert not adapter.training
    finally:
        clip.eval()


def test_a_keyword_that_the_model_does_not_take():
    class Named(torch.nn.Module):
        def forward(self, pixel_values, text=None):
            return pixel_values.mean((2, 3))

    with pytest.raises(
        cc.CAMError, match=r"got 'pixel_value'; did you mean .pixel_values.\?; Named takes pixel_values, text"
    ):
        cc.ImageInput(Named(), "pixel_value")

    class Open(torch.nn.Module):
        def forward(self, **given):
            return given["image"].mean((2, 3))

    assert cc.ImageInput(Open(), "image")(torch.ones(1, 3, 4, 4)).shape == (1, 3)
