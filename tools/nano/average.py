"""Averages the averaged weights of checkpoints: of a run and of one that went on from it.

    python average.py DIR/mixed.pt DIR2/mixed.pt --out FILE.pt

What comes out can be evaluated, exported and started from (with the helpers of the last); it has no optimiser to go on with.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch


def main() -> None:
    """Reads the checkpoints, writes their mean."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoints", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    saved = [torch.load(f, map_location="cpu", weights_only=True) for f in args.checkpoints]
    states = [s["ema"] for s in saved]
    mean = {
        name: torch.stack([s[name] for s in states]).mean(0) if value.is_floating_point() else value
        for name, value in states[0].items()
    }
    torch.save({"ema": mean, "helpers": saved[-1]["helpers"]}, args.out)


if __name__ == "__main__":
    main()
