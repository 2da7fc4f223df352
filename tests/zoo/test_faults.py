"""The zoo's own checks: each kind of wrong place, planted by hand in a small network, is called wrong."""

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import SwinTransformer, VisionTransformer

import captum_cams as cc
from tests.zoo.entry import Entry
from tests.zoo.grad_cam import grad_cam
from tests.zoo.grid import Grid, UnreadableError, read
from tests.zoo.pictures import pictures
from tests.zoo.verdict import CLASSES, judge, problems, unequal


class Pooled(nn.Module):
    """A transformer on 7×7 tokens, without a class token, whose mean is classified."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, 32, 8, 8)
        options = {"dim_feedforward": 64, "batch_first": True, "norm_first": True, "dropout": 0.0}
        self.blocks = nn.ModuleList(nn.TransformerEncoderLayer(32, 4, **options) for _ in range(3))
        self.norm, self.head = nn.LayerNorm(32), nn.Linear(32, 10)

    def forward_features(self, images: Tensor) -> Tensor:
        tokens = self.embed(images).flatten(2).transpose(1, 2)
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.forward_features(images).mean(1))


class Shuffled(Pooled):
    """The same with its tokens in another order, as networks keep them that work on windows."""

    def forward_features(self, images: Tensor) -> Tensor:
        order = torch.randperm(49, generator=torch.Generator().manual_seed(0))
        tokens = self.embed(images).flatten(2).transpose(1, 2)[:, order]
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)


class Biased(nn.Module):
    """A network that adds a learnt map to its features."""

    def __init__(self) -> None:
        super().__init__()
        self.features, self.bias = nn.Conv2d(3, 16, 8, 8), nn.Conv2d(1, 16, 1)
        self.head = nn.Linear(16, 10)

    def forward(self, images: Tensor) -> Tensor:
        features = self.features(images)
        return self.head((features + self.bias(torch.ones_like(features[:, :1]))).relu().mean((2, 3)))


class Attention(nn.Module):
    """Pools tokens by one query."""

    def __init__(self) -> None:
        super().__init__()
        self.values, self.scores = nn.Linear(32, 32), nn.Linear(32, 1)

    def forward(self, tokens: Tensor) -> Tensor:
        values = self.values(tokens)
        return (self.scores(values).softmax(1) * values).sum(1, keepdim=True)


class Attentive(Pooled):
    """The same, whose tokens are pooled by an attention."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = Attention()

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.pool(self.forward_features(images)).mean(1))


def vit() -> nn.Module:
    model = VisionTransformer(56, 8, 3, 4, 32, 64, num_classes=10)
    nn.init.normal_(model.heads.head.weight)  # torchvision gives it zeros
    return model


def swin() -> nn.Module:
    return SwinTransformer([4, 4], 24, [1, 1, 2], [1, 2, 4], [7, 7], num_classes=10)


PLANTED = {
    "patch embedding before a class token": (vit, "conv_proj", 56, "mixed behind"),
    "an early block before a class token": (vit, "encoder.layers.encoder_layer_1.ln_1", 56, "by a way around"),
    "the sum with the positions' embeddings": (vit, "encoder.dropout", 56, "mixed behind"),
    "the last block of a class token": (vit, "encoder.layers.encoder_layer_2", 56, "gradient is zero"),
    "patch embedding before a mean": (Pooled, "embed", 56, "mixed behind"),
    "an early block before a mean": (Pooled, "blocks.0", 56, "mixed behind"),
    "inside of a residual branch": (Pooled, "blocks.2.linear2", 56, "by a way around"),
    "an attention": (swin, "features.5.1.attn", 112, "by a way around"),
    "inside of an attention": (Attentive, "pool.values", 56, "inside of Attention"),
    "an early stage": (swin, "features.3", 112, "final features have 7×7"),
    "tokens out of order": (Shuffled, "norm", 56, "are seen in"),
    "a learnt map": (Biased, "bias", 56, "by a way around"),
}


@pytest.mark.parametrize("fault", PLANTED)
def test_a_wrong_place_is_noticed(fault):
    make, name, side, remark = PLANTED[fault]
    torch.manual_seed(0)
    model, images = make().eval(), pictures(2, (side, side))
    layer = model.get_submodule(name)
    try:
        problem = problems(model, layer, images, grad_cam(model, layer, images, CLASSES))
    except UnreadableError as error:
        problem = str(error)
    assert remark in str(problem)


RIGHT = {"class token": (vit, "encoder.layers.encoder_layer_2.ln_1", 56), "mean": (Pooled, "norm", 56)}
RIGHT |= {"last block": (Pooled, "blocks.2", 56), "windows": (swin, "norm", 112), "features": (Biased, "features", 56)}


@pytest.mark.parametrize("place", RIGHT)
def test_a_right_place_is_not_called_wrong(place):
    make, name, side = RIGHT[place]
    torch.manual_seed(0)
    model, images = make().eval(), pictures(2, (side, side))
    layer = model.get_submodule(name)
    found = grad_cam(model, layer, images, CLASSES)
    assert problems(model, layer, images, found) is None
    assert unequal(found.map, found) is None
    assert "differs" in unequal(found.map * (1 + 1e-4), found)
    assert "by hand" in unequal(found.map[..., 1:], found)


def test_an_axis_of_channels_is_no_axis_of_positions():
    assert read(torch.zeros(2, 7, 7, 96), (224, 224)) == Grid("channels last", 0, (7, 7))
    assert read(torch.zeros(2, 96, 5, 7), (160, 224)) == Grid("channels first", 0, (5, 7))
    assert read(torch.zeros(2, 197, 192), (224, 224)) == Grid("tokens", 1, (14, 14))
    assert read(torch.zeros(2, 201, 256), (224, 224)) == Grid("tokens", 5, (14, 14))
    assert read(torch.zeros(2, 320, 49), (224, 224)) == Grid("tokens last", 0, (7, 7))
    for shape in ((2, 7, 7, 7), (2, 7, 1, 1), (2, 10), (2, 100, 77, 3, 3)):
        with pytest.raises(UnreadableError):
            read(torch.zeros(shape), (224, 224))


def test_what_the_library_refuses_teaches(monkeypatch):
    def refuse(name, model):
        raise cc.CAMError("expected a layer, got none")

    monkeypatch.setattr(cc, "create", refuse)
    verdict = judge(Entry("here", "pooled", "pooled", Pooled))
    assert (verdict.kind, verdict.remark) == ("teaches", "expected a layer, got none")


def test_an_error_of_another_class_is_wrong(monkeypatch):
    monkeypatch.setattr(cc, "create", lambda name, model: None)
    assert judge(Entry("here", "pooled", "pooled", Pooled)).kind == "wrong"


def test_pages_count_every_verdict():
    pytest.importorskip("timm")
    from tests.zoo.table import page
    from tests.zoo.verdict import Verdict

    entry = Entry("here", "pooled", "pooled", Pooled)
    text = page([Verdict(entry, "right", "norm"), Verdict(entry, "wrong", "embed", remark="a | b")])
    assert "| here | 2 | 1 | 1 (50.0%) | 0 (0.0%) | 1 (50.0%) |" in text
    assert "wrong: a \\| b" in text
