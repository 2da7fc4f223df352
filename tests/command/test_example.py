"""``captum-cams example``: the list, and copies that run from where they are."""

import ast
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from lightning_callbacks.command.main import main

FOLDER = Path(__file__).parents[2] / "examples"


def test_the_list_has_each_program_with_its_first_sentence(capsys):
    assert main(["example"]) == 0
    lines = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()[:-2]]
    programs = [file for file in sorted(FOLDER.glob("*.py")) if '__name__ == "__main__"' in file.read_text()]
    assert [name for name, _ in lines] == [file.stem for file in programs]
    for (_, sentence), file in zip(lines, programs, strict=True):
        assert sentence == ast.get_docstring(ast.parse(file.read_text())).splitlines()[0]


def test_what_an_example_imports_is_copied_with_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["example", "evaluate_shapes"]) == 0
    copied, command = capsys.readouterr().out.strip().split("; run: ")
    first, *others = copied.split(", ")
    assert [first, *sorted(others)] == [f"examples/{name}.py" for name in ("evaluate_shapes", "shapes", "train_shapes")]
    assert sorted(file.as_posix() for file in Path("examples").iterdir()) == sorted(copied.split(", "))
    for file in Path("examples").iterdir():
        assert file.read_bytes() == (FOLDER / file.name).read_bytes()
    assert command == "python examples/evaluate_shapes.py"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["compare_depths", "evaluate_shapes"])
def test_a_copy_runs_with_what_it_imports(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    main(["example", name])
    words = shlex.split(capsys.readouterr().out.split("run: ")[1])
    found = subprocess.run([sys.executable, *words[1:], "--help"], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr


def test_a_file_of_the_user_is_kept(tmp_path, capsys):
    typed = ["example", "train_shapes.py", "--to", str(tmp_path)]
    assert [main(typed), main(typed)] == [0, 0]
    (tmp_path / "shapes.py").write_text("mine\n")
    capsys.readouterr()
    assert main(typed) == 2
    assert "shapes.py must not be there yet" in capsys.readouterr().err
    assert (tmp_path / "shapes.py").read_text() == "mine\n"


@pytest.mark.parametrize(("name", "words"), [("train_shape", 'mean "train_shapes"'), ("shapes_vit", "unknown example")])
def test_a_name_that_is_unknown(name, words, capsys):
    assert main(["example", name]) == 2
    assert words in capsys.readouterr().err
