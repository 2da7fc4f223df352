"""Models of timm and Hugging Face by their names, with their own preprocessing."""

import numpy as np
import pytest
import timm
import torch
import transformers
from PIL import Image
from timm.data import create_transform, resolve_data_config

import captum_cams as cc
from captum_cams import visual
from lightning_callbacks.command.loaded import Loaded
from lightning_callbacks.command.main import main
from lightning_callbacks.command.models import load_model
from lightning_callbacks.network import Network
from tests.support.evaluation_run import network

NAMES = dict(enumerate(("red fox", "tench", "crane")))


@pytest.fixture
def picture(tmp_path):
    noise = torch.randint(256, (60, 80, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    made = Image.fromarray(noise.numpy()).resize((320, 240))
    made.save(tmp_path / "noise.png")
    return made


@pytest.fixture
def folder(tmp_path):
    """A tiny ViT for images of 32 pixels, saved as Hugging Face saves models."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    config = transformers.ViTConfig(**sizes, image_size=32, patch_size=8, id2label=NAMES)
    transformers.ViTForImageClassification(config).save_pretrained(tmp_path / "vit")
    transformers.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path / "vit")
    return tmp_path / "vit"


def test_a_folder_of_hugging_face_is_explained_offline(folder, picture, tmp_path, capsys):
    loaded = load_model(f"hf:{folder}")
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    inputs = loaded.transform(whole=False)(picture)[None]
    # The libraries resize with Pillow and with torchvision; both round to 255 levels.
    torch.testing.assert_close(inputs, processor(picture, return_tensors="pt")["pixel_values"], rtol=0, atol=2 / 127.5)
    same = transformers.AutoModelForImageClassification.from_pretrained(folder).eval()
    with torch.no_grad():
        logits = same(inputs).logits[0]
        assert torch.equal(loaded.network(inputs).logits[0], logits)
    typed = ["explain", str(tmp_path / "noise.png"), "--model", f"hf:{folder}", "--out", str(tmp_path / "out")]
    assert main([*typed, "--target", "tench"]) == 0
    caption = f"tench, p = {float(logits.softmax(0)[1]):.2f}"
    assert caption in capsys.readouterr().out
    maps = cc.GradCAM(Network(loaded.network, None)).attribute(inputs, 1)
    expected = visual.panel(inputs, {"gradcam": maps}, [caption], mean=loaded.mean, std=loaded.std)
    with Image.open(tmp_path / "out" / "noise.png") as written:
        assert np.array_equal(np.asarray(written), expected)


def test_a_checkpoint_replaces_the_weights_of_hugging_face(folder, tmp_path):
    network = load_model(f"hf:{folder}").network
    state = {f"model.{key}": value + 1 for key, value in network.state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "other.pt")
    found = load_model(f"hf:{folder}", tmp_path / "other.pt").network.state_dict()
    assert all(torch.equal(found[key], value + 1) for key, value in network.state_dict().items())


@pytest.mark.parametrize(
    "processor",
    [
        transformers.ConvNextImageProcessor(size={"shortest_edge": 32}),
        transformers.ConvNextImageProcessor(),
        transformers.BitImageProcessor(size={"shortest_edge": 40}, crop_size={"height": 32, "width": 32}),
        transformers.DeiTImageProcessor(),
        transformers.ViTImageProcessor(do_normalize=False),
    ],
)
def test_the_preprocessing_of_hugging_face_is_read_from_its_configuration(processor, folder, picture):
    processor.save_pretrained(folder)
    loaded = load_model(f"hf:{folder}")
    found, expected = loaded.transform(whole=False)(picture), processor(picture, return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(found[None], expected, rtol=0, atol=3 / 255 / min(loaded.std))


@pytest.mark.parametrize(
    ("processor", "words"),
    [
        (transformers.MobileViTImageProcessor(), "but it does more"),  # swaps the colours
        (transformers.ViTImageProcessor(size={"height": 32, "width": 48}), "resize images to one size"),
        (transformers.ViTImageProcessor(do_resize=False), "resize images to one size"),
    ],
)
def test_other_preprocessing_is_refused(processor, words, folder):
    processor.save_pretrained(folder)
    with pytest.raises(cc.CAMError, match=words):
        load_model(f"hf:{folder}")


def test_a_random_classifier_of_hugging_face_is_refused(folder):
    transformers.ViTModel.from_pretrained(folder).save_pretrained(folder)
    with pytest.raises(cc.CAMError, match=r"classifier\.bias.* would be random"):
        load_model(f"hf:{folder}")


@pytest.fixture
def random_weights(monkeypatch):
    """Let timm make models without a download."""
    made = timm.create_model

    def create(name, pretrained):
        assert pretrained
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return made(name)

    monkeypatch.setattr(timm, "create_model", create)


@pytest.mark.parametrize("name", ["resnet18", "test_vit.r160_in1k", "convnext_atto.d2_in1k"])
def test_a_model_of_timm_has_its_own_preprocessing_and_names(random_weights, picture, name):
    loaded = load_model(f"timm:{name}")
    config = resolve_data_config({}, model=loaded.network)
    expected = create_transform(**config, is_training=False)(picture)
    torch.testing.assert_close(loaded.transform(whole=False)(picture), expected, rtol=0, atol=1e-5)
    assert loaded.transform(whole=True)(picture).shape == expected.shape
    assert (len(loaded.class_names), loaded.class_names[0]) == (1000, "tench, Tinca tinca")
    assert not loaded.network.training


def test_a_checkpoint_replaces_the_weights_of_timm(tmp_path):
    state = timm.create_model("test_vit").state_dict()
    torch.save(state, tmp_path / "vit.pt")
    found = load_model("timm:test_vit", tmp_path / "vit.pt").network.state_dict()
    assert all(torch.equal(found[key], value) for key, value in state.items())


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("timm:resnet5", 'unknown timm model "resnet5"; did you mean "resnet'),
        ("timm:resnet18", "check the connection, or pass --checkpoint FILE"),
        ("hf:google/vit-base-patch16-224", "check the name and the connection, or pass a folder"),
        ("hf:", "pass a folder"),
    ],
)
def test_what_cannot_be_loaded_is_said_in_one_line(name, words, picture, tmp_path, monkeypatch, capsys):
    def offline(*args, **options):
        raise OSError("no connection")

    monkeypatch.setattr("timm.models._builder.load_pretrained", offline)
    monkeypatch.setattr("transformers.AutoImageProcessor.from_pretrained", offline)
    assert main(["explain", str(tmp_path / "noise.png"), "--model", name]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1


def test_a_transform_that_does_something_else_is_noticed():
    with pytest.raises(cc.CAMError, match="but it does more"):
        Loaded(torch.nn.Identity()).check_transform(Loaded(torch.nn.Identity(), shorter=270).transform(False), "mine")


def described():
    return network(), {"size": 20, "mean": (0.5,) * 3, "std": (0.25,) * 3, "class_names": ("a", "b", "c", "d")}


def misspelt():
    return network(), {"sise": 20}


def test_a_function_of_the_user_says_what_its_images_are_like(tmp_path, capsys):
    loaded = load_model("tests.command.test_models:described")
    assert loaded.note == ""
    image = Image.new("RGB", (40, 30), (255, 0, 0))
    inputs = loaded.transform(whole=False)(image)
    assert inputs.shape == (3, 20, 20)
    assert inputs[:, 3, 3].tolist() == [2.0, -2.0, -2.0]
    assert loaded.class_names == ("a", "b", "c", "d")
    image.save(tmp_path / "red.png")
    typed = ["explain", str(tmp_path / "red.png"), "--model", "tests.support.evaluation_run:network"]
    assert main([*typed, "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().err
    assert "images are resized to 256 pixels, cropped to 224 and normalised as those of ImageNet" in said
    with pytest.raises(cc.CAMError, match='unknown setting of the images "sise"; did you mean "size"'):
        load_model("tests.command.test_models:misspelt")
