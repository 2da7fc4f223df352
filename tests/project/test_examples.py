"""The examples as a user runs them."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def shapes(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    import shapes

    return shapes


def test_drawn_shapes_know_their_boxes_and_masks(shapes):
    drawn, again = shapes.Shapes(20, 48, seed=3), shapes.Shapes(20, 48, seed=3)
    assert torch.equal(drawn.images, again.images)
    assert not torch.equal(drawn.images, shapes.Shapes(20, 48, seed=4).images)
    assert drawn.images.shape == (20, 3, 48, 48)
    assert 0 <= drawn.images.min() <= drawn.images.max() <= 1
    for kinds, masks, boxes, label in zip(drawn.kinds, drawn.masks, drawn.boxes, drawn.labels, strict=True):
        assert len(set(kinds.tolist())) == 3
        assert label == kinds[0]
        extents = [int((x1 - x0) * (y1 - y0)) for x0, y0, x1, y1 in boxes]
        assert extents[0] == max(extents)
        for mask, (x0, y0, x1, y1) in zip(masks, boxes, strict=True):
            assert mask[y0:y1, x0:x1].sum() == mask.sum() > 0
            assert mask[y0].any()
            assert mask[y1 - 1].any()
            assert mask[:, x0].any()
            assert mask[:, x1 - 1].any()


def run(*args: str, cwd: Path) -> str:
    command = [sys.executable, str(EXAMPLES / args[0]), *args[1:]]
    result = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.slow
def test_the_shapes_example_learns_and_logs(tmp_path):
    out = run("train_shapes.py", cwd=tmp_path)
    accuracy = float(out.split("validation accuracy ")[1].split("%")[0])
    assert accuracy > 90
    folder = out.split("tensorboard --logdir ")[1].splitlines()[0]
    board = EventAccumulator(folder, size_guidance={"images": 0}).Reload()
    assert len(board.Images("cam/validation")) == 6
    assert len(board.Scalars("cam/fdcam/insertion_auc")) == 6


@pytest.mark.slow
@pytest.mark.parametrize("split", [("",), ("train", "val")])
def test_the_example_takes_an_image_folder(tmp_path, split):
    for part in split:
        for kind, colour in (("blue", (0, 0, 200)), ("red", (200, 0, 0))):
            (tmp_path / "data" / part / kind).mkdir(parents=True)
            for i in range(20):
                Image.new("RGB", (40, 30), colour).save(tmp_path / "data" / part / kind / f"{i}.png")
    out = run("train_shapes.py", "--data", "data", "--size", "32", "--epochs", "2", cwd=tmp_path)
    assert "tensorboard --logdir" in out


@pytest.mark.slow
def test_methods_are_compared_on_real_images(tmp_path, data):
    args = ("--data", str(data.resolve()), "--limit", "4", "--methods", "gradcam", "--panel", "panel.png")
    out = run("compare_methods.py", *args, cwd=tmp_path)
    assert "4 images" in out
    with Image.open(tmp_path / "panel.png") as panel:
        assert 2 * 224 < panel.size[0] < 3 * 224


@pytest.mark.slow
def test_every_task_is_explained(tmp_path):
    for library in ("transformers", "open_clip", "segmentation_models_pytorch"):
        pytest.importorskip(library)
    out = run("explain_tasks.py", "--masks", "4", "--out", "tasks.png", cwd=tmp_path)
    assert [line.split()[1].split("(")[0] for line in out.splitlines()[:-1]] == (
        ["Detection"] * 5 + ["Segmentation"] * 5 + ["Prompt", "Similarity"] * 3
    )
    with Image.open(tmp_path / "tasks.png") as picture:
        assert 3 * 224 <= picture.size[0] < 4 * 224


@pytest.mark.slow
def test_every_class_of_the_shapes_is_explained(tmp_path):
    size = ("--size", "32", "--epochs", "1", "--images", "10")
    out = run("evaluate_shapes.py", "--methods", "centre", "gradcam", "--out", "found", *size, cwd=tmp_path)
    assert "mean probability of the largest, second and third shape" in out
    assert len((tmp_path / "found" / "rows.csv").read_text().splitlines()) == 1 + 10 * 3 * 2


@pytest.mark.slow
def test_a_transformer_is_compared_with_a_convolutional_network(tmp_path):
    run("compare_transformers.py", "--images", "8", "--train", "64", "--epochs", "1", "--out", "found", cwd=tmp_path)
    text = (tmp_path / "found" / "shapes_vit.md").read_text(encoding="utf-8")
    assert text.count("| gradcam |") == 2
    assert text.count("| chefer |") == 1
    with Image.open(tmp_path / "found" / "shapes_vit.png") as picture:
        assert 14 * 112 <= picture.size[0] < 15 * 112


@pytest.mark.slow
def test_a_network_is_trained_for_the_right_reasons(tmp_path):
    out = run("train_right_reasons.py", "--images", "100", "--size", "32", "--epochs", "1", cwd=tmp_path)
    rows = [line.strip("| ").split(" | ") for line in out.splitlines() if line.startswith("| ")]
    assert [row[0] for row in rows] == ["loss", "cross entropy", "with ExplanationLoss"]
    for *_, energy in rows[1:]:
        assert 0 < float(energy) < 1
    assert rows[1] != rows[2]


@pytest.mark.slow
def test_the_branch_of_lfi_cam_is_compared_with_none(tmp_path):
    size = ("--size", "32", "--images", "64", "--explained", "16", "--epochs", "1", "--pairs", "2")
    out = run("train_lfi.py", *size, "--out", "lfi.md", cwd=tmp_path)
    text = (tmp_path / "lfi.md").read_text(encoding="utf-8")
    assert text in out
    assert "on 32 other images" in text
    assert "on 16 of these" in text
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| with")]
    assert [row[1] for row in rows] == ["cam", "gradcam", "lficam", "gradcam"]
    means = [[float(cell.split(" ± ")[0]) for cell in row[2:]] for row in rows]
    assert all(len(row) == 5 and 0 <= min(row) <= max(row) <= 1 for row in means)
    differences = [float(line.split(", ")[-1].split(" ± ")[0]) for line in _before_the_pairs(text)]
    expected = [means[2][0] - means[0][0]]
    expected += [ours - theirs for other in (1, 3) for ours, theirs in zip(means[2][1:], means[other][1:], strict=True)]
    assert differences == pytest.approx(expected, abs=2e-3)


def _before_the_pairs(text: str) -> list[str]:
    return [line.split(" (the pairs")[0] for line in text.splitlines() if "(the pairs" in line]


@pytest.mark.slow
def test_cifar_is_evaluated(tmp_path, data):
    args = ("--data", str(data.resolve()), "--limit", "100", "--depth", "20", "--methods", "centre", "--out", "found")
    out = run("evaluate_cifar.py", *args, cwd=tmp_path)
    assert float(out.split("accuracy ")[1].split("%")[0]) > 85  # 91.0 on all 500
    assert (tmp_path / "found" / "curves.png").exists()


@pytest.mark.slow
def test_metrics_are_gamed_on_real_images(tmp_path, data):
    out = run("game_average_drop.py", "--data", str(data.resolve()), "--limit", "2", "--figure", "a.png", cwd=tmp_path)
    lines = {
        line.split(" | ")[0].strip("| "): line.split(" | ")[1:] for line in out.splitlines() if line.startswith("| ")
    }
    assert float(lines["constant"][0]) < float(lines["gradcam"][0])
    assert float(lines["10.0"][0]) < float(lines["1.0"][0]) < float(lines["0.0"][0])
    assert (tmp_path / "a.png").exists()


@pytest.fixture
def explain_clip(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    import explain_clip

    return explain_clip


def test_drawn_clips_move_in_the_direction_of_their_class(explain_clip):
    clips, labels, masks = explain_clip.draw_clips(12, seed=3)
    assert clips.shape == (12, 1, *masks.shape[1:])
    for clip, label, mask in zip(clips, labels.tolist(), masks, strict=True):
        places = [[float(axis.float().mean()) for axis in frame.nonzero().T] for frame in mask if frame.any()]
        assert len(places) == explain_clip.MOVING
        (top, left), (later_top, later_left) = places[0], places[-1]
        moved = {"left": left - later_left, "right": later_left - left, "up": top - later_top, "down": later_top - top}
        assert moved.pop(explain_clip.CLASSES[label]) > 0
        assert max(moved.values()) <= 0
        assert clip[0][mask].mean() > clip[0][~mask].mean() + 0.5


@pytest.mark.slow
def test_clips_are_explained_in_the_frames_in_which_they_move(tmp_path):
    out = run("explain_clip.py", "--methods", "random", "gradcam", cwd=tmp_path)
    assert float(out.split("accuracy ")[1].split("%")[0]) > 90
    values = {line.split()[0]: [*map(float, line.split()[1:])] for line in out.splitlines() if len(line.split()) == 6}
    assert values["gradcam"][0] < values["random"][0]
    assert values["gradcam"][1] > values["random"][1]
    assert values["gradcam"][4] > 2 * values["random"][4]
    with Image.open(tmp_path / "clips.png") as panel:
        assert 2 * 224 < panel.size[0] < 3 * 224
        assert panel.size[1] > 4 * 3 * 224
