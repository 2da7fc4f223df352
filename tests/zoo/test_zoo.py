"""``pytest -m zoo tests/zoo``: the layer that is found in each network, and the maps there, against plain torch."""

import pytest
import torch

import captum_cams as cc

pytest.importorskip("timm", reason="pip install '.[zoo]'")
pytest.importorskip("transformers", reason="pip install '.[zoo]'")

from tests.zoo.entries import LOOPS, entries, named
from tests.zoo.loops import ablation_cam, fd_cam
from tests.zoo.pictures import pictures, square_side
from tests.zoo.verdict import judge

pytestmark = [pytest.mark.zoo, pytest.mark.filterwarnings("ignore")]  # the libraries' own warnings
ENTRIES = entries()


def test_the_list_is_wide():
    families = {library: {e.family for e in ENTRIES if e.library == library} for library in ("timm", "transformers")}
    assert sum(entry.library == "timm" for entry in ENTRIES) >= 100
    assert len(families["timm"]) >= 80
    assert len(families["transformers"]) >= 20


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: f"{entry.library}-{entry.name}")
def test_no_wrong_place(entry):
    verdict = judge(entry)
    assert verdict.kind != "wrong", verdict


@pytest.mark.parametrize("name", sorted(LOOPS))
@pytest.mark.parametrize(("method", "by_loop"), [("ablationcam", ablation_cam), ("fdcam", fd_cam)])
def test_channels_by_loops(name, method, by_loop):
    # In double precision, since the score of a random network hardly changes without one of its channels.
    model = named(name).network().double()
    image = pictures(1, (square_side(model),) * 2).double()
    explainer = cc.create(method, model)
    ours = explainer.attribute(image, [1], relu_attributions=False)
    expected = by_loop(model, explainer.found_layer, image, 1)
    assert expected.abs().max() > 0
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))
