"""The network is explained on the images that it is given, or a sentence says that it is not."""

import warnings

import pytest
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

from lightning_callbacks import CAMCallback
from lightning_callbacks.batches import out_of_range
from lightning_callbacks.callback.notices import Notices
from lightning_callbacks.network import class_scores, doubt
from tests.support.lightning_modules import Net, data, trainer
from tests.support.untouched import hooks


class Preparing(Net):
    """Images of 0 to 255, which the steps scale before the network gets them."""

    def validation_step(self, batch, batch_idx):
        self(batch[0] / 255 - 0.5)


class InForward(Net):
    def forward(self, x):
        return super().forward(x / 255 - 0.5)


class Silent(Net):
    """Its validation does not use the network."""

    def validation_step(self, batch, batch_idx):
        pass


class Embedding(Net):
    def __init__(self):
        super().__init__(16)

    def forward(self, x):
        return F.normalize(super().forward(x), dim=1)


def said(path, model, images, **options):
    labels = torch.arange(len(images)) % 3
    loader = DataLoader(TensorDataset(images, labels), 6)
    run = trainer(path, callbacks=[CAMCallback(num_images=8, metrics=("complexity",), **options)], logger=False)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run.fit(model, loader, loader)
    assert not any(hooks(model))
    return [str(one.message) for one in caught if "CAMCallback" in str(one.message)]


BRIGHT = (data(12).tensors[0] * 60 + 100).clamp(0, 255)
CASES = {
    "scaled in the step": (Preparing, BRIGHT, {}, "the validation step gives the network other images"),
    "scaled in the step and by batch_fn": (
        Preparing,
        BRIGHT,
        {"batch_fn": lambda batch: (batch[0] / 255 - 0.5, batch[1])},
        None,
    ),
    "scaled in forward": (InForward, BRIGHT, {}, None),
    "nobody knows": (Silent, BRIGHT, {}, "to 255, and the images are explained without scaling"),
    "as usual": (Net, data(12).tensors[0], {}, None),
    "too few class names": (
        Net,
        data(12).tensors[0],
        {"class_names": ("red", "green")},
        "class_names must name the 3 classes of the model, got 2, so the panel shows indices; pass one name for each",
    ),
    "an embedding": (Embedding, data(12).tensors[0], {}, "each row of the network's output has length 1"),
}


@pytest.mark.parametrize("case", CASES)
def test_other_images_and_doubtful_scores_are_noticed_once(tmp_path, case):
    build, images, options, text = CASES[case]
    found = said(tmp_path, build(), images, **options)
    assert len(found) == (text is not None)
    assert text is None or text in found[0]


def test_what_is_out_of_range_and_what_is_doubtful():
    assert out_of_range(BRIGHT)
    assert not out_of_range(BRIGHT.to(torch.uint8))  # a network that takes bytes scales them itself
    assert not out_of_range(BRIGHT / 255)
    assert not out_of_range(BRIGHT - 100)
    scores = torch.randn(5, 4)
    assert doubt(F.normalize(scores, dim=1))
    assert not doubt(scores)
    assert not doubt(F.one_hot(torch.arange(4)).float())  # saturated probabilities


def test_the_scores_of_a_tuple_are_not_guessed():
    scores, features, maps = torch.rand(2, 3), torch.rand(2, 8), torch.rand(2, 8, 4, 4)
    assert class_scores((scores, maps)) is scores
    assert class_scores((None, scores)) is scores
    for output, remedy in (((features, scores), "output[1]"), ((maps, scores), "output[1]"), ((), "scores")):
        with pytest.raises(ValueError, match="pass output_fn=lambda output: ") as error:
            class_scores(output)
        assert remedy in str(error.value)


def test_one_warning_a_reason_and_short():
    notices = Notices()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for number in range(3):
            torch.manual_seed(number)
            with notices.guard():
                raise ValueError(f"got {number} images of {torch.rand(40, 40).tolist()}; pass fewer")
            with notices.guard():
                raise ValueError("another reason")
    assert len(caught) == 2
    assert all(len(str(one.message)) < 600 for one in caught)
    assert str(caught[0].message).endswith("; pass fewer")
