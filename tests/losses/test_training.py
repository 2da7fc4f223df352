"""A training with the loss under Lightning: deterministic, and the same as the loop that plain torch writes."""

import copy

import pytest
import pytorch_lightning as pl
import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader

import captum_cams as cc
from tests.support.networks import TinyRes, images, seeded
from tests.support.plain_maps import plain_maps

MASKS = images(8, seed=2)[:, 0] > 0
DATA = [(image, n % 10, mask) for n, (image, mask) in enumerate(zip(images(8), MASKS, strict=True))]


def loader():
    """The batches in their order; the loader draws nothing from torch's own random state."""
    return DataLoader(DATA, 4, generator=torch.Generator())


class Guided(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.model = seeded(lambda: torch.nn.Sequential(TinyRes(), torch.nn.Dropout(0.3)))

    def forward(self, x):
        return self.model(x)

    def training_step(self, batch):
        x, labels, masks = batch
        maps = cc.GradCAM(self.model, "0.layer4").attribute(x, labels, differentiable=True)
        return F.cross_entropy(self(x), labels) + cc.ExplanationLoss(masks)(maps)

    def validation_step(self, batch):
        x, labels, masks = batch
        self.log("outside", cc.ExplanationLoss(masks)(cc.GradCAM(self.model, "0.layer4").attribute(x, labels)))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.05)


def fitted(tmp_path):
    pl.seed_everything(3, verbose=False)
    module = Guided().train()
    trainer = pl.Trainer(
        max_epochs=2, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=tmp_path,
    )  # fmt: skip
    trainer.fit(module, loader(), loader())
    return module, trainer


def by_hand():
    """The same training without Lightning and without the library."""
    pl.seed_everything(3, verbose=False)
    model = Guided().model.train()
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    for _ in range(2):
        for x, labels, masks in loader():
            still = copy.deepcopy(model).eval()  # its buffers do not change
            for name, parameter in model.named_parameters():
                module, _, last = name.rpartition(".")
                del still.get_submodule(module)._parameters[last]
                setattr(still.get_submodule(module), last, parameter)
            maps = plain_maps("gradcam", still, "0.layer4", x, labels.tolist()).relu()
            large = F.interpolate(maps[:, None], (40, 40), mode="bilinear")[:, 0]
            outside = 1 - (large * masks).sum((1, 2)) / large.sum((1, 2))
            loss = F.cross_entropy(model(x), labels) + outside.mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model


@pytest.mark.filterwarnings("ignore:The .*dataloader.* does not have many workers", "ignore:The number of training")
def test_a_training_is_repeated_to_the_bit_and_is_that_of_plain_torch(tmp_path):
    (first, trainer), (second, _) = fitted(tmp_path), fitted(tmp_path)
    assert 0 < float(trainer.callback_metrics["outside"]) < 1
    begun, plain = Guided().model.state_dict(), by_hand().state_dict()
    for key, value in first.model.state_dict().items():
        assert torch.equal(value, second.model.state_dict()[key])
        torch.testing.assert_close(value, plain[key], rtol=1e-3, atol=1e-5)
    assert any(not torch.equal(value, begun[key]) for key, value in plain.items())
