"""Describe code by plain values that are the same in every process."""

import dis
import sys
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

_OURS = ("captum_cams", "lightning_callbacks")


def package_of(module: str | None) -> str | None:
    """The installed package that a module belongs to, with its version, or None for the user's own code."""
    top = (module or "").split(".")[0]
    if top in _OURS or top in sys.stdlib_module_names:
        return top
    file = getattr(sys.modules.get(module or ""), "__file__", None)
    if file is None or not {"site-packages", "dist-packages"} & {*Path(file).parts}:
        return None
    return f"{top} {getattr(sys.modules.get(top), '__version__', '')}".strip()


def code_of(code: CodeType) -> list[Any]:
    """The bytecode and the constants of a piece of code, without its file, its name and its local names."""
    count = code.co_argcount + code.co_kwonlyargcount
    return [
        code.co_code.hex(),
        [_constant(value) for value in code.co_consts],
        list(code.co_names),
        list(code.co_varnames[:count]),
        [code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags],
        getattr(code, "co_exceptiontable", b"").hex(),
    ]


def globals_of(function: FunctionType) -> dict[str, Any]:
    """The global variables that a function and its inner functions read, with their values, without builtins.

    A module of the user's own code is replaced by those of its attributes that the code may read.
    """
    found: dict[str, Any] = {}
    codes = _codes(function.__code__)
    attributes = {name for code in codes for name in code.co_names}
    for code in codes:
        for step in dis.get_instructions(code):
            if step.opname in ("LOAD_GLOBAL", "LOAD_NAME") and step.argval in function.__globals__:
                value = function.__globals__[step.argval]
                found[step.argval] = value
                if isinstance(value, ModuleType) and package_of(value.__name__) is None:
                    found[step.argval] = {name: getattr(value, name) for name in attributes if hasattr(value, name)}
    return found


def _codes(code: CodeType) -> list[CodeType]:
    """A piece of code and all code inside it."""
    inner = [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    return [code, *(deeper for part in inner for deeper in _codes(part))]


def _constant(value: Any) -> Any:
    """A constant of a piece of code as plain values."""
    if isinstance(value, CodeType):
        return code_of(value)
    if isinstance(value, tuple):
        return ["tuple", *map(_constant, value)]
    if isinstance(value, frozenset):
        return ["frozenset", *sorted(map(repr, value))]
    return repr(value)
