"""The command that grades methods on drawn scenes."""

from captum_cams import benchmark
from lightning_callbacks.command.main import main

ARGUMENTS = ("benchmark", "--methods", "gradcam", "cam", "--networks", "pooled_cnn", "dense_cnn", "--scenes", "2")


def test_the_table_the_page_and_the_figure_are_written(tmp_path, capsys):
    out = tmp_path / "graded"
    assert main([*ARGUMENTS, "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    grades = benchmark.grade(["gradcam", "cam"], ["pooled_cnn", "dense_cnn"], scenes=2)
    assert printed.startswith(grades.summary())
    page = (out / "benchmark.md").read_text()
    for part in (grades.summary(), grades.by_factor(), grades.table("cam"), f"captum-cams {' '.join(ARGUMENTS)}"):
        assert part in page
    assert f"## Not possible\n\n{grades.reasons()}" in page
    assert grades.reasons() in printed
    assert (out / "benchmark.png").read_bytes().startswith(b"\x89PNG")


def test_mistakes_are_explained(tmp_path, capsys):
    assert main(["benchmark", "--methods", "gradcan", "--out", str(tmp_path / "none")]) == 2
    assert 'did you mean "gradcam"' in capsys.readouterr().err
    assert main(["benchmark", "--networks", "vgg", "--out", str(tmp_path / "none")]) == 2
    assert "vgg" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()
