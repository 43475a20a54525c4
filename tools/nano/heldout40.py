"""Writes the scenes `cargo test` measures nano on: the first 40 of the held-out set, in trained styles.

    python heldout40.py --state DIR --out DIR

The pictures and files are those of `heldout.py`, cut short.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np

from art import SEEN_STYLES
from heldout import SIDE, AnnotationFile, write_scenes
from world import Art, World

SCENES = 40
SEED = 97
"""As in `heldout.py`."""


def main() -> None:
    """Draws and writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    files: dict[str, AnnotationFile] = defaultdict(AnnotationFile)
    world = World(Art(args.state, SEEN_STYLES), SIDE, np.random.default_rng(SEED), bank=0)
    write_scenes("seen", world, SCENES, args.out, files)
    for name, file in sorted(files.items()):
        print(f"{name:24} {file.write(args.out / f'{name}.json')}")


if __name__ == "__main__":
    main()
