"""Scores nano (or another model) on the held-out set: `sam3i predict`, then `sam3i eval`, as a table.

    python tools/nano/score.py [--sam3i COMMAND] [--model PATH] [--out DIR]

Needs only Python's standard library and a built `sam3i` (default `target/release/sam3i`). The set lies in
`tests/data/heldout`; `heldout.py` draws it. Percent; the baselines stand beside every score: what marking
every object scores, and what the right category with all its instances does.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import tempfile
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SET = ROOT / "tests" / "data" / "heldout"
KEYS = {"concept": "concept", "simple": "simple_query", "complex": "complex_query"}


class Scorer:
    """Runs the two verbs on annotation files."""

    def __init__(self, sam3i: list[str], model: str | None, folder: Path, out: Path) -> None:
        self.sam3i, self.folder, self.out = sam3i, folder, out
        self.model = ["--model", model] if model else []

    def call(self, *args: object) -> str:
        """Runs a verb and returns what it prints."""
        command = [*self.sam3i, *map(str, args)]
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout

    def evaluate(self, truth: Path, level: str) -> dict:
        """Answers the instructions of a file and scores the answers."""
        answers = self.out / f"{truth.stem}.{level}.pred.json"
        files = ("--annotations", truth, "--image-root", self.folder, "-o", answers)
        self.call("predict", *files, "--categories", level, "--resize", "exact8", "-q", *self.model)
        rule = ("--mode", "multi-inst", "--no-target", "abstain", "--json")
        return json.loads(self.call("eval", "--gt", truth, "--pred", answers, *rule))

    def as_concept(self, truth: Path) -> Path:
        """The same simple instructions, to be asked at level concept."""
        whole = json.loads(truth.read_text())
        for image in whole["images"]:
            texts = image["text_inst_input"]
            texts["concept"], texts["simple_query"] = texts["simple_query"], []
        moved = self.out / f"{truth.stem}.as-concept.json"
        moved.write_text(json.dumps(whole))
        return moved


def level_of(name: str) -> str:
    """The level that a file's instructions are asked at."""
    return next(level for level in KEYS if level in name)


def by_kind(truth: Path, found: dict) -> dict[str, list[float]]:
    """IoUs apart by the kind of instruction."""
    kinds = {image["id"]: image["kind"] for image in json.loads(truth.read_text())["images"]}
    rows = defaultdict(list)
    for sample in found["samples"]:
        rows[kinds[sample["image_id"]]].append(sample["iou"])
    return rows


def percent(values: list[float]) -> str:
    """Mean IoU and the share of at least 0.5."""
    return f"{100 * sum(values) / len(values):.1f} / {100 * sum(v >= 0.5 for v in values) / len(values):.0f}"


def show(label: str, found: dict, row: dict) -> None:
    """Prints a score with its baselines."""
    beside = [f"{100 * row[b]['gIoU']:.1f}" for b in ("every object", "right category")]
    cells = [label, row["instructions"], f"{found['giou']:.1f}", f"{found['p_50']:.1f}", *beside]
    print("|", " | ".join(map(str, cells)), "|")


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sam3i", default=str(ROOT / "target" / "release" / "sam3i"))
    parser.add_argument("--model", help="another model than the one inside the binary")
    parser.add_argument("--heldout", type=Path, default=SET)
    parser.add_argument("--out", type=Path, help="where the prediction files stay")
    args = parser.parse_args()
    baselines = json.loads((args.heldout / "baselines.json").read_text())
    with tempfile.TemporaryDirectory() as scratch:
        out = args.out or Path(scratch)
        out.mkdir(parents=True, exist_ok=True)
        scorer = Scorer(shlex.split(args.sam3i), args.model, args.heldout, out)
        print("| set | instructions | gIoU | P@0.5 | every object | right category |")
        print("|---|---|---|---|---|---|")
        kinds, silent = {}, []
        for name, row in baselines.items():
            truth = args.heldout / f"{name}.json"
            found = scorer.evaluate(truth, level_of(name))
            if "absent" in name:
                abstention = found["abstention"]
                silent.append((name, abstention["no_target_silent"], abstention["no_target"]))
                continue
            show(name, found, row)
            if name.endswith("simple"):
                kinds[name] = by_kind(truth, found)
                moved = scorer.as_concept(truth)
                show(f"{name}, run as concept", scorer.evaluate(moved, "concept"), row)
        print("\n| no target | answered with nothing |\n|---|---|")
        for name, right, asked in silent:
            print(f"| {name} | {right} of {asked} |")
        for name, rows in kinds.items():
            print(f"\n| {name}, kind | instructions | gIoU / P@0.5 |\n|---|---|---|")
            for kind, ious in sorted(rows.items()):
                print(f"| {kind} | {len(ious)} | {percent(ious)} |")


if __name__ == "__main__":
    main()
