"""Batches for training: pictures, their objects, and instructions with targets.

Everything is drawn on the fly from a seed; nothing is stored. A batch is a `Batch` of tensors; `stream`
yields them, in this process or from workers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from bpe import Tokenizer, read_merges
from losses import Targets
from model import COMPLEX, CONCEPT, SIMPLE, Config
from prompts import CUES, LEVELS, Author, Prompt, colours_of
from relations import ANCHOR, ANCHORS, NAMED, REACH, Story
from things import THINGS
from world import Art, Scene, World

TEXT_TYPE = {"concept": CONCEPT, "simple": SIMPLE, "complex": COMPLEX}
BOX_TEXT = "visual"
"""The text of a prompt that is only boxes."""
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
    story: Story | None = None
    """What simple instructions compare."""
    boxes: Tensor | None = None
    """`[b, m, 4]` cxcywh: example boxes."""
    labels: Tensor | None = None
    """`[b, m]`: 1 for an example of what is meant, 0 for one of what is not."""


@dataclass
class Batch:
    """A training batch."""

    pixels: Tensor
    """`[new pictures, 3, s, s]` normalised."""
    slots: Tensor
    """`[pictures]`: places in the store of pictures, the new ones first."""
    labels: Tensor
    """`[new pictures, 4g, 4g]` i64 into `LABELS`, background last."""
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
    """Probability that one of a picture's prompts, or one of each pair beyond, has no target."""
    texts: int
    """Texts alone, a level."""
    kinds: tuple[str, ...] = ()
    """The kinds of simple instruction to draw, all when empty."""
    boxes: float = 0.0
    """Probability that a concept is asked for once more, by example boxes."""
    only_boxes: bool = False
    """Whether nothing else is asked."""
    simple: int = 0
    """Prompts of a picture for simple instructions, where it is another number."""
    new: float = 1.0
    """Share of the pictures that are drawn; the others come from the last `STORE`, with new prompts."""


STORE = 960
"""Pictures kept for further prompts, where a plan uses pictures again."""


@dataclass
class Drawn:
    """A picture that prompts can be written for."""

    scene: Scene
    level: str
    masks: np.ndarray
    """Coverage of the objects at the model's mask size, `[objects, 4g, 4g]` f16."""


class Maker:
    """Makes batches."""

    def __init__(self, config: Config, state: Path, tokenizer: Tokenizer, plan: Plan, seed: int) -> None:
        self.config, self.plan, self.tokenizer = config, plan, tokenizer
        self.rng = np.random.default_rng(seed)
        self.world = World(Art(state), config.image_size, self.rng, varied=True)
        self.author = Author(self.rng)
        self.author.kinds = plan.kinds or self.author.kinds
        self.drawn = 0
        self.store: list[Drawn] = []
        self.shrink = area_matrix(config.image_size, 4 * config.grid)

    def masks(self, scene: Scene) -> np.ndarray:
        """Coverage of the objects at the model's mask size, `[objects, 4g, 4g]`."""
        full = np.stack([scene.mask(i) for i in range(len(scene.objects))]).astype(np.float32)
        return self.shrink @ full @ self.shrink.T

    def prompts(self, scene: Scene, level: str) -> list[Prompt]:
        """The prompts of a picture, of one level."""
        count = (level == "simple" and self.plan.simple) or self.plan.prompts
        absent = int((self.rng.random(count // 2) < self.plan.negatives).sum())
        wanted = [True] * (count - absent) + [False] * absent
        found: list[Prompt] = []
        for positive in wanted:
            for _ in range(4):
                prompt = self.author.write(scene, level, positive)
                if prompt and all(prompt.text != p.text for p in found):
                    found.append(prompt)
                    break
        return found

    def draw(self) -> Drawn:
        """Draws the next picture."""
        level = self.plan.levels[self.drawn % len(self.plan.levels)]
        scene = self.world.scene(repeated=level == "simple")
        return Drawn(scene, level, self.masks(scene).astype(np.float16))

    def write(self, drawn: Drawn) -> list[Prompt] | None:
        """Prompts for a picture; `None` where there are none to be had."""
        if drawn.level == "none":
            return []
        if drawn.level == "paired":
            return self.author.paired(drawn.scene)
        return self.prompts(drawn.scene, drawn.level) or None

    def choose(self) -> tuple[list[Drawn], list[list[Prompt]], list[int]]:
        """The pictures of a batch with their prompts, and their places in the store."""
        chosen, prompts, slots = [], [], []
        new = round(self.plan.pictures * self.plan.new) if len(self.store) == STORE else self.plan.pictures
        while len(chosen) < self.plan.pictures:
            is_new = len(chosen) < new
            slot = self.drawn % STORE if is_new else int(self.rng.integers(STORE))
            drawn = self.draw() if is_new else self.store[slot]
            made = self.write(drawn)
            if made is None or slot in slots:
                continue
            chosen.append(drawn)
            prompts.append(made)
            slots.append(slot)
            if is_new:
                self.drawn += 1
            if is_new and self.plan.new < 1:
                self.keep(slot, drawn)
        return chosen, prompts, slots

    def keep(self, slot: int, drawn: Drawn) -> None:
        """Puts a picture into the store, without what only drawing needs."""
        bare = replace(drawn, scene=replace(drawn.scene, image=None, owner=None))
        if slot == len(self.store):
            self.store.append(bare)
        else:
            self.store[slot] = bare

    def batch(self) -> Batch:
        """The next batch."""
        chosen, prompts, slots = self.choose()
        rows = {level: [] for level in LEVELS}
        for i, made in enumerate(prompts):
            for prompt in made:
                rows[prompt.level].append((i, prompt))
        asked = {} if self.plan.only_boxes else rows
        groups = [self.group(level, r, chosen) for level, r in asked.items() if r]
        groups += self.box_groups(rows["concept"], chosen) if self.plan.boxes else []
        new = [d for d in chosen if d.scene.image is not None]
        pixels = torch.from_numpy(normalise(np.stack([d.scene.image for d in new])))
        labels = np.stack([label_map(d.scene, d.masks) for d in new])
        texts = {level: self.texts(level) for level in LEVELS} if self.plan.texts else {}
        return Batch(pixels, torch.tensor(slots), torch.from_numpy(labels), groups, texts)

    def group(self, level: str, rows: list, chosen: list[Drawn]) -> Group:
        """Collects the prompts of a level with what they speak of."""
        spoken = [(*sorted(p.named | p.targets), *p.anchors) for _, p in rows]
        most = max(1, *map(len, spoken))
        side = 4 * self.config.grid
        boxes = np.full((len(rows), most, 4), 0.5, np.float32)
        real, meant = (np.zeros((len(rows), most), bool) for _ in range(2))
        cover = np.zeros((len(rows), most, side, side), np.float32)
        for i, (picture, prompt) in enumerate(rows):
            drawn = chosen[picture]
            for j, index in enumerate(spoken[i]):
                x0, y0, x1, y1 = drawn.scene.objects[index].box
                boxes[i, j] = (x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0
                real[i, j], meant[i, j] = True, index in prompt.targets
                cover[i, j] = drawn.masks[index]
        targets = Targets(*(torch.from_numpy(a) for a in (boxes, real, meant, cover)))
        picture = torch.tensor([p for p, _ in rows])
        names = [concept_of(chosen[i].scene, p) for i, p in rows]
        story = tell(rows, spoken, chosen, boxes) if level == "simple" else None
        return Group(level, picture, self.encode([p.text for _, p in rows]), targets, names, story)

    def box_groups(self, rows: list, chosen: list[Drawn]) -> list[Group]:
        """Some of the concepts again, shown by one or two boxes, mostly without their name."""
        several = 1 + int(self.rng.random() < 0.5)
        shown, examples = [], []
        for picture, prompt in rows:
            objects = chosen[picture].scene.objects
            if not prompt.targets or self.rng.random() > self.plan.boxes:
                continue
            thing = objects[next(iter(prompt.targets))].thing
            same = [i for i, o in enumerate(objects) if o.thing == thing]
            others = [i for i in range(len(objects)) if i not in same]
            pairs = [(self.author.pick(same), 1)]
            if several > 1:
                use_other = others and self.rng.random() < 0.6
                pairs.append((self.author.pick(others), 0) if use_other else (self.author.pick(same), 1))
            text = BOX_TEXT if self.rng.random() < 0.75 else THINGS[thing].name
            shown.append((picture, Prompt(text, "concept", frozenset(same), "box", frozenset(same))))
            examples.append([(objects[i].box, label) for i, label in pairs])
        if not shown:
            return []
        corners = np.array([[box for box, _ in pairs] for pairs in examples], np.float32)
        low, high = corners[..., :2], corners[..., 2:]
        boxes = torch.from_numpy(np.concatenate([(low + high) / 2, high - low], axis=-1))
        labels = torch.tensor([[label for _, label in pairs] for pairs in examples])
        return [replace(self.group("concept", shown, chosen), level="box", boxes=boxes, labels=labels)]

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


def tell(rows: list, spoken: list, chosen: list[Drawn], boxes: np.ndarray) -> Story:
    """What simple instructions compare; boxes `[b, T, 4]`."""
    count, most = boxes.shape[:2]
    role = np.full((count, most), NAMED)
    own = np.concatenate([boxes, np.zeros((count, most, 1), np.float32)], axis=2)
    reach = np.zeros((count, REACH), np.float32)
    anchors, there = np.zeros((count, ANCHORS, 2), np.float32), np.zeros((count, ANCHORS), np.float32)
    for i, (picture, prompt) in enumerate(rows):
        objects = [chosen[picture].scene.objects[k] for k in spoken[i]]
        own[i, : len(objects), 4] = [o.area**0.5 for o in objects]
        last = len(objects) - len(prompt.anchors)
        role[i, last : len(objects)] = ANCHOR
        for k, anchor in enumerate(objects[last:]):
            anchors[i, k], there[i, k] = anchor.centre, 1
        if last:
            compared = own[i, :last][:, [0, 1, 4]]
            reach[i] = np.stack([compared.min(0), compared.max(0)], axis=1).ravel()
    cue = np.array([CUES.index(p.cue) for _, p in rows])
    away = np.linalg.norm(own[:, :, None, :2] - anchors[:, None], axis=-1)
    return Story(*(torch.from_numpy(a) for a in (role, cue, own, reach, anchors, there, away)))


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
