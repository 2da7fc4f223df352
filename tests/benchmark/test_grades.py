"""The benchmark puts methods in the order that is known."""

import pytest
import torch

import captum_cams as cc
from captum_cams import CAMError, benchmark

FACTORS = benchmark.FACTORS
METHODS = ("truth", "gradcam", "random", "inverted")


@pytest.fixture(scope="module")
def grades():
    """A map that knows the truth, an honest method, noise, and a broken method."""
    known = {}
    for factor in FACTORS:
        drawn = benchmark.draw_scenes(factor, 24)  # the scenes that grade draws for 6 of them
        known |= dict(zip((image.numpy().tobytes() for image in drawn.images), drawn.deciding, strict=True))

    def truth(network, images, classes):
        return torch.stack([known[image.numpy().tobytes()].float() for image in images])

    def inverted(network, images, classes):
        return -cc.GradCAM(network, task="multilabel").attribute(images, classes)

    methods = {"truth": truth, "gradcam": "gradcam", "random": "random", "inverted": inverted}
    return benchmark.grade(methods, scenes=6)


@pytest.mark.parametrize("factor", FACTORS)
def test_a_map_that_knows_the_truth_comes_first(grades, factor):
    for measure in benchmark.MEASURES:
        best = grades.estimate("truth", measure, factor=factor)
        assert (best.value, best.low, best.high) == (1, 1, 1)
        rest = [grades.estimate(name, measure, factor=factor).value for name in METHODS[1:]]
        assert max(rest) < 1 or measure == "pointing"
    assert grades.order(factor=factor)[0] == "truth"


def test_a_broken_method_comes_last_and_an_honest_one_before_noise(grades):
    for network in grades.networks:
        assert grades.order(network=network) == list(METHODS)
    for measure in benchmark.MEASURES:
        assert grades.order(measure)[-1] == "inverted"


def test_grades_are_the_same_to_the_bit(grades):
    again = benchmark.grade(["gradcam", "random"], ["pooled_cnn", "dense_cnn"], scenes=6)
    assert again.values.equal(grades.values[1:3, :2])
    again = benchmark.grade("gradcam", ["vit"], factors=["small"], scenes=6)
    small = FACTORS.index("small")
    assert again.values.equal(grades.values[1:2, 2:, small : small + 1])


def test_an_interval_is_the_bootstrap_of_the_scenes(grades):
    values = grades.values[1, 0, FACTORS.index("textured"), 0]
    generator = torch.Generator().manual_seed(3)
    draws = torch.randint(len(values), (20000, len(values)), generator=generator)
    low, high = values[draws].mean(1).quantile(torch.tensor((0.025, 0.975), dtype=values.dtype)).tolist()
    found = grades.estimate("gradcam", factor="textured", network="pooled_cnn")
    assert found.value == pytest.approx(float(values.mean()))
    spread = float(values.std()) / len(values) ** 0.5
    assert found.low == pytest.approx(low, abs=0.2 * spread)
    assert found.high == pytest.approx(high, abs=0.2 * spread)


def test_means_over_factors_and_networks_are_of_all_their_scenes(grades):
    assert grades.estimate("gradcam").value == pytest.approx(float(grades.values[1, :, :, 0].mean()))
    rows = grades.table("gradcam").splitlines()
    assert [row.split(" | ")[0].strip("| ") for row in rows] == ["factor", "---", *FACTORS, "mean"]
    assert str(grades.estimate("gradcam", "mass", factor="small")) in rows[2 + FACTORS.index("small")]


def test_what_explains_no_such_network_is_left_out_with_a_reason():
    grades = benchmark.grade(["cam", "lficam", "gradcam"], ["pooled_cnn", "dense_cnn"], factors=["small"], scenes=2)
    refusing = [("cam", "dense_cnn"), ("lficam", "dense_cnn"), ("lficam", "pooled_cnn")]
    assert sorted(grades.refused) == refusing
    assert grades.estimate("cam", network="dense_cnn") is None
    assert grades.order(network="dense_cnn") == ["gradcam"]
    assert "lficam" not in grades.order()
    assert "| – |" in grades.summary()
    assert grades.summary().splitlines()[-1] == f"| lficam |{' – |' * 5}"
    reasons = grades.reasons().splitlines()
    assert reasons[0] == f"- cam, dense_cnn: {grades.refused['cam', 'dense_cnn']}"
    assert reasons[1] == f"- lficam, pooled_cnn, dense_cnn: {grades.refused['lficam', 'dense_cnn']}"
    assert len(reasons) == 2
    with pytest.raises(CAMError, match="cam must explain at least one of dense_cnn, but: "):
        benchmark.grade(["cam", "lficam"], ["dense_cnn"], factors=["small"], scenes=2)


def test_methods_of_attention_have_grades_on_the_transformer():
    methods = ["random", "attentionrollout", "chefer", "legrad", "vitreciprocam"]
    grades = benchmark.grade(methods, ["pooled_cnn", "vit"], factors=["one_object", "several_classes"], scenes=6)
    assert sorted(grades.refused) == [(name, "pooled_cnn") for name in sorted(methods[1:])]
    chance = grades.estimate("random", network="vit")
    for name in methods[1:]:
        assert grades.estimate(name).low > chance.high, name


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"methods": [torch.nn.ReLU()]}, "must be a name, a list of names, or a mapping"),
        ({"methods": ["gradcan"]}, 'did you mean "gradcam"'),
        ({"methods": {"own": "gradcan"}}, 'did you mean "gradcam"'),
        ({"methods": []}, "at least one method"),
        ({"methods": ["gradcam"], "networks": ["vgg"]}, "network must be one of"),
        ({"methods": ["gradcam"], "factors": ["tiny"]}, "factor must be one of"),
        ({"methods": ["gradcam"], "scenes": 0}, "scenes must be an integer of at least 1"),
        ({"methods": ["gradcam"], "networks": {"own": torch.nn.Identity()}}, "must be in eval mode"),
        ({"methods": ["gradcam"], "networks": {"own": torch.nn.Flatten().eval()}}, "must give 7 logits"),
        (
            {"methods": ["gradcam"], "networks": {"own": cc.benchmark.networks.build("pooled_cnn").eval()}},
            "must decide at least 2 of 8 scenes",
        ),
    ],
)
def test_mistakes_are_explained(arguments, message):
    with pytest.raises(CAMError, match=message):
        benchmark.grade(**{"factors": ["small"], "scenes": 2} | arguments)


def test_the_radar_is_drawn(grades, tmp_path):
    benchmark.draw_radar(grades, tmp_path / "radar.png")
    assert (tmp_path / "radar.png").read_bytes().startswith(b"\x89PNG")
    few = benchmark.grade({"grey": lambda network, images, classes: images.mean(1)}, factors=["small"], scenes=1)
    with pytest.raises(CAMError, match="at least 3 factors"):
        benchmark.draw_radar(few, tmp_path / "none.png")
