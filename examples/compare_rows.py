"""Say which differences stand between the methods of an evaluation, from its file rows.csv.

    python examples/compare_rows.py FOLDER [--pairs fdcam,gradcam ...] [--metrics insertion_auc ...]

FOLDER is what ``evaluate(..., out=FOLDER)`` or ``captum-cams evaluate --out FOLDER`` has written. A difference is the
first method minus the second, with its 95 % bootstrap interval over the images, and the p-value of Wilcoxon's
signed-rank test, adjusted by Holm over all pairs of methods in the folder.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from captum_cams import statistics
from captum_cams.metrics import METRICS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--pairs", nargs="+", metavar="FIRST,SECOND", help="pairs to show (default: all)")
    parser.add_argument("--metrics", nargs="+", metavar="METRIC", help="metrics to show (default: all)")
    args = parser.parse_args()

    rows = np.genfromtxt(args.folder / "rows.csv", delimiter=",", names=True, dtype=None, encoding="utf-8")
    names = [*dict.fromkeys(rows["method"].tolist())]
    asked = None if args.pairs is None else [tuple(pair.split(",")) for pair in args.pairs]
    print("| metric | methods | difference [95 % interval] | adjusted p | verdict |\n|---|---|---|---|---|")
    for metric in args.metrics or [name for name in rows.dtype.names if name in METRICS]:
        of = [rows[rows["method"] == name] for name in names]  # each method has the same images in the same order
        values = torch.from_numpy(np.stack([one[metric].astype(float) for one in of], 1))
        units, better = torch.from_numpy(of[0]["image"].copy()), METRICS[metric].higher_is_better
        for found in statistics.compare(values, names, units=units, pairs=asked, higher_is_better=better):
            mean, low, high = (value + 0.0 for value in (found.difference, found.low, found.high))  # 0 instead of −0
            ends = f"{mean:+.3g} [{low:+.3g}, {high:+.3g}]"
            pair = f"{found.first} − {found.second}"
            print(f"| {metric} | {pair} | {ends} | {found.adjusted_p:.2g} | {found.verdict} |")


if __name__ == "__main__":
    main()
