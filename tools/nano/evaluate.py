"""Scores a model on scenes that training never draws (another seed, other backgrounds).

    python evaluate.py --state DIR --bpe FILE --weights CHECKPOINT

Prints gIoU and P@0.5 over instructions with a target, the share of no-target instructions answered with
nothing, and beside them the two baselines that read little text.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from art import SEEN_STYLES, UNSEEN_STYLE
from bpe import Tokenizer
from data import BOX_TEXT, TEXT_TYPE, load_tokenizer, normalise
from model import CONCEPT, SIMPLE, Config, Sam3I
from prompts import SIMPLE_KINDS, Author, Prompt, baselines, iou, union
from world import Art, Scene, World

THRESHOLD = 0.5
KIND_MEASURES = ("gIoU", "category", "set_right", "all_named", "count_right")


@dataclass
class Item:
    """One scene with one instruction."""

    scene: Scene
    prompt: Prompt
    ids: list[int]
    box: tuple[float, float, float, float] | None = None
    """An example box, cxcywh, where the text says nothing."""


def draw_boxes(world: World, author: Author, tokenizer: Tokenizer, count: int) -> list[Item]:
    """Scenes with one example box each: all things of its kind are meant."""
    items = []
    while len(items) < count:
        scene = world.scene(repeated=True)
        shown = author.pick(scene.objects)
        same = frozenset(i for i, o in enumerate(scene.objects) if o.thing == shown.thing)
        x0, y0, x1, y1 = shown.box
        box = ((x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0)
        prompt = Prompt(BOX_TEXT, "concept", same, "box", same)
        items.append(Item(scene, prompt, tokenizer.encode(BOX_TEXT), box))
    return items


def draw_set(
    world: World, author: Author, tokenizer: Tokenizer, level: str, positives: int, negatives: int
) -> list[Item]:
    """Scenes with one instruction of a level each."""
    items = []
    wanted = [True] * positives + [False] * negatives
    while wanted:
        scene = world.scene(level == "simple")
        if prompt := author.write(scene, level, wanted[0]):
            items.append(Item(scene, prompt, tokenizer.encode(prompt.text)))
            wanted.pop(0)
    return items


@torch.no_grad()
def answers(model: Sam3I, items: list[Item], text_type: int, batch: int = 40) -> list[dict]:
    """The model's answer to every item: kept queries, their union, semantic map, presence."""
    device = next(model.parameters()).device
    out = []
    for start in range(0, len(items), batch):
        part = items[start : start + batch]
        pixels = torch.from_numpy(normalise(np.stack([i.scene.image for i in part]))).to(device)
        ids = torch.tensor([i.ids for i in part], device=device)
        levels = model.image(pixels)
        examples = ()
        if part[0].box:
            boxes = torch.tensor([[i.box] for i in part], dtype=torch.float32, device=device)
            examples = boxes, torch.ones(boxes.shape[:2], dtype=torch.long, device=device)
        got = model.predict(levels, torch.arange(len(part), device=device), ids, text_type, *examples)
        out += [read_answer(got, row, part[0].scene.image.shape[0]) for row in range(len(part))]
    return out


def read_answer(got: dict[str, Tensor], row: int, side: int) -> dict:
    """Turns one row of the network's output into masks at the picture's size."""
    keep = got["out.scores"][row] > THRESHOLD
    enlarge = lambda m: F.interpolate(m[None], size=(side, side), mode="bilinear")[0] > 0
    masks = enlarge(got["out.pred_masks"][row][keep]) if keep.any() else torch.zeros(0, side, side)
    return {
        "count": int(keep.sum()),
        "union": masks.any(0).cpu().numpy() if len(masks) else np.zeros((side, side), bool),
        "semantic": enlarge(got["out.semantic_seg"][row])[0].cpu().numpy(),
        "presence": float(got["out.presence_logit"][row].sigmoid()),
    }


def answered(scene: Scene, mask: np.ndarray) -> frozenset[int]:
    """The objects that a mask covers by half."""
    return frozenset(i for i in range(len(scene.objects)) if mask[scene.mask(i)].mean() > 0.5)


def score(model: Sam3I, items: list[Item], text_type: int) -> dict[str, float]:
    """The measures of one set; `set_right` is the share of answers that cover just the objects meant."""
    got = answers(model, items, text_type)
    pairs = list(zip(items, got, strict=True))
    there = [(i, a) for i, a in pairs if i.prompt.targets]
    absent = [a for i, a in pairs if not i.prompt.targets]
    truth = [union(i.scene, i.prompt.targets) for i, _ in there]
    ious = np.array([iou(a["union"], t) for (_, a), t in zip(there, truth, strict=True)])
    semantic = np.array([iou(a["semantic"], t) for (_, a), t in zip(there, truth, strict=True)])
    base = np.array([baselines(i.scene, i.prompt) for i, _ in there])
    sets = [(answered(i.scene, a["union"]), i.prompt) for i, a in there]
    result = {
        "gIoU": ious.mean(),
        "P50": (ious >= 0.5).mean(),
        "semantic": semantic.mean(),
        "blind": base[:, 0].mean(),
        "category": base[:, 1].mean(),
        "set_right": np.mean([found == p.targets for found, p in sets]),
        "all_named": np.mean([found == p.named for found, p in sets]),
        "count_right": np.mean([a["count"] == len(i.prompt.targets) for i, a in there]),
        "presence_yes": np.mean([a["presence"] for _, a in there]),
    }
    if absent:
        result["rejected"] = np.mean([a["count"] == 0 for a in absent])
        result["presence_no"] = np.mean([a["presence"] for a in absent])
    return {k: float(v) for k, v in result.items()}


class Exam:
    """The fixed sets a training is watched with."""

    def __init__(
        self, config: Config, state: Path, tokenizer: Tokenizer, positives: int = 160, negatives: int = 40
    ) -> None:
        self.sets: dict[str, tuple[list[Item], int]] = {}
        rng = np.random.default_rng(20_261_122)
        for name, styles in (("", SEEN_STYLES), ("unseen ", (UNSEEN_STYLE,))):
            world = World(Art(state, styles), config.image_size, rng, bank=0)
            for level in TEXT_TYPE:
                items = draw_set(world, Author(rng), tokenizer, level, positives, negatives)
                self.sets[name + level] = (items, TEXT_TYPE[level])
                if level == "simple" and not name:
                    self.sets["simple, adapters off"] = (items, CONCEPT)
                if level == "complex" and not name:
                    author = Author(rng, held=True)
                    items = draw_set(world, author, tokenizer, level, positives, 0)
                    self.sets["complex, held-out wording"] = (items, TEXT_TYPE[level])
            self.sets[name + "example box"] = draw_boxes(world, Author(rng), tokenizer, positives), CONCEPT

    def take(self, model: Sam3I, names: tuple[str, ...] | None = None) -> dict[str, dict[str, float]]:
        """Scores of the named sets (all when `None`)."""
        was = model.training
        model.eval()
        chosen = names or tuple(self.sets)
        out = {name: score(model, *self.sets[name]) for name in chosen}
        model.train(was)
        return out


def by_kind(model: Sam3I, exam_world: World, tokenizer: Tokenizer, count: int, level: int) -> dict[str, dict]:
    """The scores of each kind of simple instruction, all of the same scenes' seed."""
    rows = {}
    for kind in SIMPLE_KINDS:
        author = Author(exam_world.rng)
        author.kinds = (kind,)
        author.redundant_share = 0.0
        rows[kind] = score(model, draw_set(exam_world, author, tokenizer, "simple", count, 0), level)
    return rows


def main() -> None:
    """Scores a checkpoint's averaged weights."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--bpe", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--config", type=Path, default=Path(__file__).parent / "config.json")
    parser.add_argument("--positives", type=int, default=300)
    parser.add_argument("--negatives", type=int, default=100)
    parser.add_argument("--kinds", action="store_true", help="only the kinds of simple instruction, apart")
    args = parser.parse_args()
    torch.set_num_threads(1)
    config = Config.read(args.config)
    model = Sam3I(config)
    model.load_state_dict(torch.load(args.weights, map_location="cpu", weights_only=True)["ema"])
    tokenizer = load_tokenizer(args.bpe, config)
    if args.kinds:
        world = World(Art(args.state), config.image_size, np.random.default_rng(20_261_123), bank=100)
        for kind, row in by_kind(model.eval(), world, tokenizer, args.positives, SIMPLE).items():
            print(f"{kind:12}", "  ".join(f"{k} {row[k]:.3f}" for k in KIND_MEASURES), flush=True)
        return
    exam = Exam(config, args.state, tokenizer, args.positives, args.negatives)
    for name, row in exam.take(model).items():
        print(f"{name:28}", "  ".join(f"{k} {v:.3f}" for k, v in row.items()))


if __name__ == "__main__":
    main()
