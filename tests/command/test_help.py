"""The help of each command can be read, and what it tells to type is understood."""

import shlex

import pytest

from captum_cams import __version__
from lightning_callbacks.command.arguments import parse
from lightning_callbacks.command.main import main
from lightning_callbacks.command.typed import TYPED, USAGE

COMMANDS = [*USAGE]


def shown(words: list[str], monkeypatch, capsys) -> str:
    monkeypatch.setenv("COLUMNS", "100")
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 0
    return capsys.readouterr().out


def test_the_overview_names_every_command_with_a_sentence(monkeypatch, capsys):
    text = shown(["--help"], monkeypatch, capsys)
    assert shown([], monkeypatch, capsys) == text
    rows = [line.split(maxsplit=1) for line in text.splitlines() if line.startswith("    ") and line[4] != " "]
    assert [row[0] for row in rows] == COMMANDS
    assert all(len(row) == 2 for row in rows)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_fits_and_ends_with_an_example(name, monkeypatch, capsys):
    text = shown([name, "--help"], monkeypatch, capsys)
    assert text.startswith(f"usage: captum-cams {name}")
    assert all(len(line) <= 100 for line in text.splitlines())
    assert text.splitlines()[-len(TYPED[name]) :] == [f"  captum-cams {line}" for line in TYPED[name]]
    for option in USAGE[name].split():
        if option.startswith("--"):
            assert f"\n  {option} " in text


@pytest.mark.parametrize("line", [line for lines in TYPED.values() for line in lines])
def test_an_example_is_understood(line):
    words = shlex.split(line)
    assert parse(words)[0] == words[0]


def test_the_version_is_printed(monkeypatch, capsys):
    assert shown(["--version"], monkeypatch, capsys) == f"captum-cams {__version__}\n"
