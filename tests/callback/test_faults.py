"""The fault sheet: what goes wrong, what the user sees, and that training ends as without the callback."""

import errno
import itertools
import math
import shutil
import warnings

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from pytorch_lightning.loggers import CSVLogger
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import captum_cams as cc
from lightning_callbacks import CAMCallback
from lightning_callbacks.batches import images_and_labels
from lightning_callbacks.network import class_scores
from tests.support.lightning_modules import Net, WithInnerModel, data, loaders, trainer
from tests.support.training import fit


class TwoNetworks(WithInnerModel):
    def __init__(self):
        super().__init__()
        self.second = nn.Linear(2, 2)


class TakingLabels(Net):
    def forward(self, x, y):
        return super().forward(x), y

    def training_step(self, batch, batch_idx):
        return F.cross_entropy(self(*batch)[0], batch[1])

    def validation_step(self, batch, batch_idx):
        self(*batch)


COUNT = itertools.count()


def telling_all(batch):
    torch.set_printoptions(threshold=10**6)
    try:
        raise ValueError(f"the batch is {batch[0] + next(COUNT)}, and so wide")
    finally:
        torch.set_printoptions(profile="default")


class Nan(Net):
    def __init__(self):
        super().__init__()
        nn.init.constant_(self.fc.weight, math.nan)


class Replacing(Net):
    """Its feature layer is another one from the second epoch on."""

    def on_train_epoch_start(self):
        if self.current_epoch == 1:
            layers = dict(self.features.named_children())
            self.features = nn.Sequential(*layers.values(), nn.Identity())


def raising(error):
    def fail(*args, **kwargs):
        raise error

    return fail


class Broken(cc.GradCAM):
    weights = raising(ZeroDivisionError("a broken explainer"))


def out_of_memory(output):
    raise torch.OutOfMemoryError("CUDA out of memory")


FAULTS = {
    "an explainer that raises": (Net, Broken, "ZeroDivisionError: a broken explainer"),
    "a layer that does not exist": (Net, lambda: CAMCallback(layer="nowhere"), "a module or a dotted name"),
    "a method that does not suit": (Net, lambda: CAMCallback("cam", layer="features.0"), "use Grad-CAM"),
    "two networks and no forward": (TwoNetworks, CAMCallback, "must define forward"),
    "a batch of another kind": (Net, lambda: CAMCallback(batch_fn=lambda b: images_and_labels({})), "pass batch_fn"),
    "an output of another kind": (
        Net,
        lambda: CAMCallback(output_fn=lambda o: class_scores({"a": o, "b": o})),
        "output_fn",
    ),
    "features before the scores": (
        Net,
        lambda: CAMCallback(output_fn=lambda o: class_scores((torch.zeros(len(o), 8), o))),
        "pass output_fn=lambda output: output[1]",
    ),
    "a score of each pixel": (
        Net,
        lambda: CAMCallback(output_fn=lambda o: o[:, :, None, None].expand(-1, -1, 40, 40)),
        "as in segmentation; pass output_fn=lambda output: output.mean((2, 3))",
    ),
    "a forward that returns the loss": (Net, lambda: CAMCallback(output_fn=lambda o: o.mean()), "perhaps the loss"),
    "a forward that takes the labels": (TakingLabels, CAMCallback, "TakingLabels.forward(x, y) must work with images"),
    "a message as long as a book": (Net, lambda: CAMCallback(batch_fn=telling_all), "ValueError: the batch is tensor"),
    "NaN weights": (Nan, lambda: CAMCallback("fdcam"), "NaN"),
    "no memory even for one": (Net, lambda: CAMCallback(output_fn=out_of_memory), "lower num_images or the method's"),
}
PICTURES = {"a full disk": (Net, CAMCallback, "No space left on device")}


def trained(path, build, make=None):
    """Also the callback; ``make`` gives it, or an explainer of the model that it is given."""
    torch.manual_seed(1)
    model, callbacks = build(), []
    if make is not None:
        callbacks = [CAMCallback(make(model)) if make is Broken else make()]
    run, _ = fit(path, *callbacks, model=model, logger=CSVLogger(path))
    return run, {key: value.clone() for key, value in model.state_dict().items()}, *callbacks


@pytest.mark.parametrize("fault", [*FAULTS, *PICTURES])
def test_a_fault_costs_one_warning_and_training_ends_as_without_the_callback(tmp_path, fault, monkeypatch):
    build, make, reason = (FAULTS | PICTURES)[fault]
    _, plain = trained(tmp_path / "plain", build)
    if fault in PICTURES:
        monkeypatch.setattr(Image.Image, "save", raising(OSError(errno.ENOSPC, "No space left on device")))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run, watched, callback = trained(tmp_path / "watched", build, make)
    found = [str(w.message) for w in caught if "CAMCallback skips" in str(w.message)]
    assert len(found) == 1
    assert reason in found[0]
    assert len(found[0]) < 600
    assert run.current_epoch == 2
    for key, value in watched.items():
        torch.testing.assert_close(value, plain[key], rtol=0, atol=0, equal_nan=True)
    tag = f"cam/{next(iter(callback.methods))}/insertion_auc"
    assert (tag in run.callback_metrics) == (fault in PICTURES)  # the scalars outlive their pictures
    assert all(torch.isfinite(value) for name, value in run.callback_metrics.items() if name.startswith("cam/"))


def test_a_layer_replaced_in_mid_run_is_found_again(tmp_path):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run, _ = fit(tmp_path, CAMCallback("gradcam"), model=Replacing(), logger=False, max_epochs=4)
    assert len([w for w in caught if "CAMCallback skips" in str(w.message)]) <= 1
    assert torch.isfinite(run.callback_metrics["cam/gradcam/insertion_auc"])


def test_a_log_folder_that_vanishes(tmp_path):
    class Removing(Net):
        def on_train_epoch_start(self):
            if self.current_epoch == 1:
                shutil.rmtree(tmp_path / "cam", ignore_errors=True)

    logger = CSVLogger(tmp_path, name="", version="")
    run, _ = fit(tmp_path, CAMCallback("gradcam"), model=Removing(), logger=logger, max_epochs=3)
    assert run.current_epoch == 3
    assert len(list((tmp_path / "cam" / "validation").glob("*.png"))) == 2


@pytest.mark.parametrize("count", [1, 12])
def test_batches_without_labels_and_a_single_image(tmp_path, count):
    class Unlabelled(Net):
        def training_step(self, batch, batch_idx):
            return self(batch[0]).square().mean()

        def validation_step(self, batch, batch_idx):
            self(batch[0])

    train, val = (DataLoader(TensorDataset(data(n).tensors[0]), 4) for n in (8, count))
    run = trainer(
        tmp_path, callbacks=[CAMCallback("fdcam", on_error="raise", choose="hardest")], logger=CSVLogger(tmp_path)
    )
    run.fit(Unlabelled(), train, val)
    assert torch.isfinite(run.callback_metrics["cam/fdcam/over_all"])


def test_one_class(tmp_path):
    train, val = (DataLoader(TensorDataset(data(n).tensors[0], torch.zeros(n).long()), 4) for n in (8, 4))
    run = trainer(tmp_path, callbacks=[CAMCallback("gradcam", on_error="raise")], logger=False)
    with pytest.raises(cc.CAMError, match='pass task="binary" for one logit'):
        run.fit(Net(1), train, val)
    callback = CAMCallback(["gradcam", "fdcam"], on_error="raise", task="binary")
    run = trainer(tmp_path, callbacks=[callback], logger=False)
    run.fit(Net(1), train, val)
    assert torch.isfinite(run.callback_metrics["cam/gradcam/average_drop"])


def test_no_validation_batches(tmp_path):
    run = trainer(tmp_path, callbacks=[CAMCallback(on_error="raise")], logger=False, limit_val_batches=0)
    run.fit(Net(), *loaders())
    assert not [name for name in run.callback_metrics if name.startswith("cam/")]
    assert run.current_epoch == 2


def test_out_of_memory_halves_the_images_and_then_the_runs(tmp_path):
    sizes = []

    class Greedy(cc.ScoreCAM):
        def attribute(self, inputs, *rest, **options):
            sizes.append(len(inputs))
            return super().attribute(inputs, *rest, **options)

        def score_masks(self, masks, channels, image, run):
            if self.perturbations_per_eval > 2:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return super().score_masks(masks, channels, image, run)

    model = Net()
    greedy = Greedy(model, perturbations_per_eval=8)
    callback = CAMCallback(greedy, num_images=6, metrics=("complexity",), on_error="raise")
    run, _ = fit(tmp_path, callback, model=model, logger=False, max_epochs=1)
    assert sizes == [6, 3, 1, 1, 1, 1, 1, 1, 1, 1]
    assert greedy.perturbations_per_eval == 8  # a copy was halved
    assert len(callback.explained["validation"]) == 6
    assert torch.isfinite(run.callback_metrics["cam/greedy/complexity"])


def test_one_method_that_fails_leaves_the_others(tmp_path):
    with pytest.warns(UserWarning, match="cam: CAMError"):
        run, _ = fit(tmp_path, CAMCallback(["cam", "gradcam"], layer="features.0"), logger=False)
    assert "cam/cam/average_drop" not in run.callback_metrics
    assert torch.isfinite(run.callback_metrics["cam/gradcam/average_drop"])
