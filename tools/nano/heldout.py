"""Writes the held-out set: pictures and annotation files in the format of the evaluation.

    python heldout.py --state DIR --out DIR

200 scenes in the trained art styles, 100 in the one never trained on, other seeds, fresh backgrounds.
`<style>.<level>.json` holds the instructions of a level that have a target, `seen.complex-heldout.json`
wordings kept out of training, `<style>.absent-<level>.json` instructions without a target (their
annotation is an empty mask: the right answer is nothing). `baselines.json` holds, for each file, what
marking every object and what the right category with all instances score.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
from PIL import Image

from art import SEEN_STYLES, UNSEEN_STYLE
from pictures import rle
from prompts import LEVELS, Author, Prompt, baselines
from world import Art, Scene, World

SIDE = 224
QUALITY = 88
KEYS = {"concept": "concept", "simple": "simple_query", "complex": "complex_query"}


class AnnotationFile:
    """An annotation file under construction."""

    def __init__(self) -> None:
        self.images: list[dict] = []
        self.annotations: list[dict] = []
        self.scores: list[tuple[float, float]] = []

    def add(self, file_name: str, scene: Scene, prompt: Prompt) -> None:
        """Adds an instruction with its targets."""
        side = scene.image.shape[0]
        texts = {key: [prompt.text] if level == prompt.level else [] for level, key in KEYS.items()}
        image_id = len(self.images) + 1
        entry = {"id": image_id, "file_name": file_name, "width": side, "height": side}
        self.images.append(entry | {"text_inst_input": texts, "kind": prompt.kind})
        masks = [scene.mask(i) for i in sorted(prompt.targets)] or [np.zeros((side, side), bool)]
        for mask in masks:
            self.annotations.append(annotation(len(self.annotations) + 1, image_id, mask))
        self.scores.append(baselines(scene, prompt))

    def write(self, path: Path) -> dict:
        """Writes the file; returns its baselines."""
        category = [{"id": 1, "name": "object"}]
        whole = {"images": self.images, "annotations": self.annotations, "categories": category}
        path.write_text(json.dumps(whole, separators=(",", ":")) + "\n")
        blind, named = np.array(self.scores).T
        rows = {"every object": blind, "right category": named}
        return {"instructions": len(self.images)} | {
            name: {"gIoU": round(float(v.mean()), 4), "P50": round(float((v >= 0.5).mean()), 4)}
            for name, v in rows.items()
        }


def annotation(number: int, image_id: int, mask: np.ndarray) -> dict:
    """One target object; an empty mask has an empty box."""
    rows, cols = np.flatnonzero(mask.any(1)).tolist(), np.flatnonzero(mask.any(0)).tolist()
    box = [cols[0], rows[0], cols[-1] + 1 - cols[0], rows[-1] + 1 - rows[0]] if rows else [0, 0, 0, 0]
    head = {"id": number, "image_id": image_id, "category_id": 1, "iscrowd": 0}
    return head | {"area": int(mask.sum()), "bbox": box, "segmentation": rle(mask)}


def write_scenes(name: str, world: World, count: int, out: Path, files: dict[str, AnnotationFile]) -> None:
    """Draws scenes of some styles, half of them with repeated kinds, and their instructions."""
    author, strict = Author(world.rng), Author(world.rng, held=True)
    drawn = 0
    while drawn < count:
        repeated = drawn % 2 == 1
        scene = world.scene(repeated)
        prompts = wanted_prompts(scene, repeated, author, strict, name)
        if prompts is None:
            continue
        file_name = f"{name}{drawn:03}.jpg"
        Image.fromarray(scene.image).save(out / file_name, quality=QUALITY, optimize=True)
        for key, prompt in prompts:
            files[f"{name}.{key}"].add(file_name, scene, prompt)
        drawn += 1


def wanted_prompts(
    scene: Scene, repeated: bool, author: Author, strict: Author, name: str
) -> list[tuple[str, Prompt]] | None:
    """The instructions of a scene by file, or `None` when it has not enough of them."""
    if repeated:
        made = [("simple", author.write(scene, "simple", True)) for _ in range(2)]
        absent = "simple"
    else:
        made = [("concept", author.write(scene, "concept", True)) for _ in range(2)]
        made.append(("complex", author.write(scene, "complex", True)))
        if name == "seen":
            made.append(("complex-heldout", strict.write(scene, "complex", True)))
        absent = ("concept", "complex")[int(author.rng.integers(2))]
    made.append((f"absent-{absent}", author.write(scene, absent, False)))
    texts = [p.text for _, p in made if p]
    return made if len(set(texts)) == len(made) else None


def main() -> None:
    """Writes both parts and the baselines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=97)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    files: dict[str, AnnotationFile] = defaultdict(AnnotationFile)
    rng = np.random.default_rng(args.seed)
    for name, styles, count in (("seen", SEEN_STYLES, 200), ("unseen", (UNSEEN_STYLE,), 100)):
        world = World(Art(args.state, styles), SIDE, rng, bank=0)
        write_scenes(name, world, count, args.out, files)
    table = {name: file.write(args.out / f"{name}.json") for name, file in sorted(files.items())}
    (args.out / "baselines.json").write_text(json.dumps(table, indent=1) + "\n")
    for name, row in table.items():
        print(f"{name:24} {row}")
    assert set(LEVELS) <= {n.partition(".")[2] for n in table}


if __name__ == "__main__":
    main()
