"""Training with the callback is training without it, bit by bit."""

import warnings

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EMAWeightAveraging, StochasticWeightAveraging
from pytorch_lightning.loggers import CSVLogger
from torch import nn

import captum_cams as cc
from lightning_callbacks import CAMCallback
from tests.support.lightning_modules import Net, WithInnerModel, loaders, trainer
from tests.support.untouched import assert_equal, hooks

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:Swapping scheduler"),
    pytest.mark.filterwarnings("ignore:`torch.jit.script"),
]


class CompiledInside(WithInnerModel):
    """The network is a compiled module; its output is a mapping."""

    def __init__(self):
        super().__init__()
        self.model = torch.compile(self.model, backend="eager")


class Several(Net):
    """Two validation loaders."""

    def validation_step(self, batch, batch_idx, dataloader_idx=0):
        super().validation_step(batch, batch_idx)


def compiled():
    return torch.compile(Net(), backend="eager")


CASES = {
    "single precision": (Net, {}, ()),
    "bf16-mixed": (Net, {"precision": "bf16-mixed"}, ()),
    "bf16-true": (Net, {"precision": "bf16-true"}, ()),
    "accumulated gradients": (Net, {"accumulate_grad_batches": 2}, ()),
    "clipped gradients": (Net, {"gradient_clip_val": 0.1}, ()),
    "exponential averages": (Net, {}, (lambda: EMAWeightAveraging(decay=0.9),)),
    "stochastic averages": (Net, {"max_epochs": 5}, (lambda: StochasticWeightAveraging(1e-3, 2, 1),)),
    "a compiled module": (compiled, {}, ()),
    "a compiled network inside": (CompiledInside, {}, ()),
    "validation in the middle of an epoch": (Net, {"val_check_interval": 2}, ()),
    "two validation loaders": (Several, {}, ()),
}
OPTIONS = {
    "first": {},
    "hardest, both classes": {"choose": "hardest", "true_class": True},
}


PAIRS = [(case, "first") for case in CASES] + [
    (case, "hardest, both classes") for case in ("single precision", "bf16-mixed")
]


def run(path, case, *callbacks):
    build, options, others = CASES[case]
    pl.seed_everything(7)
    model = build()
    logger = CSVLogger(path) if case == "single precision" else False  # its pictures are PNG files
    made = trainer(
        path, logger=logger, callbacks=[*callbacks, *(other() for other in others)], **{"max_epochs": 2, **options}
    )
    train, validation = loaders()
    with warnings.catch_warnings():
        if build is compiled:
            warnings.simplefilter("ignore")  # torch.compile reads the gradient of a tensor that has none
        made.fit(model, train, [validation, loaders(5)[1]] if build is Several else validation)
    inner = made.lightning_module
    return {
        "weights": dict(inner.state_dict()),
        "optimizer": made.optimizers[0].state_dict()["state"],
        "logged": {key: value for key, value in made.callback_metrics.items() if not key.startswith("cam/")},
        "random": torch.get_rng_state(),
        "step": made.global_step,
        "gradients": [parameter.grad for parameter in inner.parameters()],
        "hooks": hooks(inner),
        "modes": [m.training for m in inner.modules()],
    }, made.callback_metrics


@pytest.mark.parametrize(("case", "options"), PAIRS)
def test_training_is_the_same_to_the_bit(tmp_path, case, options):
    plain, _ = run(tmp_path / "plain", case)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        callback = CAMCallback(["gradcam", "fdcam"], num_images=10, **OPTIONS[options])
        watched, logged = run(tmp_path / "watched", case, callback)
    assert not [str(w.message) for w in caught if "CAMCallback" in str(w.message)]
    assert_equal(plain, watched, case)
    suffix = "/dataloader_idx_1" if case == "two validation loaders" else ""
    for metric in ("insertion_auc", "drift"):
        assert torch.isfinite(logged[f"cam/fdcam/{metric}{suffix}"])


def test_the_averaged_weights_are_what_is_explained(tmp_path):
    """Weight averaging validates other weights than it trains; those are the ones to look at."""
    seen = []

    class Watching(EMAWeightAveraging):
        def on_validation_batch_end(self, trainer, pl_module, *rest):
            seen.append(nn.utils.parameters_to_vector(pl_module.parameters()).detach().clone())

    explained = []

    class Noting(cc.GradCAM):
        def weights(self, seen):
            explained.append(nn.utils.parameters_to_vector(model.parameters()).detach().clone())
            return super().weights(seen)

    model = Net()
    callback = CAMCallback(Noting(model), metrics=("average_drop",), on_error="raise")
    made = trainer(tmp_path, logger=False, callbacks=[Watching(decay=0.5), callback], max_epochs=2)
    made.fit(model, *loaders())
    assert len(explained) == 2
    assert all(any(torch.equal(one, weights) for weights in seen) for one in explained)
