"""One line that explains and draws, the part of a photograph that the model sees, and axes of the user."""

import pytest
import torch
import torchvision
from matplotlib.figure import Figure
from PIL import Image
from torchvision.transforms import v2

import captum_cams as cc
from captum_cams import visual
from captum_cams.visual.prepared import covered_region
from tests.support.networks import TinyRes
from tests.support.pictures import SIGNED, covered, pictures_of, texts_of

NAMES = [f"kind {index}" for index in range(10)]


@pytest.fixture
def model():
    torch.manual_seed(0)
    return TinyRes().eval()


@pytest.fixture
def photograph(tmp_path):
    pixels = torch.randint(256, (90, 120, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    image = Image.fromarray(pixels.numpy())
    image.save(tmp_path / "photograph.png")
    return tmp_path / "photograph.png"


def prepare(image):
    return v2.Compose([v2.Resize(72), v2.CenterCrop(64), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])(image)


def test_the_map_the_class_and_its_probability_are_those_of_the_model(model):
    image = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0))
    found = cc.show(model, image, layer="layer4", class_names=NAMES)
    p = model(image[None]).softmax(1)[0]
    best = int(p.argmax())
    torch.testing.assert_close(found.map, cc.GradCAM(model, "layer4").attribute(image[None], best)[0, 0])
    assert found.method == "Grad-CAM"
    assert found.caption == visual.Caption(f"{NAMES[best]}, p = {p[best]:.2f}")
    assert [name for name, _ in found.classes] == [NAMES[index] for index in p.topk(3).indices.tolist()]
    assert "Grad-CAM of 64×64 pixels: kind" in repr(found)
    assert found._repr_png_()[1:4] == b"PNG"
    by_explainer = cc.show(cc.FGCAM(model, "layer4", base="fdcam"), image)
    assert by_explainer.method == "FG-CAM over FD-CAM"


@pytest.mark.parametrize("true", [None, 0, 1])
def test_right_and_wrong_belong_to_the_prediction_and_not_to_the_explained_class(model, true):
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    order = model(image).argsort(descending=True)[0].tolist()
    other = NAMES[order[1]]
    found = cc.show(model, image, other, class_names=NAMES, true=None if true is None else NAMES[order[true]])
    assert found.caption.right == (None if true is None else true == 0)
    assert found.caption.text.startswith(f"{other}, p = ")
    assert f"predicted: {NAMES[order[0]]}, p = " in found.caption.text
    assert ("true class" in found.caption.text) == (true == 0)


def test_a_photograph_is_shown_whole_and_at_its_own_size(model, photograph, tmp_path):
    found = cc.show(model, photograph, layer="layer4", prepare=prepare)
    assert found.image.shape == (3, 90, 120)
    assert found.region == (20, 5, 100, 85)
    inputs = prepare(Image.open(photograph))[None]
    torch.testing.assert_close(found.map, cc.GradCAM(model, "layer4").attribute(inputs)[0, 0])
    figure = found.draw()
    assert "dashed: what the model saw" in " ".join(texts_of(figure))
    (_, image), (_, drawn), *_ = pictures_of(figure)
    assert torch.equal(drawn[:, :20], image[:, :20])
    assert (drawn[5:85, 20:100] != image[5:85, 20:100]).any()
    found.save(tmp_path / "found.png", theme="dark", width=3.25)
    with Image.open(tmp_path / "found.png") as written:
        assert written.width == 3.25 * 288


@pytest.mark.parametrize(
    ("transform", "expected"),
    [
        (v2.Resize((64, 64)), (0, 0, 200, 150)),
        (v2.Compose([v2.Resize(96), v2.CenterCrop(64)]), (50, 25, 150, 125)),
        (v2.Compose([v2.CenterCrop(100)]), (50, 25, 150, 125)),
    ],
)
def test_the_part_that_the_preprocessing_keeps_is_found(transform, expected):
    def prepared(image):
        tensor = v2.ToDtype(torch.float32, scale=True)(v2.ToImage()(transform(image)))
        return (tensor - 0.4) / torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1)

    assert covered_region(prepared, 200, 150) == expected


def test_torchvisions_own_preprocessing_is_read():
    preset = torchvision.models.ResNet50_Weights.IMAGENET1K_V2.transforms()  # 232, then 224
    side = 224 / 232 * 300
    x0, y0, x1, y1 = covered_region(preset, 451, 300)
    assert (y0, y1) == (round(150 - side / 2), round(150 + side / 2))
    assert abs(x0 - (225.5 - side / 2)) <= 1
    assert abs(x1 - (225.5 + side / 2)) <= 1


@pytest.mark.parametrize("transform", [v2.RandomHorizontalFlip(1.0), v2.Pad(30), v2.RandomCrop(32), v2.Grayscale(1)])
def test_preprocessing_whose_part_is_not_known_asks_for_it(transform, model, photograph):
    def other(image):
        return v2.ToDtype(torch.float32, scale=True)(v2.ToImage()(transform(image)))

    torch.manual_seed(0)
    with pytest.raises(cc.CAMError, match=r"pass region=\(x0, y0, x1, y1\)"):
        covered_region(other, 90, 120)


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (lambda m, p: cc.show(m, p), "a photograph needs prepare"),
        (lambda m, p: cc.show(m, torch.rand(2, 3, 64, 64)), "for several images, use panel"),
        (lambda m, p: cc.show(m, torch.rand(3, 64, 64), "kind"), 'unknown class "kind"'),
        (lambda m, p: cc.show(m, torch.rand(3, 64, 64), class_names=NAMES[:3]), "must name the 10 classes"),
        (lambda m, p: cc.show(m, torch.rand(3, 64, 64), true=10), "below 10"),
        (lambda m, p: cc.show(cc.GradCAM(m), torch.rand(3, 64, 64), layer="layer4"), "has its layer"),
        (lambda m, p: cc.show(m, [1]), "must be a tensor, an image of Pillow or a path"),
        (lambda m, p: cc.show(m, p, prepare=lambda image: image), "prepare must turn a photograph into a tensor"),
    ],
)
def test_what_cannot_be_shown_is_refused(action, words, model, photograph):
    with pytest.raises(cc.CAMError, match=words):
        action(model, photograph)


def test_a_map_is_drawn_into_axes_of_the_user():
    figure = Figure(figsize=(3.25, 2.5))
    left, right = figure.subplots(1, 2)
    image, map_ = torch.zeros(3, 4, 6), torch.zeros(4, 6)
    map_[1, 2], map_[3, 5] = 2, -8
    visual.draw_map(image, map_, left, smoothing=0, percentile=100, boxes=torch.tensor([[1, 0, 4, 2]]))
    assert not right.images
    (drawn,) = left.images
    assert drawn.get_extent() == [0, 6, 4, 0]
    shown = torch.from_numpy(drawn.get_array().data)
    for place, value in (((1, 2), 0.25), ((3, 5), -1.0), ((0, 0), 0.0)):
        expected = 255 * covered(torch.zeros(3), value, kind=SIGNED)
        assert (shown[place] - expected).abs().max() <= 1
    assert left.get_xlim() == (0, 6)
    (frame,) = left.patches
    assert (frame.get_x(), frame.get_y(), frame.get_width(), frame.get_height()) == (1, 0, 3, 2)
    (bar,) = [axes for axes in figure.axes if axes not in (left, right)]
    assert bar.get_ylim() == (-8, 8)
    with pytest.raises(cc.CAMError, match="take one image and one map of a batch"):
        visual.draw_map(image[None], map_, left)


def test_names_are_those_of_the_papers():
    assert cc.title("gradcamplusplus") == "Grad-CAM++"
    assert cc.title("fgcam(guidedcam(scorecam))") == "FG-CAM over Guided Score-CAM"
    assert cc.title("finercam") == "Finer-CAM over Grad-CAM"
    assert cc.title("my own (method)") == "my own (method)"
    model = TinyRes()
    for name in cc.names():
        cls = cc.registry.lookup(name)
        assert vars(cls)["title"]
        assert cc.create(name, model).full_title == cc.title(name)

    class Mine(cc.GradCAM):
        pass

    assert Mine(model).full_title == "Mine"
