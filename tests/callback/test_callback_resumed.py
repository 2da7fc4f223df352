"""A run that goes on from a checkpoint with other settings, and with other data."""

import warnings

import pytest
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger
from torch.utils.data import DataLoader

import captum_cams as cc
from captum_cams.metrics.annotation import Annotation
from lightning_callbacks import CAMCallback
from lightning_callbacks.callback.watched_loader import WatchedLoader
from tests.support.lightning_modules import Net, data, loaders, trainer
from tests.support.training import Watching

OPTIONS = {"num_images": 4, "metrics": ("drift",), "on_error": "raise"}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("first")
    saved = ModelCheckpoint(folder, save_last=True)
    run = trainer(folder, callbacks=[CAMCallback(**OPTIONS), saved], logger=False, max_epochs=2, num_sanity_val_steps=0)
    run.fit(Net(), loaders()[0], DataLoader(data(12, seed=1), 4))
    return folder / "last.ckpt"


def resumed(path, checkpoint, validation, **options):
    callback = CAMCallback(**(OPTIONS | options))
    watching = Watching(callback)
    callbacks = [callback, watching, ModelCheckpoint(checkpoint.parent)]
    run = trainer(path, callbacks=callbacks, logger=CSVLogger(path), max_epochs=3)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run.fit(Net(), loaders()[0], validation, ckpt_path=checkpoint, weights_only=True)
    return watching.images(), run.callback_metrics, said(caught)


def said(caught):
    return [str(one.message) for one in caught if str(one.message).startswith("CAMCallback")]


@pytest.mark.filterwarnings("ignore:CAMCallback", "ignore:The dirpath has changed")
@pytest.mark.parametrize(
    ("options", "seed", "expected", "sentence", "drifts"),
    [
        ({}, 1, 4, None, True),
        ({}, 2, 4, "the data loader no longer gives the images of the checkpoint", False),
        ({"choose": "random"}, 2, 4, "choose is random and was first", False),
        ({"num_images": 7}, 1, 7, "num_images is 7 and was 4; new images are chosen", True),
        ({"num_images": 2}, 1, 2, "num_images is 2 and was 4", True),
        ({"methods": "fdcam"}, 1, 4, "methods is ['fdcam'] and was ['gradcam']", False),
        ({"layer": "features.3"}, 1, 4, "runs gradcam with features.3", False),
    ],
)
def test_the_new_setting_holds_and_one_sentence_says_so(
    tmp_path, checkpoint, options, seed, expected, sentence, drifts
):
    images, metrics, sentences = resumed(tmp_path, checkpoint, DataLoader(data(12, seed=seed), 4), **options)
    assert [len(one) for one in images] == [expected]
    if "choose" not in options:
        assert torch.equal(images[0], data(12, seed=seed).tensors[0][:expected])
    name = options.get("methods", "gradcam")
    assert (f"cam/{name}/drift" in metrics) == drifts  # anew for what changed alone
    assert len(sentences) == (sentence is not None)
    assert sentence is None or sentence in sentences[0]


@pytest.mark.filterwarnings("ignore:CAMCallback", "ignore:The dirpath has changed")
def test_an_explainer_with_other_options_begins_its_drift_anew(tmp_path):
    def run(sigma, **options):
        model = Net()
        method = cc.SmoothGradCAMPlusPlus(model, sigma=sigma, samples=2)
        callback = CAMCallback(method, **OPTIONS)
        saved = ModelCheckpoint(tmp_path, save_last=True)
        made = trainer(tmp_path, callbacks=[callback, saved], logger=False, num_sanity_val_steps=0, **options)
        path = tmp_path / "last.ckpt"
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            made.fit(model, *loaders(), ckpt_path=path if path.exists() else None, weights_only=True)
        return "cam/smoothgradcamplusplus/drift" in made.callback_metrics, said(caught)

    assert run(0.1, max_epochs=2) == (True, [])
    assert run(0.1, max_epochs=3) == (True, [])
    drifts, sentences = run(0.3, max_epochs=4)
    assert not drifts
    assert "sigma = 0.3" in sentences[0]
    assert "sigma = 0.1" in sentences[0]


@pytest.mark.parametrize("choose", ["first", "random", "per_class"])
def test_images_are_known_again_in_any_order_and_no_others(choose):
    images, other = data(12, seed=1).tensors[0], data(12, seed=2).tensors[0]
    state = {"kept": [(image, [0], {}) for image in images[3:6]], "maps": {}}
    for order, same in (
        (images, True),
        (images.flip(0), True),
        (other, False),
        (torch.cat((other, images[4:])), False),
    ):
        loader = WatchedLoader(choose, 3, 0, 1, dict(state))
        for i in range(0, len(order), 4):
            loader.see(order[i : i + 4], [Annotation()] * len(order[i : i + 4]), None)
        loader.end()
        assert loader.complete
        assert loader.replaced != same
        assert torch.equal(torch.stack([one.image for one in loader.selection.samples]), images[3:6]) == same
    blank = images.clone()
    blank[..., 0, 0] += 1  # another image that is nearly the same
    loader = WatchedLoader(choose, 3, 0, 1, dict(state))
    loader.see(blank, [Annotation()] * 12, None)
    loader.end()
    assert loader.replaced
