"""What is public, and what its docstring does not say yet."""

import ast
import doctest
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, NoReturn

SECTIONS = ("Args", "Returns", "Raises", "Example")
# The methods that users call; the others are for those who write a class of their own.
METHODS = (
    *("attribute", "heatmap", "contributions"),
    *("update", "compute", "plot"),
    *("__getitem__", "rows", "seconds", "forward_passes", "by_class"),
    *("paired_values", "interval", "intervals", "compare", "ranks", "agreement", "reliability", "worst"),
    *("seeds_of", "seeded_values", "over_seeds"),
    *("cells", "with_intervals", "to_csv", "to_latex", "to_pandas"),
    *("at", "matrix", "counts"),
    *("table", "best", "panel"),
)
OURS = ("captum_cams", "lightning_callbacks")
# Captum's order of arguments, which the abstract class explains once for all.
SHARED = ("forward_func", "layer", "device_ids")
# The classes of the metrics that several files extend and nobody else uses.
BASES = ("FaithfulnessMetric", "CurveMetric", "MaskingMetric", "ExplainingMetric")


def public(modules: tuple[ModuleType, ...]) -> dict[str, Callable[..., Any]]:
    """Every class and function that the modules export, with the methods that users call, by qualified name."""
    found: dict[str, Callable[..., Any]] = {}
    for module in modules:
        for name, value in vars(module).items():
            foreign = not getattr(value, "__module__", "").startswith(OURS)
            if name.startswith("_") or foreign or not callable(value) or not hasattr(value, "__qualname__"):
                continue
            if hasattr(module, "__path__") or value.__module__ == module.__name__:  # a package exports what it imports
                found |= {value.__qualname__: value, **dict(_methods(value))}
    return found


def _methods(cls: Any) -> Iterator[tuple[str, Callable[..., Any]]]:
    for name in METHODS if inspect.isclass(cls) else ():
        method = inspect.getattr_static(cls, name, None)
        if inspect.isfunction(method) and method.__module__.startswith(OURS):
            yield method.__qualname__, method


def faults(value: Callable[..., Any], known: dict[str, Callable[..., Any]], names: dict[str, Any]) -> list[str]:
    """What is missing in the docstring of a public thing.

    Args:
        value: the class, the function or the method.
        known: everything that is public.
        names: what the example may use.
    """
    doc = inspect.cleandoc(value.__doc__ or "")
    sections = _sections(doc)
    needed, allowed = _arguments(value, known)
    named = re.findall(r"^\*{0,2}(\w+): ", sections.get("Args", ""), re.MULTILINE)
    found = []
    if not re.match(r"[A-Z_`:].*\.(\s|$)", doc):
        found.append("the first line must be a sentence that ends with a full stop")
    if lacking := [name for name in needed if name not in named]:
        found.append(f"Args: must name {', '.join(lacking)}")
    if foreign := [name for name in named if name not in allowed]:
        found.append(f"Args: must not name {', '.join(foreign)}")
    if _returns(value) and "Returns" not in sections:
        found.append("Returns: is missing")
    if not sections.get("Example", "").strip():
        if not _in_an_example_of_its_class(value, known):
            found.append("Example:: is missing")
    elif wrong := wrong_example(doc, names):
        found.append(f"Example:: does not run: {wrong}")
    return found


def _in_an_example_of_its_class(method: Callable[..., Any], known: dict[str, Callable[..., Any]]) -> bool:
    """Whether a public class that has this method uses it in the example of its own docstring."""
    name = method.__name__
    use = "table[" if name == "__getitem__" else f".{name}("
    owners = [cls for cls in known.values() if getattr(cls, name, None) is method]
    return any(use in _sections(inspect.cleandoc(cls.__doc__ or "")).get("Example", "") for cls in owners)


def wrong_example(doc: str, names: dict[str, Any]) -> str:
    """Run the example of a docstring, a script or a session with prompts; say what went wrong, or nothing."""
    example = _sections(doc).get("Example", "")
    if ">>>" in example:
        said: list[str] = []
        session = doctest.DocTestParser().get_doctest(example, dict(names), "example", None, None)
        doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(session, out=said.append)
        return "".join(said)
    try:
        exec(compile(ast.parse(example), "<example>", "exec"), dict(names))
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


def _sections(doc: str) -> dict[str, str]:
    """Section → its text without the indentation; an example has two colons, as a literal block."""
    pattern = rf"^({'|'.join(SECTIONS)}):(:?)\n+((?:(?:    .*)?(?:\n|$))+)"
    blocks = re.findall(pattern, doc, re.MULTILINE)
    return {name: textwrap.dedent(text) for name, colon, text in blocks if bool(colon) == (name == "Example")}


def _arguments(value: Any, known: dict[str, Callable[..., Any]]) -> tuple[list[str], set[str]]:
    """The arguments that the docstring must name, and those that it may name.

    A class names the arguments that its own constructor adds, or that of a private class or one of BASES which it
    extends; those of a public class are named there.
    """
    if not inspect.isclass(value):
        names = [name for name in inspect.signature(value).parameters if name != "self"]
        return [name for name in names if name != "options"], {*names}
    own: dict[str, inspect.Parameter] = {}
    inherited = {*SHARED} if value.__qualname__ != "CAMAttribution" else set()
    for base in value.__mro__:
        if "__init__" not in vars(base) or not base.__module__.startswith(OURS):
            continue
        parameters = dict(inspect.signature(base.__init__).parameters)
        parameters.pop("self")
        if base is value or base.__name__.startswith("_") or base.__name__ in BASES:
            own |= parameters
        elif base.__qualname__ in known:
            inherited |= {*parameters}
        if not any(one.kind is one.VAR_KEYWORD for one in parameters.values()):
            break
    various = {name for name, one in own.items() if one.kind in (one.VAR_KEYWORD, one.VAR_POSITIONAL)}
    return [name for name in own if name not in inherited | various], {*own, *inherited}


def _returns(value: Any) -> bool:
    return not inspect.isclass(value) and inspect.signature(value).return_annotation not in (None, "None", NoReturn)
