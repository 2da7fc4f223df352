"""Change the library in small ways, one at a time, and report which changes no test notices.

Cosmic Ray makes the changes ("mutants"). This script draws a sample of them, and runs each against the tests that
``files.toml`` names, in a process that starts with the libraries imported and in a copy of the repository. So one
mutant takes seconds, and the working tree stays as it is.
"""

import argparse
import ast
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import defaultdict
from difflib import unified_diff
from pathlib import Path

import matplotlib.pyplot  # noqa: F401  (this and others are imported here, once for all processes that are forked)
import pytest
import pytorch_lightning  # noqa: F401
import toml
import torchmetrics  # noqa: F401
import torchvision  # noqa: F401
from captum import attr  # noqa: F401
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

ROOT = Path(__file__).parents[2]
COPIED = ("captum_cams", "lightning_callbacks", "tests", "pyproject.toml", "setup.cfg", "README.md")
LEFT_OUT = ("core/NoOp", "core/VariableReplacer", "core/VariableInserter")
"""The first changes nothing, and the others need the names of variables."""


def meaning(code: str) -> str | None:
    """The program without its types, which decide nothing when it runs; None if it is no program."""
    try:
        tree = ast.parse(code)
    except SyntaxError:
        return None
    for node in ast.walk(tree):
        if isinstance(node, ast.arg | ast.AnnAssign):
            node.annotation = ast.Constant(None)
        elif isinstance(node, ast.FunctionDef):
            node.returns = None
    return ast.dump(tree)


def mutants(code: str, count: int, chance: random.Random) -> list[str]:
    """At most ``count`` changed versions of a file, each changed at another place."""
    tree = get_ast(code)
    places = defaultdict(list)
    for name in operator_names():
        if name not in LEFT_OUT:
            operator = get_operator(name)()
            found = [place for node in ast_nodes(tree) for place in operator.mutation_positions(node)]
            for occurrence, (start, _) in enumerate(found):
                places[start].append((name, occurrence))
    drawn: list[str] = []
    for place in chance.sample(sorted(places), len(places)):
        name, occurrence = chance.choice(places[place])
        changed = mutate_code(code, get_operator(name)(), occurrence)
        if changed and meaning(changed) not in (None, meaning(code)):
            drawn.append(changed)
        if len(drawn) == count:
            break
    return drawn


def tested(copy: Path, tests: list[str]) -> int:
    """Pytest's exit code in a copy of the repository."""
    os.chdir(copy)
    sys.path.insert(0, str(copy))
    # The second name makes the tests take one thread; see tests/conftest.py.
    os.environ.update(PYTHONPATH=str(copy), PYTEST_XDIST_WORKER="gw0")
    os.dup2(os.open("output.txt", os.O_CREAT | os.O_TRUNC | os.O_WRONLY), 1)
    os.dup2(1, 2)
    return pytest.main(["-q", "-x", "-p", "no:cacheprovider", "-m", "not slow", *tests])


def outcome(copy: Path, tests: list[str], seconds: float) -> str:
    """What the tests say of the copy: "killed", "survived", or "broken" where it cannot be imported."""
    child = os.fork()
    if not child:
        os.setsid()
        try:
            os._exit(tested(copy, tests))
        finally:  # whatever happens, this process must not go on as its parent does
            os._exit(1)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return {0: "survived", 2: "broken"}.get(os.waitstatus_to_exitcode(status), "killed")
        time.sleep(0.1)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "killed"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", default=[""], help="parts of the paths of the files; all if none is given")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--share", type=float, default=1.0, help="of the mutants that files.toml asks for")
    parser.add_argument("--seconds", type=float, default=120.0, help="a mutant that takes longer is killed")
    options = parser.parse_args()
    counts: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    passed: list[list[str]] = []
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for name in COPIED:
            (shutil.copytree if (ROOT / name).is_dir() else shutil.copy2)(ROOT / name, copy / name)
        for path, asked in toml.load(Path(__file__).with_name("files.toml")).items():
            if not any(part in path for part in options.parts):
                continue
            if asked["tests"] not in passed and outcome(copy, asked["tests"], options.seconds) != "survived":
                sys.exit(f"the tests of {path} fail without any change:\n{(copy / 'output.txt').read_text()}")
            passed.append(asked["tests"])
            code = (ROOT / path).read_text()
            wanted = max(1, round(asked["mutants"] * options.share))
            for changed in mutants(code, wanted, random.Random(f"{options.seed} {path}")):
                (copy / path).write_text(changed)
                begin = time.monotonic()
                said = outcome(copy, asked["tests"], options.seconds)
                counts[str(Path(path).parent)][said] += 1
                print(f"{said:8} {time.monotonic() - begin:5.1f} s  {path}", flush=True)
                if said == "survived":
                    print("".join(unified_diff(code.splitlines(True), changed.splitlines(True), n=0)), flush=True)
            shutil.copy2(ROOT / path, copy / path)
    for part, found in counts.items():
        alive = found["survived"] + found["killed"]
        print(f"{part}: {found['killed']} of {alive} killed, {found['broken']} more cannot be imported")


if __name__ == "__main__":
    main()
