"""Code as plain values that are the same in every process: bytecode, constants and the global names it reads."""

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
    """What a piece of code does, without its place, its name and the names of its local variables."""
    count = code.co_argcount + code.co_kwonlyargcount
    return [
        code.co_code.hex(),
        [_constant(one) for one in code.co_consts],
        list(code.co_names),
        list(code.co_varnames[:count]),
        [code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags],
        getattr(code, "co_exceptiontable", b"").hex(),
    ]


def globals_of(function: FunctionType) -> dict[str, Any]:
    """The global names that a function and the functions in it read, with their values; builtins are left out.

    Of a module of the user's own, its attributes that the code may read are given in its place.
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
    inner = [one for one in code.co_consts if isinstance(one, CodeType)]
    return [code, *(each for one in inner for each in _codes(one))]


def _constant(value: Any) -> Any:
    if isinstance(value, CodeType):
        return code_of(value)
    if isinstance(value, tuple):
        return ["tuple", *map(_constant, value)]
    if isinstance(value, frozenset):
        return ["frozenset", *sorted(map(repr, value))]
    return repr(value)
