"""Images against texts and against other images, with CLIP of two libraries and SigLIP."""

import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import captum_cams as cc
from captum_cams.targets import Prompt, Similarity
from tests.support.independent import gradcam

TEXT = "a photo of a dog"
PREFIX = {"open_clip": 1, "clip": 1, "siglip": 0}


def spelled(texts):
    """Tokens of open_clip without its file of words: the beginning, the letters, the end, which is the largest."""
    tokens = torch.zeros(len(texts), 77, dtype=torch.long)
    for row, text in zip(tokens, texts, strict=True):
        row[: len(text) + 2] = torch.tensor([49406, *map(ord, text), 49407])
    return tokens


def parts(name, network):
    """The model, its function that embeds images, the tokenizer, the layer, and the embedding of a text."""
    model = network(name)
    if name == "open_clip":
        with torch.no_grad():
            text = model.encode_text(spelled([TEXT]))
        return model, model.encode_image, spelled, model.visual.transformer.resblocks[-1].ln_1, text
    tokenizer, layer = network("words"), model.vision_model.encoder.layers[-1].layer_norm1
    with torch.no_grad():
        text = model.get_text_features(**tokenizer([TEXT], padding="max_length", return_tensors="pt")).pooler_output
    return model, model.get_image_features, tokenizer, layer, text


@pytest.mark.parametrize("name", PREFIX)
def test_gradcam_of_a_prompt_is_a_hook_and_a_gradient(name, network, x):
    model, embed, tokenizer, layer, text = parts(name, network)
    prompt = Prompt(TEXT, model, tokenizer)
    torch.testing.assert_close(prompt.embedding[None], text)

    def to_map(value):
        return value[:, PREFIX[name] :].transpose(1, 2).unflatten(2, (6, 6))

    def score(output):
        given = output if isinstance(output, torch.Tensor) else output.pooler_output
        return F.cosine_similarity(given, text)

    expected = gradcam(lambda: embed(x), layer, score, to_map)
    cam = cc.GradCAM(embed, layer, reshape=cc.tokens(prefix=PREFIX[name]))
    found = cam.attribute(x, prompt, relu_attributions=False)
    assert expected.abs().amax((1, 2, 3)).min() > 0
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))
    cosines = cc.RISE(embed, layer, masks=3, reshape=cam.reshape).attribute(x, prompt)
    assert cosines.std() > 0


@pytest.mark.parametrize("name", PREFIX)
def test_an_image_as_reference_is_its_embedding(name, network, x):
    _, embed, _, layer, _ = parts(name, network)
    with torch.no_grad():
        output = embed(x[1:])
    reference = output if isinstance(output, torch.Tensor) else output.pooler_output
    cam = cc.GradCAM(embed, layer, reshape=cc.tokens(prefix=PREFIX[name]))
    by_image = cam.attribute(x[:1], Similarity(x[1]), relu_attributions=False)
    torch.testing.assert_close(by_image, cam.attribute(x[:1], Similarity(reference[0]), relu_attributions=False))
    assert by_image.std() > 0


def test_the_cosine_is_the_logit_of_clip_without_its_scale(network, x):
    model, tokenizer = network("clip"), network("words")
    with torch.no_grad():
        tokens = tokenizer([TEXT], padding="max_length", return_tensors="pt")
        logits = model(pixel_values=x, **tokens).logits_per_image[:, 0]
        found = Prompt(TEXT, model, tokenizer)(model.get_image_features(x))
    torch.testing.assert_close(found * model.logit_scale.exp(), logits)


def test_a_prompt_keeps_its_text_and_leaves_the_model_as_it_was(network):
    model, tokenizer = network("clip"), network("words")
    model.train()
    prompt = Prompt(TEXT, model, tokenizer)
    assert all(module.training for module in model.modules())
    model.eval()
    assert prompt == Prompt(TEXT, model, tokenizer)  # embedded in eval mode
    assert repr(prompt) == f"Prompt(text='{TEXT}', embedding=a tensor 24)"
    assert pickle.loads(pickle.dumps(prompt)) == prompt
    assert prompt != Prompt("a photo of a cat", model, tokenizer)
    assert not prompt.embedding.requires_grad


def test_a_processor_has_a_tokenizer(network):
    model, tokenizer = network("siglip"), network("words")

    class Processor:
        def __init__(self) -> None:
            self.tokenizer = tokenizer

        def __call__(self, images):
            raise AssertionError

    assert Prompt(TEXT, model, Processor()) == Prompt(TEXT, model, tokenizer)


def test_a_prompt_that_cannot_be_is_explained(network, x):
    model, tokenizer = network("clip"), network("words")
    with pytest.raises(cc.CAMError, match=r"got \['a', 'b'\]; for several"):
        Prompt(["a", "b"], model, tokenizer)
    with pytest.raises(cc.CAMError, match="at most 16 tokens for this model, got 22; shorten it"):
        Prompt("dog " * 20, model, tokenizer)
    with pytest.raises(cc.CAMError, match="needs a model with encode_text or get_text_features, got the module Linear"):
        Prompt(TEXT, nn.Linear(2, 2), tokenizer)
    with pytest.raises(cc.CAMError, match="tokenizer must be the tokenizer of the model, got None"):
        Prompt(TEXT, model, None)
    vision = network("clip").vision_model
    with pytest.raises(cc.CAMError, match="expected 24, got 2×32; use the model, with its projection"):
        Prompt(TEXT, model, tokenizer)(vision(x))
