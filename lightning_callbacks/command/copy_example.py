"""The command ``captum-cams example``."""

import ast
from collections.abc import Iterator
from pathlib import Path

from captum_cams.errors import CAMError, lookup

_PACKAGE = Path(__file__).parents[1]
# In the wheel the examples are below this package; in a clone they stand beside it.
_FOLDER = next((path for path in (_PACKAGE / "examples", _PACKAGE.parent / "examples") if path.is_dir()), None)


def copy_example(*, name: str | None, to: Path) -> None:
    """Copy an example with the files that it imports, or list all; the command line describes the arguments.

    Raises:
        CAMError: there is no such example, or another file has its name.
    """
    if _FOLDER is None:
        raise CAMError("the examples must be installed with the package, found none; install captum-cams again")
    trees = {file.stem: ast.parse(file.read_text(encoding="utf-8")) for file in sorted(_FOLDER.glob("*.py"))}
    examples = {stem: tree for stem, tree in trees.items() if _runs(tree)}
    if name is None:
        width = max(map(len, examples))
        for stem, tree in examples.items():
            print(f"{stem:{width}}  {(ast.get_docstring(tree) or '').splitlines()[0]}")
        print("\ncaptum-cams example NAME copies one of them to the folder examples.")
        return
    stem = name.removesuffix(".py")
    lookup("example", stem, examples, "captum-cams example lists all")
    files = [f"{part}.py" for part in dict.fromkeys([stem, *_imported(stem, trees)])]
    for file in files:
        _copy(_FOLDER / file, to / file)
    print(f"{', '.join(str(to / file) for file in files)}; run: python {to / files[0]}")


def _runs(tree: ast.Module) -> bool:
    """Whether a file is a program, and not only a part of others."""
    return any(isinstance(node, ast.If) and "__main__" in ast.unparse(node.test) for node in tree.body)


def _imported(stem: str, trees: dict[str, ast.Module]) -> Iterator[str]:
    """The other examples that an example imports, and those that they import."""
    for node in ast.walk(trees[stem]):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        for name in trees.keys() & names:
            yield name
            yield from _imported(name, trees)


def _copy(source: Path, file: Path) -> None:
    """Copy a file, unless it is there already."""
    text = source.read_bytes()
    if file.exists() and file.read_bytes() != text:
        raise CAMError(f"{file} must not be there yet, or be the same file; move it away, or pass another --to")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text)
