"""Draws the training curves and prints the table of docs/nano.md.

python report.py --state DIR --plot FILE.png [--runs NAME ...]

A run is a pair of logs, `NAME.log.csv` and `NAME.eval.csv`; without `--runs` they are the stages in order.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from train import STAGES

COLUMNS = ("gIoU", "P50", "semantic", "blind", "category", "count_right", "rejected")


def read(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file, none when it does not exist."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def stage_rows(state: Path, kind: str, runs: list[str]) -> list[dict[str, str]]:
    """The rows of all runs in order, their pictures added up into `at`."""
    rows, before = [], 0
    for stage in runs:
        found = read(state / f"{stage}.{kind}.csv")
        for row in found:
            rows.append(row | {"stage": stage, "at": before + int(row["pictures"])})
        logged = read(state / f"{stage}.log.csv")
        before += max((int(r["pictures"]) for r in logged), default=0)
    return rows


def plot(state: Path, path: Path, runs: list[str]) -> None:
    """Left: losses; right: held-out gIoU, its text-blind baseline, and how often simple sets were right."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4))
    logs = stage_rows(state, "log", runs)
    for name in (
        "dense",
        "texts",
        "fused",
        "l1",
        "class",
        "select",
        "cue",
        "reach",
        "presence",
        "mask",
        "semantic",
    ):
        points = [(r["at"], float(r[name])) for r in logs if r.get(name)]
        if points:
            left.plot(*zip(*points, strict=True), label=name, linewidth=1)
    left.set(xlabel="pictures", ylabel="loss (unweighted)", yscale="log")
    left.legend(fontsize=7, ncol=2)
    scores = stage_rows(state, "eval", runs)
    for name in dict.fromkeys(r["set"] for r in scores):
        points = [(r["at"], float(r["gIoU"])) for r in scores if r["set"] == name]
        right.plot(*zip(*points, strict=True), label=name, marker=".", linewidth=1)
    sets = [(r["at"], float(r["_set"])) for r in logs if r.get("_set")]
    if sets:
        right.plot(
            *zip(*sets, strict=True), label="simple: right set (training)", color="black", linewidth=0.7
        )
    blind = [float(r["blind"]) for r in scores if r["set"] == "concept"]
    if blind:
        right.axhline(blind[0], color="grey", linestyle=":", label="every object (concept)")
    right.set(xlabel="pictures", ylabel="held-out gIoU", ylim=(0, 1))
    right.legend(fontsize=7)
    for axes in (left, right):
        axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, dpi=90)


def table(state: Path, runs: list[str]) -> None:
    """Markdown rows of every examination."""
    print("| stage | pictures | set |", " | ".join(COLUMNS), "|")
    print("|" + "---|" * (3 + len(COLUMNS)))
    for row in stage_rows(state, "eval", runs):
        values = (f"{float(row[c]):.2f}" if row.get(c) else "" for c in COLUMNS)
        print(f"| {row['stage']} | {row['pictures']} | {row['set']} |", " | ".join(values), "|")


def main() -> None:
    """Plots and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--plot", type=Path, required=True)
    parser.add_argument("--runs", nargs="*", default=list(STAGES))
    args = parser.parse_args()
    plot(args.state, args.plot, args.runs)
    table(args.state, args.runs)


if __name__ == "__main__":
    main()
