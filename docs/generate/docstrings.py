"""The parts of a docstring in Google's style: first sentence, text, and what it says about each argument."""

import inspect
import re
from typing import Any

_SECTION = re.compile(r"^(Args|Returns|Raises|Example|Examples|Attributes):{1,2}\n", re.MULTILINE)


def first_sentence(value: Any) -> str:
    """The first sentence of the docstring, on one line."""
    return re.split(r"\n\n", inspect.getdoc(value) or "", maxsplit=1)[0].replace("\n", " ")


def text(value: Any) -> str:
    """What stands between the first sentence and the first section, as reStructuredText."""
    paragraphs = _SECTION.split(inspect.getdoc(value) or "", maxsplit=1)[0]
    return paragraphs.partition("\n\n")[2].strip()


def section(value: Any, name: str) -> str:
    """The text of one section without its indentation; empty if there is none."""
    parts = _SECTION.split(inspect.getdoc(value) or "")
    found = dict(zip(parts[1::2], parts[2::2], strict=True))
    return inspect.cleandoc(found.get(name, ""))


def arguments(value: Any) -> dict[str, str]:
    """What the section Args says about each argument, on one line each."""
    entries = re.findall(r"^\*{0,2}(\w+): (.*(?:\n .*)*)", section(value, "Args"), re.MULTILINE)
    return {name: re.sub(r"\s*\n\s*", " ", said) for name, said in entries}
