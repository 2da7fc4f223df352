"""Which images are kept, and that they stay the same where they should."""

import gc
import weakref
from collections import Counter

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger
from scipy.stats import spearmanr
from torch import nn
from torch.utils.data import DataLoader

import captum_cams as cc
from captum_cams.metrics.annotation import Annotation
from captum_cams.metrics.protocols import Protocol
from lightning_callbacks import CAMCallback
from lightning_callbacks.callback.drift import rank_correlation
from lightning_callbacks.callback.image_explainer import ImageExplainer
from lightning_callbacks.callback.selection import Sample, Selection, losses_of
from tests.support.lightning_modules import Net, data, loaders, trainer
from tests.support.training import Watching


def passed(choose, count, classes, losses=None):
    selection = Selection(choose, count)
    selection.start()
    images = torch.arange(len(classes)).float().view(-1, 1, 1, 1).expand(-1, 3, 2, 2)
    for i in range(0, len(classes), 4):
        part = slice(i, i + 4)
        selection.see(images[part], [Annotation((c,)) for c in classes[part]], None if losses is None else losses[part])
    selection.end()
    return [int(one.image[0, 0, 0]) for one in selection.samples], selection


def test_first_random_and_per_class():
    classes = [0] * 10 + [1] * 3 + [2] * 7
    assert passed("first", 6, classes)[0] == [0, 1, 2, 3, 4, 5]
    found, selection = passed("per_class", 6, classes)
    assert Counter(classes[i] for i in found) == {0: 2, 1: 2, 2: 2}
    assert selection.complete
    found, _ = passed("random", 6, classes)
    assert len(set(found)) == 6
    assert passed("random", 6, classes)[0] == found  # the same in every run
    assert found != [0, 1, 2, 3, 4, 5]
    assert passed("random", 30, classes)[0] == list(range(20))


def test_random_images_are_equally_likely():
    counts = Counter()
    for seed in range(400):
        selection = Selection("random", 3)
        selection.start()
        selection._random.seed(seed)
        selection.see(torch.arange(12.0).view(-1, 1, 1, 1), [Annotation()] * 12, None)
        counts.update(int(one.image) for one in selection.samples)
    assert all(60 <= counts[i] <= 140 for i in range(12))  # 100 expected, standard deviation 9


def test_hardest_are_those_with_the_largest_loss_of_the_epoch():
    losses = torch.tensor([3.0, 1, 9, 2, 8, 0, 4, 7])
    found, selection = passed("hardest", 3, [0] * 8, losses)
    assert sorted(found) == [2, 4, 7]
    selection.start()
    assert not selection.samples
    scores = torch.tensor([[2.0, 0.0], [0.0, 3.0]])
    expected = torch.nn.functional.cross_entropy(scores, torch.tensor([1, 1]), reduction="none")
    torch.testing.assert_close(losses_of(scores, [Annotation((1,)), Annotation()]), expected)


@pytest.mark.parametrize("choose", ["random", "per_class", "first"])
def test_a_resumed_run_goes_on_with_the_same_images_and_steps(tmp_path, choose):
    def shuffled(seed):
        return DataLoader(data(12, seed=1), 4, shuffle=True, generator=torch.Generator().manual_seed(seed))

    saved = ModelCheckpoint(tmp_path, save_last=True)
    first, second = (CAMCallback("gradcam", num_images=5, choose=choose, on_error="raise") for _ in range(2))
    watching, again_watching = Watching(first), Watching(second)
    options = {"logger": CSVLogger(tmp_path), "num_sanity_val_steps": 0}
    trainer(tmp_path, callbacks=[first, watching, saved], max_epochs=2, **options).fit(Net(), loaders()[0], shuffled(1))
    callbacks = [second, again_watching, ModelCheckpoint(tmp_path, save_last=True)]
    again = trainer(tmp_path, callbacks=callbacks, max_epochs=3, **options)
    again.fit(Net(), loaders()[0], shuffled(2), ckpt_path=tmp_path / "last.ckpt", weights_only=True)
    before, after = watching.images(), again_watching.images()
    assert len(before) == 2
    assert len(after) == 1
    assert all(torch.equal(before[0], one) for one in (*before, *after))
    assert again.global_step == 9
    assert torch.isfinite(again.callback_metrics["cam/gradcam/drift"])  # from the map of before the interruption


def test_drift_is_the_rank_correlation_of_two_epochs(tmp_path):
    callback = CAMCallback(["gradcam", "fdcam"], num_images=4, on_error="raise")
    watching = Watching(callback)
    run = trainer(tmp_path, callbacks=[callback, watching], logger=CSVLogger(tmp_path), max_epochs=2)
    run.fit(Net(), *loaders())
    maps = [[row.maps for row in epoch["validation"]] for epoch in watching.epochs]
    for name in ("gradcam", "fdcam"):
        pairs = [[epoch[i][name]["predicted"].flatten().numpy() for epoch in maps] for i in range(4)]
        values = [row.drift[name] for row in callback.explained["validation"]]
        for pair, value in zip(pairs, values, strict=True):
            if value == value:
                assert value == pytest.approx(spearmanr(*pair).statistic, abs=1e-5)
        finite = [value for value in values if value == value]
        assert float(run.callback_metrics[f"cam/{name}/drift"]) == pytest.approx(sum(finite) / len(finite), abs=1e-5)
    same = torch.rand(1, 5, 5)
    assert rank_correlation(same, same) == pytest.approx(1)
    assert rank_correlation(same, -same) == pytest.approx(-1)
    assert rank_correlation(same, torch.ones(1, 5, 5)) != rank_correlation(same, torch.ones(1, 5, 5))  # NaN


def test_seconds_limit_the_images_and_one_is_always_explained(tmp_path):
    callback = CAMCallback("gradcam", num_images=8, max_seconds_per_epoch=1e-6, on_error="raise")
    watching = Watching(callback)
    run = trainer(tmp_path, callbacks=[callback, watching], logger=CSVLogger(tmp_path), max_epochs=3)
    run.fit(Net(), *loaders())
    assert [len(images) for images in watching.images()] == [1, 1, 1]
    assert run.callback_metrics["cam/seconds"] > 0
    free = CAMCallback("gradcam", num_images=8, max_seconds_per_epoch=1e6, on_error="raise")
    trainer(tmp_path, callbacks=[free], logger=CSVLogger(tmp_path), max_epochs=1).fit(Net(), *loaders())
    assert len(free.explained["validation"]) == 8


def test_both_classes_side_by_side(tmp_path):
    callback = CAMCallback("gradcam", num_images=6, true_class=True, on_error="raise")
    run = trainer(tmp_path, callbacks=[callback], logger=CSVLogger(tmp_path), max_epochs=1)
    run.fit(Net(), *loaders())
    rows = callback.explained["validation"]
    for row in rows:
        same = int(row.probabilities.argmax()) == row.annotation.classes[0]
        assert torch.equal(row.maps["gradcam"]["predicted"], row.maps["gradcam"]["true"]) == same
    assert any(int(row.probabilities.argmax()) != row.annotation.classes[0] for row in rows)


def test_a_second_run_of_one_callback_starts_anew(tmp_path):
    """Also after a run that was broken off, which Lightning does not tear down."""

    class Breaking(Net):
        def validation_step(self, batch, batch_idx):
            if self.trainer.current_epoch:
                raise KeyboardInterrupt

    callback = CAMCallback("gradcam", num_images=4, on_error="raise")
    watching = Watching(callback)
    quiet = {"callbacks": [callback, watching], "logger": CSVLogger(tmp_path), "max_epochs": 2}
    with pytest.raises(BaseException):  # noqa: B017, PT011
        trainer(tmp_path, **quiet).fit(Breaking(), loaders()[0], DataLoader(data(12, seed=1), 4))
    model = Net()
    run = trainer(tmp_path, **quiet)
    run.fit(model, loaders()[0], DataLoader(data(12, seed=2), 4))
    assert torch.equal(watching.images()[-1], data(12, seed=2).tensors[0][:4])
    alive = weakref.ref(model.features)
    model.features = nn.Sequential(*model.features)
    gc.collect()
    assert alive() is None  # nothing of the callback hangs on the network
    run.validate(model, DataLoader(data(12, seed=3), 4), verbose=False)
    assert torch.equal(watching.images("validate")[-1], data(12, seed=3).tensors[0][:4])
    assert "cam/validate/gradcam/drift" not in run.callback_metrics


@pytest.mark.parametrize(("every", "between", "count"), [(2, 2, 2), (4, 2, 1), (1, 2, 2), (3, 1, 2)])
def test_every_n_epochs_counts_the_epochs_that_validate(tmp_path, every, between, count):
    callback = CAMCallback("gradcam", num_images=2, every_n_epochs=every, metrics=("complexity",), on_error="raise")
    watching = Watching(callback)
    run = trainer(
        tmp_path,
        callbacks=[callback, watching],
        logger=CSVLogger(tmp_path),
        max_epochs=4,
        check_val_every_n_epoch=between,
    )
    run.fit(Net(), *loaders())
    assert len(watching.epochs) == count


def test_images_of_several_sizes_and_ignored_labels(tmp_path):
    val = [(torch.rand(3, size, 24), label) for size, label in ((24, 1), (24, -100), (32, 2), (20, 0))]
    callback = CAMCallback(
        "gradcam", true_class=True, choose="hardest", metrics=("energy", "over_all"), on_error="raise"
    )

    class Silent(Net):
        def validation_step(self, batch, batch_idx):
            self(batch[0])

    run = trainer(tmp_path, callbacks=[callback], logger=CSVLogger(tmp_path), max_epochs=1, precision="bf16-true")
    run.fit(Silent(), loaders()[0], DataLoader(val, 1))
    assert len(callback.explained["validation"]) == 4
    assert torch.isfinite(run.callback_metrics["cam/gradcam/over_all"])


def test_one_failed_epoch_leaves_the_drift_of_the_next(tmp_path):
    class Once(cc.GradCAM):
        def weights(self, seen):
            if self.epochs.current_epoch == 1:
                raise ZeroDivisionError("a broken explainer")
            return super().weights(seen)

    pl.seed_everything(7)  # the maps of some initial weights are constant, and have no drift
    model = Net()
    once = Once(model)
    drifts = []

    class Noting(pl.Callback):
        def on_validation_end(self, trainer, pl_module):
            drifts.append(float(trainer.callback_metrics.get("cam/once/drift", "nan")))

    callbacks = [CAMCallback(once, num_images=4, metrics=("drift",)), Noting()]
    run = trainer(tmp_path, callbacks=callbacks, logger=False, max_epochs=3, num_sanity_val_steps=0)
    once.epochs = run
    with pytest.warns(UserWarning, match="a broken explainer"):
        run.fit(model, *loaders())
    assert [value == value for value in drifts] == [False, False, True]  # with the map of two epochs before


def test_the_seconds_are_those_of_all_loaders_together():
    explainer, samples = an_explainer(max_seconds=10), some(6)
    model = Net()
    for spent, count in ((0.0, 6), (4.5, 5), (100.0, 1)):
        explainer.seconds_per_image = 1.0
        parts = [part.rows for part in explainer.explain(model, samples, spent)]
        assert len(parts[0]) == count
    assert len(parts) == 1


def test_a_failed_attempt_keeps_no_tensor():
    alive = []

    class Greedy(cc.GradCAM):
        def weights(self, seen):
            assert [one() for one in alive] == [None] * len(alive)  # those of the attempts before
            if len(seen.activation) > 1:
                large = torch.zeros(10)
                alive.append(weakref.ref(large))
                raise torch.OutOfMemoryError("CUDA out of memory")
            return super().weights(seen)

    model = Net()
    gc.disable()
    try:
        rows = [row for part in an_explainer(Greedy(model)).explain(model, some(4)) for row in part.rows]
        assert [one() for one in alive] == [None, None]
    finally:
        gc.enable()
    assert len(rows) == 4
    assert all("gradcam" in row.maps for row in rows)


def an_explainer(method="gradcam", **options):
    return ImageExplainer({"gradcam": method}, None, None, Protocol(("complexity",)), **options)


def some(count):
    return [Sample(image, Annotation()) for image in data(count).tensors[0]]
