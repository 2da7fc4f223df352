"""How maps become numbers for colours: their own scale or one for several, and maps too fine to be seen."""

import pytest
import torch

import captum_cams as cc
from captum_cams import visual
from captum_cams.images import heat, smooth

SIZE = (64, 64)


def coarse(seed: int, count: int = 2) -> torch.Tensor:
    return torch.rand(count, 1, 7, 7, generator=torch.Generator().manual_seed(seed))


def specks(count: int = 1) -> torch.Tensor:
    """Single pixels over nothing, one of them far brighter than the others."""
    maps = torch.zeros(count, 1, 128, 128)
    maps[:, 0, 8::16, 8::16] = 1
    maps[:, 0, 8, 8] = 50
    return maps


def test_a_coarse_map_is_shown_as_its_heat_map():
    maps = coarse(0)
    found = visual.scale({"a": maps}, SIZE)["a"]
    torch.testing.assert_close(found.values, heat(maps, SIZE))
    assert (found.signed, found.note) == (False, "")
    torch.testing.assert_close(found.low, maps.amin((1, 2, 3)))
    torch.testing.assert_close(found.top, maps.amax((1, 2, 3)))


def test_a_pixel_fine_map_is_smoothed_and_cut_and_says_so():
    maps = specks()
    found = visual.scale({"a": maps}, (128, 128))["a"]
    assert found.note == "smoothed, cut at percentile 99"
    blurred = smooth(maps, 0.01)
    top = blurred.flatten().sort().values[int(0.99 * 128 * 128)]
    torch.testing.assert_close(found.values, (blurred / top).clamp(max=1), rtol=1e-3, atol=1e-3)
    plain = visual.scale({"a": maps}, (128, 128), percentile=100, smoothing=0)["a"]
    assert plain.note == ""
    torch.testing.assert_close(plain.values, maps / 50)
    assert (plain.values > 0.5).sum() == 1  # what would be seen
    assert (found.values > 0.5).sum() > 64


def test_each_map_is_judged_by_itself():
    both = torch.cat((specks(), heat(coarse(0, 1), (128, 128))))
    found = visual.scale({"a": both}, (128, 128))["a"].values
    for number in range(2):
        alone = visual.scale({"a": both[number : number + 1]}, (128, 128))["a"].values
        torch.testing.assert_close(found[number], alone[0])


@pytest.mark.parametrize(
    ("shared", "tops"),
    [
        ("each", [[1, 1], [1, 1]]),
        ("row", [[1 / 3, 1 / 2], [1, 1]]),
        ("column", [[1, 1], [1, 2 / 3]]),
        ("all", [[1 / 3, 1 / 3], [1, 2 / 3]]),
    ],
)
def test_maps_with_one_scale_keep_their_proportions(shared, tops):
    base = torch.zeros(1, 1, 8, 8)
    base[..., 2:6, 2:6] = 1
    maps = {"a": torch.cat((base, base)), "b": torch.cat((3 * base, 2 * base))}
    found = visual.scale(maps, (8, 8), shared=shared)
    for name, expected in zip(("a", "b"), tops, strict=True):
        torch.testing.assert_close(found[name].values.amax((1, 2, 3)), torch.tensor(expected, dtype=torch.float32))


def test_a_scale_that_is_shared_has_one_sign():
    rising, mixed = coarse(0), coarse(1) - 0.5
    assert [one.signed for one in visual.scale({"a": rising, "b": mixed}, SIZE).values()] == [False, True]
    found = visual.scale({"a": rising, "b": mixed}, SIZE, shared="all")
    assert all(one.signed for one in found.values())
    torch.testing.assert_close(found["a"].low, -found["a"].top)


@pytest.mark.parametrize("value", [-3.0, 0.0, 7.0])
def test_a_constant_map_shows_nothing(value):
    found = visual.scale({"a": torch.full((1, 1, 5, 5), value)}, SIZE)["a"]
    assert not found.values.any()
    assert not found.signed


def test_negative_values_that_are_not_shown_are_named():
    found = visual.scale({"a": coarse(0) - 0.5}, SIZE, signed=False)["a"]
    assert found.note == "negative values as zero"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"percentile": 0.0}, "percentile must be above 0"),
        ({"smoothing": 0.7}, "smoothing must be a share"),
        ({"shared": "rows"}, 'did you mean "row"'),
    ],
)
def test_wrong_scales_are_refused(options, words):
    with pytest.raises(cc.CAMError, match=words):
        visual.scale({"a": coarse(0)}, SIZE, **options)
