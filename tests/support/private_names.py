"""The private names of other libraries that a file uses."""

import ast
import re
from pathlib import Path

INTERNALS = (
    "captum_cams/engine/torch_internals.py",
    "captum_cams/relevance/rules.py",
    "lightning_callbacks/lightning_internals.py",
)
"""The files that may use private names: of torch, of Captum and of Lightning."""

_OF_TORCH_MODULES = re.compile(r"_(forward|backward|full_backward)_(pre_)?hooks\w*|_parameters|_buffers|_modules")
_OF_THE_COMPILER = re.compile(r"_orig_mod|_compiled_call_impl|_torchdynamo\w*")


def foreign_private_names(file: Path) -> set[str]:
    """Private attributes of objects that are not the file's own, private imports, and torch's names in strings."""
    tree = ast.parse(file.read_text())
    nodes = list(ast.walk(tree))
    own = {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    own |= {node.attr for node in nodes if isinstance(node, ast.Attribute) and _is_own(node.value)}
    found = set[str]()
    for node in nodes:
        if isinstance(node, ast.Attribute) and _is_private(node.attr):
            found |= {node.attr} - own
        elif isinstance(node, ast.ImportFrom) and node.module != "__future__":
            found |= set(filter(_is_private, [*(node.module or "").split("."), *(one.name for one in node.names)]))
        elif isinstance(node, ast.Import):
            found |= {part for one in node.names for part in one.name.split(".") if _is_private(part)}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found |= {node.value} if _of_torch(node.value) else set()
    return found


def _is_own(value: ast.expr) -> bool:
    return isinstance(value, ast.Name) and value.id in ("self", "cls")


def _is_private(name: str) -> bool:
    return re.match(r"_[A-Za-z](?!aptum_cams_)", name) is not None


def _of_torch(text: str) -> bool:
    return any(pattern.fullmatch(text) for pattern in (_OF_TORCH_MODULES, _OF_THE_COMPILER))
