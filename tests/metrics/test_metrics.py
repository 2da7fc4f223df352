"""Metrics against loops of their definition, RISE's rule for the area, and properties."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from scipy.signal import convolve2d
from torchmetrics import MetricCollection

from captum_cams import CAMError, metrics
from captum_cams.metrics import PRESETS, Preset, average_drop, average_increase, curve_area
from tests.support.networks import NETWORKS, SIDE, images, seeded


@pytest.fixture(scope="module")
def model():
    return NETWORKS["residual"]()


def probability(model, image, c):
    with torch.no_grad():
        return float(model(image[None]).softmax(1)[0, c])


def loop_curve(model, image, map_, c, start, end, counts):
    """Pixels of ``end`` replace those of ``start``, one after the other, a score after every step."""
    large = F.interpolate(map_[None, None], image.shape[-2:], mode="bilinear")[0, 0].flatten().numpy()
    order = sorted(range(len(large)), key=lambda i: (-large[i], i))
    current, scores, done = start.clone(), [probability(model, start, c)], 0
    for upto in counts[1:]:
        for i in order[done:upto]:
            current[:, i // image.shape[2], i % image.shape[2]] = end[:, i // image.shape[2], i % image.shape[2]]
        done = upto
        scores.append(probability(model, current, c))
    return scores


@pytest.mark.parametrize("preset", PRESETS)
def test_curves_are_the_loop(model, preset):
    x, maps, protocol = images(2), torch.rand(2, 1, 5, 5), PRESETS[preset]
    counts = [round(SIDE**2 * step / protocol.steps) for step in range(protocol.steps + 1)]
    if preset == "rise":
        counts = [*range(0, SIDE**2, 224), SIDE**2]
    for n, c in enumerate((3, 8)):
        image = x[n]
        deleted, start = protocol.deleted(x)[n], protocol.inserted_into(x)[n]
        expected = loop_curve(model, image, maps[n, 0], c, image, deleted, counts)
        found = metrics.deletion_curve(model, x, maps, [3, 8], preset=preset)[n]
        np.testing.assert_allclose(found, expected, atol=2e-6)
        expected = loop_curve(model, image, maps[n, 0], c, start, image, counts)
        found = metrics.insertion_curve(model, x, maps, [3, 8], preset=preset, perturbations_per_eval=5)[n]
        np.testing.assert_allclose(found, expected, atol=2e-6)


def test_area_is_rises():
    """RISE: (sum − first/2 − last/2) / (steps)."""
    curve = torch.rand(4, 29)
    expected = (curve.sum(1) - curve[:, 0] / 2 - curve[:, -1] / 2) / 28
    torch.testing.assert_close(curve_area(curve), expected)
    assert float(curve_area(torch.ones(1, 15))) == 1


def rises_curve(model, image, saliency, insert, step=224):
    """Petsiuk et al.'s evaluation in NumPy: their kernel, zeros around the image, fixed steps, the predicted class."""
    point = np.zeros((11, 11))
    point[5, 5] = 1
    kernel = gaussian_filter(point, 5).astype("float32")
    padded = np.pad(image, ((0, 0), (5, 5), (5, 5)))
    blurred = np.stack([convolve2d(channel, kernel, mode="valid") for channel in padded]).astype("float32")
    start, finish = (blurred, image) if insert else (image, np.zeros_like(image))
    predicted = int(model(torch.from_numpy(image)[None]).argmax())
    order = np.flip(np.argsort(saliency.reshape(-1)))
    current, total = start.copy(), saliency.size
    count = (total + step - 1) // step
    scores = np.empty(count + 1)
    for i in range(count + 1):
        scores[i] = model(torch.from_numpy(current.copy())[None]).softmax(1)[0, predicted]
        chosen = order[step * i : step * (i + 1)]
        current.reshape(3, -1)[:, chosen] = finish.reshape(3, -1)[:, chosen]
    return scores, (scores.sum() - scores[0] / 2 - scores[-1] / 2) / (len(scores) - 1)


@torch.no_grad()
@pytest.mark.parametrize("size", [(40, 40), (56, 40), (23, 37), (14, 14)])
def test_preset_rise_is_the_authors(model, size):
    x = F.interpolate(images(2), size, mode="bilinear")
    maps = torch.rand(2, *size, generator=torch.Generator().manual_seed(0))
    for curve, insert in ((metrics.deletion_curve, False), (metrics.insertion_curve, True)):
        found = curve(model, x, maps, preset="rise")
        for n in range(2):
            scores, area = rises_curve(model, x[n].numpy(), maps[n].numpy(), insert)
            np.testing.assert_allclose(found[n], scores, atol=1e-5)
            assert abs(float(curve_area(found[n : n + 1])) - area) < 1e-5


def test_steps_of_the_presets():
    sizes = {name: preset.counts(224 * 224).diff().unique().tolist() for name, preset in PRESETS.items()}
    assert sizes["rise"] == [224]
    assert sizes["fgcam"] == [448]
    assert sizes["fdcam"] == sizes["jittercam"] == [1792]
    assert round(100 * 1792 / 224**2, 1) == 3.6
    assert PRESETS["rise"].counts(500).tolist() == [0, 224, 448, 500]


def test_a_preset_without_steps_is_refused(model):
    for preset in (Preset(0, torch.zeros_like, metrics.blur), Preset(1, torch.zeros_like, metrics.blur, pixels=0)):
        with pytest.raises(CAMError, match="at least 1"):
            metrics.deletion_curve(model, images(1), torch.rand(1, 5, 5), preset=preset)


def test_blur_shrinks_to_small_images():
    assert metrics.blur(torch.rand(1, 3, 8, 12)).shape == (1, 3, 8, 12)


def test_drop_and_increase_are_the_loop(model):
    x, maps = images(6), torch.rand(6, 1, 5, 5)
    likely, unlikely = model(x[:3]).argmax(1), model(x[3:]).argmin(1)
    target = [*likely.tolist(), *unlikely.tolist()]  # likely classes lose, unlikely ones gain
    for masking in ("multiply", "fgcam"):
        drops, increases = [], []
        for n in range(6):
            large = F.interpolate(maps[n][None], (SIDE, SIDE), mode="bilinear")[0, 0]
            if masking == "multiply":
                part = x[n] * (large - large.min()) / (large.max() - large.min())
            else:
                order = sorted(range(SIDE**2), key=lambda i: (-float(large.flatten()[i]), i))[: SIDE**2 // 2]
                part = metrics.blur(x)[n].clone()
                for i in order:
                    part[:, i // SIDE, i % SIDE] = x[n, :, i // SIDE, i % SIDE]
            p, o = probability(model, x[n], target[n]), probability(model, part, target[n])
            drops.append(100 * max(0, p - o) / p)
            increases.append(100 * (p < o))
        assert min(drops[:3]) > 1
        assert increases == [0] * 3 + [100] * 3
        np.testing.assert_allclose(average_drop(model, x, maps, target, masking=masking), drops, atol=1e-3)
        np.testing.assert_allclose(average_increase(model, x, maps, target, masking=masking), increases)


def test_only_positive_pixels_are_kept_where_they_are_fewer_than_half(model):
    x, maps = images(1), torch.full((1, 1, SIDE, SIDE), -1.0)
    maps[..., :10, :10] = torch.rand(10, 10) + 0.1
    part = metrics.blur(x)
    part[..., :10, :10] = x[..., :10, :10]
    predicted = int(model(x).argmax())
    p, o = probability(model, x[0], predicted), probability(model, part[0], predicted)
    assert o < p
    found = average_drop(model, x, maps, predicted, masking="fgcam")
    np.testing.assert_allclose(found, 100 * max(0, p - o) / p, atol=1e-3)


def test_the_kept_half_of_an_odd_number_of_pixels_is_rounded_down_and_no_zero_is_kept():
    weights = torch.arange(75.0).view(3, 5, 5).cos()

    def model(x):
        return torch.stack(((x * weights).sum((1, 2, 3)), torch.zeros(len(x))), 1)

    x = 0.1 * images(1)[..., :5, :5]
    for positive in (25, 7):
        maps = torch.arange(25.0).sub(25 - positive).add(1).clamp(min=0).view(1, 5, 5)
        part = metrics.blur(x).flatten(2)
        count = min(12, positive)
        part[..., -count:] = x.flatten(2)[..., -count:]
        p, o = (torch.sigmoid((one.view(3, 5, 5) * weights).sum()) for one in (x, part))
        likely = int(o > p)  # the class that loses
        if likely:
            p, o = 1 - p, 1 - o
        found = average_drop(model, x, maps, likely, masking="fgcam")
        torch.testing.assert_close(found, (100 * (p - o) / p)[None], rtol=1e-4, atol=1e-4)
        assert found > 0.1


def test_a_model_that_sees_nothing_loses_nothing_and_gains_nothing():
    x, maps = images(2), torch.rand(2, 5, 5)

    def model(x):
        return torch.tensor([[1.0, 2.0]]).expand(len(x), 2)

    assert metrics.drop_and_increase(model, x, maps, 1)[0].tolist() == [0, 0]
    assert metrics.drop_and_increase(model, x, maps, 1)[1].tolist() == [0, 0]


def test_without_a_target_the_class_is_that_of_the_whole_image_at_either_end():
    """One step between a black image, where the second class is predicted, and a white one, where the first is."""
    white, step = torch.ones(1, 3, 4, 4), Preset(1, torch.zeros_like, torch.zeros_like)

    def model(x):
        return torch.stack((4 * x.mean((1, 2, 3)), torch.full((len(x),), 2.0)), 1)

    chances = torch.sigmoid(torch.tensor([[2.0, -2.0]]))
    torch.testing.assert_close(metrics.deletion_curve(model, white, torch.rand(1, 4, 4), preset=step), chances)
    inserted = metrics.insertion_curve(model, white, torch.rand(1, 4, 4), preset=step)
    torch.testing.assert_close(inserted, chances.flip(1))


def test_no_target_means_the_class_predicted_for_the_unchanged_image(model):
    x, maps = images(4), torch.rand(4, 1, 5, 5)
    predicted = model(x).argmax(1)
    for curve in (metrics.deletion_curve, metrics.insertion_curve):
        found = curve(model, x, maps, preset="quick")
        torch.testing.assert_close(found, curve(model, x, maps, predicted, preset="quick"))
    torch.testing.assert_close(average_drop(model, x, maps), average_drop(model, x, maps, predicted))


def test_the_model_is_left_in_train_mode_and_measured_in_eval_mode(model):
    x, maps = images(2), torch.rand(2, 1, 5, 5)
    expected = average_drop(model, x, maps, 1)
    model.train()
    before = [b.clone() for b in model.buffers()]
    with torch.inference_mode():
        found = average_drop(model, x, maps, 1)
    assert all(m.training for m in model.modules())
    assert all(torch.equal(b, a) for b, a in zip(model.buffers(), before, strict=True))
    model.eval()
    torch.testing.assert_close(found, expected)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), levels=st.integers(1, 5), steps=st.integers(1, 12), chunk=st.integers(1, 40))
def test_curves_start_and_end_where_they_must_whatever_the_ties(seed, levels, steps, chunk):
    model, x = seeded(lambda: NETWORKS["functional ReLU"](), 0), images(2, seed)
    generator = torch.Generator().manual_seed(seed)
    maps = torch.randint(levels, (2, 1, 6, 7), generator=generator).float()
    preset = Preset(steps, torch.zeros_like, lambda images: metrics.blur(images, 5, 1.0))
    options = {"preset": preset, "perturbations_per_eval": chunk}
    deletion = metrics.deletion_curve(model, x, maps, [1, 2], **options)
    insertion = metrics.insertion_curve(model, x, maps, [1, 2], **options)
    for n, c in enumerate((1, 2)):
        whole, black = probability(model, x[n], c), probability(model, torch.zeros_like(x[n]), c)
        np.testing.assert_allclose(
            [deletion[n, 0], deletion[n, -1], insertion[n, -1]], [whole, black, whole], atol=1e-5
        )
    assert deletion.shape == insertion.shape == (2, steps + 1)
    area = curve_area(deletion)
    assert ((area >= 0) & (area <= 1)).all()


CLASSES = {
    "DeletionAUC": lambda *a: curve_area(metrics.deletion_curve(*a, preset="quick")),
    "InsertionAUC": lambda *a: curve_area(metrics.insertion_curve(*a, preset="quick")),
    "OverAll": lambda *a: (
        curve_area(metrics.insertion_curve(*a, preset="quick")) - curve_area(metrics.deletion_curve(*a, preset="quick"))
    ),
    "AverageDrop": average_drop,
    "AverageIncrease": average_increase,
}


@pytest.mark.parametrize("name", CLASSES)
def test_torchmetrics_are_means_over_images_however_uneven_the_batches(model, name):
    x, maps = images(5), torch.rand(5, 1, 5, 5)
    target = torch.cat((model(x[:2]).argmax(1), torch.arange(3)))  # likely and unlikely ones
    options = {} if name.startswith("Average") else {"preset": "quick"}
    metric = getattr(metrics, name)(**options)
    for part in (slice(0, 3), slice(3, 4), slice(4, 5)):
        metric.update(model, x[part], maps[part], target[part])
    expected = CLASSES[name](model, x, maps, target).mean()
    torch.testing.assert_close(metric.compute(), expected, rtol=1e-5, atol=1e-6)
    assert abs(float(expected)) > 1e-3
    assert metric.higher_is_better is (name in ("InsertionAUC", "OverAll", "AverageIncrease"))
    figure, axes = metric.plot()
    assert axes.lines[0].get_ydata() == [float(metric.compute())]
    plt.close(figure)
    metric.reset()
    assert metric.count == 0


def test_metrics_work_in_a_collection(model):
    collection = MetricCollection([metrics.InsertionAUC("quick"), metrics.AverageDrop()])
    collection.update(model, images(2), torch.rand(2, 5, 5), 1)
    assert set(collection.compute()) == {"InsertionAUC", "AverageDrop"}


def test_a_constant_map_beats_an_explanation_at_average_drop_and_increase(model):
    """Jitter-CAM paper, section 4.2: multiplying by 0.9 everywhere games both metrics, so read them with care."""
    x = images(8)
    # Scaled to [0, 1] a constant map would be all zeros; one dark pixel leaves the rest at 1.
    constant = torch.full((8, 1, SIDE, SIDE), 0.9)
    constant[..., 0, 0] = 0
    random = torch.rand(8, 1, 5, 5)
    assert average_drop(model, x, constant).mean() < average_drop(model, x, random).mean()
