"""Judge the networks of the zoo one after another, and write the table of the docs on request."""

import argparse
import gc
import random
import time
import warnings
from pathlib import Path

import torch

from tests.zoo.entries import entries, named
from tests.zoo.table import page
from tests.zoo.verdict import Verdict, judge

PAGE = Path(__file__).parents[2] / "docs" / "zoo.md"


def main(arguments: list[str] | None = None) -> int:
    """Judge networks and print each verdict.

    Returns:
        1 if a network is explained at a wrong place, otherwise 0.
    """
    options = parsed(arguments)
    warnings.filterwarnings("ignore")  # the libraries' own, about their random weights
    torch.set_num_threads(1)
    begin, verdicts = time.monotonic(), []
    chosen = [named(name) for name in options.names] or entries()
    if options.seed is not None:
        random.Random(options.seed).shuffle(chosen)
    for number, entry in enumerate(chosen, 1):
        if options.minutes is not None and time.monotonic() - begin > 60 * options.minutes:
            print(f"{options.minutes:g} minutes are over: {number - 1} of {len(chosen)} networks were judged")
            break
        start = time.monotonic()
        verdicts.append(judge(entry))
        gc.collect()
        print(f"{number}/{len(chosen)} {line(verdicts[-1])} ({time.monotonic() - start:.0f} s)", flush=True)
    if options.page and not options.names:
        PAGE.write_text(page(verdicts))
        print(f"{PAGE} is written")
    return int(any(verdict.kind == "wrong" for verdict in verdicts))


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.zoo", description=__doc__)
    parser.add_argument("names", nargs="*", help="networks of the list, or others of timm; none: the whole list")
    parser.add_argument("--seed", type=int, help="shuffle the networks, so that a part of them is a sample")
    parser.add_argument("--minutes", type=float, help="begin no further network after this time")
    parser.add_argument("--page", action="store_true", help="write docs/zoo.md with the networks that were judged")
    return parser.parse_args(arguments)


def line(verdict: Verdict) -> str:
    """One verdict on one line."""
    place = " ".join(filter(None, (verdict.layer, verdict.shape and f"[{verdict.shape}]", verdict.remark)))
    return f"{verdict.kind:7} {verdict.entry.library} {verdict.entry.name}: {place}"
