"""Batches for training: pictures, their objects, and instructions with targets.

Everything is drawn on the fly from a seed; nothing is stored. A batch is a `Batch` of tensors; `stream`
yields them, in this process or from workers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from bpe import Tokenizer, read_merges
from losses import Targets
from model import COMPLEX, CONCEPT, SIMPLE, Config
from prompts import LEVELS, Author, Prompt, colours_of
from things import THINGS
from world import Art, Scene, World

TEXT_TYPE = {"concept": CONCEPT, "simple": SIMPLE, "complex": COMPLEX}
LABELS: list[tuple[int, str]] = [
    (i, colour) for i, thing in enumerate(THINGS) for colour in colours_of(thing)
]
"""What a pixel can be: (thing, colour); the background comes after them."""
LABEL_NAMES = [f"{c} {THINGS[i].name}".strip() for i, c in LABELS]
THING_NAMES = [thing.name for thing in THINGS]
LABEL_INDEX = {label: i for i, label in enumerate(LABELS)}


@dataclass
class Group:
    """Prompts of one level in a batch."""

    level: str
    picture: Tensor
    """`[b]`: the picture of each prompt."""
    ids: Tensor
    """`[b, t]`."""
    targets: Targets
    names: list[str]
    """The concept each prompt is about (only of paired prompts)."""


@dataclass
class Batch:
    """A training batch."""

    pixels: Tensor
    """`[pictures, 3, s, s]` normalised."""
    labels: Tensor
    """`[pictures, 4g, 4g]` i64 into `LABELS`, background last."""
    groups: list[Group]
    texts: dict[str, tuple[Tensor, Tensor]]
    """Texts alone, a level: ids `[m, t]` and the things meant `[m, things]` (rows sum to 1)."""

    def to(self, device: torch.device) -> Batch:
        """Moves everything to a device."""
        return move(self, device)


def move(value, device):  # noqa: ANN001, ANN201
    """Moves the tensors of nested dataclasses, lists, tuples and dictionaries."""
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=True)
    if is_dataclass(value):
        return type(value)(**{f.name: move(getattr(value, f.name), device) for f in fields(value)})
    if isinstance(value, dict):
        return {k: move(v, device) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(move(v, device) for v in value)
    return value


def normalise(image: np.ndarray) -> np.ndarray:
    """`[..., s, s, 3]` u8 -> `[..., 3, s, s]` f32 in [-1, 1]."""
    return np.moveaxis((image.astype(np.float32) / 255 - 0.5) / 0.5, -1, -3)


def area_matrix(source: int, target: int) -> np.ndarray:
    """`[target, source]`: each row averages the source cells it covers."""
    edges = np.arange(target + 1) * source / target
    low, high = edges[:-1, None], edges[1:, None]
    cells = np.arange(source)[None]
    overlap = np.minimum(high, cells + 1) - np.maximum(low, cells)
    return (np.clip(overlap, 0, None) * target / source).astype(np.float32)


@dataclass(frozen=True)
class Plan:
    """What a batch is made of."""

    pictures: int
    prompts: int
    """Prompts a picture."""
    levels: tuple[str, ...]
    """Each picture takes the next level of this cycle; "paired" gives all three for one target."""
    negatives: float
    """Probability that the last prompt of a picture has no target."""
    texts: int
    """Texts alone, a level."""
    kinds: tuple[str, ...] = ()
    """The kinds of simple instruction to draw, all when empty."""


class Maker:
    """Makes batches."""

    def __init__(self, config: Config, state: Path, tokenizer: Tokenizer, plan: Plan, seed: int) -> None:
        self.config, self.plan, self.tokenizer = config, plan, tokenizer
        self.rng = np.random.default_rng(seed)
        self.world = World(Art(state), config.image_size, self.rng)
        self.author = Author(self.rng)
        self.author.kinds = plan.kinds or self.author.kinds
        self.drawn = 0
        self.shrink = area_matrix(config.image_size, 4 * config.grid)

    def masks(self, scene: Scene) -> np.ndarray:
        """Coverage of the objects at the model's mask size, `[objects, 4g, 4g]`."""
        full = np.stack([scene.mask(i) for i in range(len(scene.objects))]).astype(np.float32)
        return self.shrink @ full @ self.shrink.T

    def prompts(self, scene: Scene, level: str) -> list[Prompt]:
        """The prompts of a picture, of one level."""
        negative = self.rng.random() < self.plan.negatives
        wanted = [True] * (self.plan.prompts - negative) + [False] * negative
        found: list[Prompt] = []
        for positive in wanted:
            for _ in range(4):
                prompt = self.author.write(scene, level, positive)
                if prompt and all(prompt.text != p.text for p in found):
                    found.append(prompt)
                    break
        return found

    def batch(self) -> Batch:
        """The next batch."""
        scenes, rows = [], {level: [] for level in LEVELS}
        while len(scenes) < self.plan.pictures:
            level = self.plan.levels[self.drawn % len(self.plan.levels)]
            scene = self.world.scene(repeated=level == "simple")
            made = self.author.paired(scene) if level == "paired" else self.prompts(scene, level)
            if level != "none" and not made:
                continue
            for prompt in made or ():
                rows[prompt.level].append((len(scenes), prompt))
            scenes.append(scene)
            self.drawn += 1
        masks = [self.masks(s) for s in scenes]
        groups = [self.group(level, r, scenes, masks) for level, r in rows.items() if r]
        pixels = torch.from_numpy(normalise(np.stack([s.image for s in scenes])))
        labels = np.stack([label_map(s, m) for s, m in zip(scenes, masks, strict=True)])
        texts = {level: self.texts(level) for level in LEVELS} if self.plan.texts else {}
        return Batch(pixels, torch.from_numpy(labels), groups, texts)

    def group(self, level: str, rows: list, scenes: list[Scene], masks: list[np.ndarray]) -> Group:
        """Collects the prompts of a level with their targets."""
        most = max(1, max(len(p.targets) for _, p in rows))
        side = 4 * self.config.grid
        boxes = np.full((len(rows), most, 4), 0.5, np.float32)
        real = np.zeros((len(rows), most), bool)
        cover = np.zeros((len(rows), most, side, side), np.float32)
        for i, (picture, prompt) in enumerate(rows):
            for j, index in enumerate(sorted(prompt.targets)):
                x0, y0, x1, y1 = scenes[picture].objects[index].box
                boxes[i, j] = (x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0
                real[i, j], cover[i, j] = True, masks[picture][index]
        targets = Targets(*(torch.from_numpy(a) for a in (boxes, real, cover)))
        picture = torch.tensor([p for p, _ in rows])
        names = [concept_of(scenes[i], p) for i, p in rows]
        return Group(level, picture, self.encode([p.text for _, p in rows]), targets, names)

    def encode(self, texts: list[str]) -> Tensor:
        """Texts -> ids `[b, ctx]`."""
        return torch.tensor([self.tokenizer.encode(t) for t in texts])

    def texts(self, level: str) -> tuple[Tensor, Tensor]:
        """Texts alone and the things they mean."""
        samples = [self.author.text_sample(level) for _ in range(self.plan.texts)]
        meant = torch.zeros(len(samples), len(THINGS))
        for row, (_, things) in zip(meant, samples, strict=True):
            row[things] = 1 / len(things)
        return self.encode([text for text, _ in samples]), meant


def concept_of(scene: Scene, prompt: Prompt) -> str:
    """The name of what a prompt is about, or nothing."""
    for index in prompt.targets:
        return THINGS[scene.objects[index].thing].name
    return ""


def label_map(scene: Scene, masks: np.ndarray) -> np.ndarray:
    """`[4g, 4g]`: what each cell mostly shows."""
    labels = np.array([LABEL_INDEX[o.thing, o.colour] for o in scene.objects])
    best = masks.argmax(0)
    return np.where(masks.max(0) > 0.5, labels[best], len(LABELS)).astype(np.int64)


class Stream(IterableDataset):
    """Endless batches; every worker has its own seed."""

    def __init__(self, config: Config, state: Path, bpe: Path, plan: Plan, seed: int) -> None:
        self.args = (config, state, bpe, plan, seed)

    def __iter__(self) -> Iterator[Batch]:
        config, state, bpe, plan, seed = self.args
        info = torch.utils.data.get_worker_info()
        tokenizer = load_tokenizer(bpe, config)
        maker = Maker(config, state, tokenizer, plan, seed + 7919 * (info.id + 1 if info else 0))
        while True:
            yield maker.batch()


def load_tokenizer(bpe: Path, config: Config) -> Tokenizer:
    """The tokenizer of a configuration."""
    return Tokenizer(read_merges(bpe), config.text["vocab"], config.text["ctx"])


def stream(
    config: Config, state: Path, bpe: Path, plan: Plan, seed: int, workers: int = 0
) -> Iterator[Batch]:
    """Endless batches, from this process (`workers` = 0) or from others."""
    data = Stream(config, state, bpe, plan, seed)
    options = {"prefetch_factor": 4} if workers else {}
    return iter(DataLoader(data, batch_size=None, num_workers=workers, **options))
