"""The similarity of an image and a text."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from captum_cams.engine.untouched import untouched
from captum_cams.errors import CAMError, brief
from captum_cams.targets.reading import EMBEDDINGS, tensor_in
from captum_cams.targets.similarity import cosine
from captum_cams.targets.target import Target


@dataclass(frozen=True, eq=False, repr=False, init=False)
class Prompt(Target):
    """Explains how well an image fits a text: the cosine of their embeddings, −1 to 1.

    The text is embedded once, when the target is made; the record keeps the text and its embedding, not the model. The
    cosine is the logit of CLIP and of SigLIP without their scale and bias, so the maps of gradient methods differ only
    by a constant factor. Explain the part of the model that embeds images, and pass the layer as a module:
    ``GradCAM(model.encode_image, layer)`` for open_clip, ``GradCAM(model.get_image_features, layer)`` for CLIP and
    SigLIP of Hugging Face.

    Args:
        text: the text.
        model: a model of open_clip or OpenAI (with ``encode_text``), or of Hugging Face (with ``get_text_features``).
        tokenizer: the tokenizer of this model. Hugging Face's is called with ``padding="max_length"``, as SigLIP was
            trained; a processor that has one is accepted.

    Raises:
        CAMError: the text is empty or longer than the model reads, or the model embeds no texts; in a call, if the
            explained model does not return embeddings of the same length.

    Example::

        class TwoTowers(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.image, self.words = model, torch.nn.Embedding(256, 10)

            def encode_image(self, images):
                return self.image(images)

            def encode_text(self, tokens):
                return self.words(tokens).mean(1)

        clip = TwoTowers()
        dog = cc.targets.Prompt("a dog", clip, lambda texts: torch.tensor([list(map(ord, text)) for text in texts]))
        maps = cc.GradCAM(clip.encode_image, clip.image.layer4).attribute(images, dog)
    """

    text: str
    embedding: Tensor

    def __init__(self, text: str, model: nn.Module, tokenizer: Callable[..., Any]) -> None:
        if not isinstance(text, str) or not text.strip():
            raise CAMError(f"text must be one text, got {brief(text)}; for several texts make several targets")
        if not callable(tokenizer):
            raise CAMError(f"tokenizer must be the tokenizer of the model, got {brief(tokenizer)}")
        object.__setattr__(self, "text", text)
        object.__setattr__(self, "embedding", _embedded(text, model, tokenizer))

    def __call__(self, output: Any) -> Tensor:
        return cosine(output, self.embedding)


def _embedded(text: str, model: nn.Module, tokenizer: Callable[..., Any]) -> Tensor:
    if not isinstance(model, nn.Module) or not (hasattr(model, "get_text_features") or hasattr(model, "encode_text")):
        raise CAMError(
            f"Prompt needs a model with encode_text or get_text_features, got {brief(model)}; pass the whole model, "
            "with its text encoder, or embed the text yourself and use Similarity(embedding)"
        )
    device = next(model.parameters()).device
    with untouched(model):
        if hasattr(model, "get_text_features"):
            tokens = {name: values.to(device) for name, values in _tokens(text, model, tokenizer).items()}
            output = model.get_text_features(**tokens)  # type: ignore[operator]
        else:
            output = model.encode_text(tokenizer([text]).to(device))  # type: ignore[operator]
    return tensor_in(output, EMBEDDINGS, "1×D", 2)[0].detach().clone()


def _tokens(text: str, model: Any, tokenizer: Any) -> Mapping[str, Tensor]:
    tokenizer = getattr(tokenizer, "tokenizer", tokenizer)  # that of a processor
    limit = min(model.config.text_config.max_position_embeddings, tokenizer.model_max_length)
    tokens: Mapping[str, Tensor] = tokenizer([text], padding="max_length", max_length=limit, return_tensors="pt")
    if (count := tokens["input_ids"].shape[1]) > limit:
        raise CAMError(f"text must have at most {limit} tokens for this model, got {count}; shorten it")
    return tokens
