"""Networks whose attention makes no map over one grid of tokens are refused, with a way out."""

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import captum_cams as cc
from tests.support.networks import images, seeded
from tests.support.refusals import said
from tests.support.vit import LAYER, SmallViT, small_vit

ATTENTION = ("attentionrollout", "chefer", "legrad")
every = pytest.mark.parametrize("name", ATTENTION)


def refusal(name, model, layer=LAYER, reshape="tokens", x=None):
    return said(cc.create(name, model, layer, reshape=reshape).attribute, images(2) if x is None else x, 1)


def swin(depths: list[int]) -> nn.Module:
    return seeded(lambda: torchvision.models.SwinTransformer([4, 4], 12, depths, [2, 2], [4, 4], num_classes=5))


@pytest.mark.parametrize("name", ["attentionrollout", "chefer"])
def test_windows(name):
    text = refusal(name, swin([1, 1]), "norm", "channels_last", torch.rand(2, 3, 32, 32))
    assert "need weights N×heads×T×T with N = 2, got 8×2×16×16 in module features.1.0.attn" in text
    assert "use a method of the layer, such as Grad-CAM" in text


def test_windows_that_legrad_cannot_put_in_place():
    model, x = swin([2, 2]), torch.rand(2, 3, 32, 32)
    assert "at least two blocks of one class" in refusal("legrad", swin([1, 1]), "norm", "channels_last", x)
    assert "for a layer of 8×8 positions" in refusal("legrad", model, "features.1", "channels_last", x)

    class Alike(nn.LayerNorm):
        """All tokens of the second image have one value."""

        def forward(self, input: Tensor) -> Tensor:
            normed = super().forward(input)
            return torch.cat((normed[:1], torch.ones_like(normed[1:])))

    model.features[3][0].norm1.__class__ = Alike
    # What the first image tells holds for the batch.
    assert cc.LeGrad(model, "norm", reshape="channels_last").attribute(x, 1).any()
    nn.init.zeros_(model.features[3][0].norm1.weight)
    text = refusal("legrad", model, "norm", "channels_last", x)
    assert "must read each token of the map once, unchanged, and no two alike" in text
    assert "features.3.0.attn (ShiftedWindowAttention)" in text


class Strips(nn.Module):
    """Attention along columns, whose queries, keys and values were computed along rows."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.qkv = nn.LayerNorm(8), nn.Linear(8, 24)

    def forward(self, x: Tensor) -> Tensor:
        rows = self.qkv(self.norm(x).flatten(0, 1))
        q, k, v = rows.view(*x.shape[:3], 24).transpose(1, 2).flatten(0, 1)[:, None].chunk(3, 3)
        return x + ((q @ k.mT).softmax(-1) @ v).view(x.shape).transpose(1, 2)


@pytest.mark.parametrize("turned", [True, False])
def test_windows_that_are_turned_behind_the_linear_map(turned):
    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patches, self.fc = nn.Conv2d(3, 8, 8, 8), nn.Linear(8, 10)
            self.blocks = nn.Sequential(Strips(), Strips())

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.blocks(self.patches(x).permute(0, 2, 3, 1)).mean((1, 2)))

    model = seeded(Network)
    if not turned:
        for block in model.blocks:
            block.forward = lambda x, block=block: x + attended_rows(block, x)
        assert cc.LeGrad(model, "blocks", reshape="channels_last").attribute(images(2), 1).any()
    else:
        assert "must read each token of the map once" in refusal("legrad", model, "blocks", "channels_last")


def attended_rows(block: nn.Module, x: Tensor) -> Tensor:
    q, k, v = block.qkv(block.norm(x).flatten(0, 1))[:, None].chunk(3, 3)
    return ((q @ k.mT).softmax(-1) @ v).view(x.shape)


class PooledKeys(nn.Module):
    """Keys of fewer positions than queries, as in PVT."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 8, 8, 8), nn.Linear(8, 10)
        self.norm, self.attn = nn.Identity(), nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv(x).flatten(2).transpose(1, 2))
        x = x + self.attn(x, x[:, ::2], x[:, ::2], need_weights=False)[0]
        x = x + self.attn(x, x, x, need_weights=False)[0]
        return self.fc(x.mean(1))


@every
def test_pooled_keys(name):
    text = refusal(name, seeded(PooledKeys), "norm", cc.tokens(0))
    assert "one grid of tokens in all blocks, got 25 tokens first, and 25 queries with 13 keys in module attn" in text


class SideBySide(nn.Module):
    """Two attentions of a block read the same tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.body = SmallViT("packed", token=False)

    def forward(self, x: Tensor) -> Tensor:
        body = self.body
        z = body.patches(x).flatten(2).transpose(1, 2) + body.position
        first, second, last = body.blocks
        z = z + first.attended(first.norm1(z)) + second.attended(second.norm1(z))
        return body.fc(body.norm(last(z)).mean(1))


@every
def test_attention_side_by_side(name):
    text = refusal(name, seeded(SideBySide), "body.blocks.2.norm1", cc.tokens(0))
    assert "attention that follows one another" in text
    assert "module body.blocks.1.attn (MultiheadAttention) does not depend on module body.blocks.0.attn" in text


class TalkingHeads(SmallViT):
    def __init__(self) -> None:
        super().__init__("by hand")
        for block in self.blocks:
            block.attended = lambda x: (2 * (x @ x.transpose(1, 2)).softmax(-1)) @ x


@every
def test_attention_that_is_changed(name):
    assert "changes it in between, as talking heads do" in refusal(name, seeded(TalkingHeads))


@every
def test_no_attention(name):
    class Mixer(SmallViT):
        def __init__(self) -> None:
            super().__init__()
            for block in self.blocks:
                block.attended = lambda x: x.mean(1, keepdim=True).expand_as(x)

    assert "need softmax attention among tokens, got none in Mixer" in refusal(name, seeded(Mixer))


@every
def test_tokens_of_another_grid(name):
    text = refusal(name, small_vit(), reshape=lambda x: F.avg_pool2d(cc.tokens().to_map(x), 2))
    assert "the 26 tokens of the attention must be those of the layer" in text
    fewer = refusal(name, small_vit(token=False), "patches", cc.Layout(lambda x: x))
    assert "the 25 tokens of the attention must be those of the layer" in fewer


@every
def test_a_classifier_of_zeros(name):
    model = small_vit()
    nn.init.zeros_(model.fc.weight)
    if name == "legrad":  # no class reads anything: a map of zeros, as the gradient methods give it
        assert not cc.LeGrad(model, LAYER, reshape="tokens").attribute(images(2), 1).any()
    else:
        assert "is the classifier still zero" in refusal(name, model)


class Recomputed(SmallViT):
    def __init__(self, reentrant: bool) -> None:
        super().__init__("fused")
        for block in self.blocks:
            attended = block.attended
            block.attended = lambda x, attended=attended: checkpoint(attended, x, use_reentrant=reentrant)


@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize("name", ["chefer", "legrad"])
@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
def test_checkpointing(name, reentrant):
    assert "checkpoint" in refusal(name, seeded(lambda: Recomputed(reentrant)))


def test_attention_without_gradient():
    class Detached(SmallViT):
        def forward(self, x: Tensor) -> Tensor:
            with torch.no_grad():
                return super().forward(x)

    assert "the score must depend on the attention" in refusal("chefer", seeded(Detached))


def test_legrad_needs_blocks():
    class Unrolled(SmallViT):
        """The blocks are written into the forward pass of the network itself."""

        def forward(self, x: Tensor) -> Tensor:
            z = self.patches(x).flatten(2).transpose(1, 2)
            z = torch.cat((self.cls.expand(len(x), -1, -1), z), 1) + self.position
            for block in self.blocks:
                z = z + block.attended(block.norm1(z))
                z = z + block.fc2(block.fc1(block.norm2(z)))
            return self.fc(self.norm(z)[:, 0])

    model = seeded(Unrolled)
    assert "at least two blocks of one class" in refusal("legrad", model)
    assert cc.Chefer(model, LAYER, reshape="tokens").attribute(images(2), 1).any()


def test_heads_of_several_samples_in_one_axis():
    class Flat(SmallViT):
        def __init__(self) -> None:
            super().__init__()
            for block in self.blocks:
                block.attended = lambda x: (
                    torch.bmm(
                        (
                            x.unflatten(2, (2, -1)).transpose(1, 2).flatten(0, 1)
                            @ x.unflatten(2, (2, -1)).permute(0, 2, 3, 1).flatten(0, 1)
                        ).softmax(-1),
                        x.unflatten(2, (2, -1)).transpose(1, 2).flatten(0, 1),
                    )
                    .unflatten(0, (-1, 2))
                    .transpose(1, 2)
                    .flatten(2)
                )

    model = seeded(Flat)
    assert "explain one image at a time" in refusal("chefer", model, x=images(3))
    assert cc.Chefer(model, LAYER, reshape="tokens").attribute(images(1), 1).any()


def test_choices():
    assert "head_fusion must be one of" in said(lambda: cc.AttentionRollout(small_vit(), head_fusion="sum"))
    assert "pooling must be one of" in said(lambda: cc.LeGrad(small_vit(), pooling="cls"))
    assert "score must be one of" in said(lambda: cc.ViTReciproCAM(small_vit(), score="loss"))
