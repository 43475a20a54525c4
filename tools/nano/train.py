"""Trains nano. One stage a command; a stage goes on where its checkpoint stands.

    python train.py --state DIR --bpe FILE --stage STAGE [--pictures N] [--device cpu]

Stages, in order: `pretrain` (what each pixel shows, what each text means), `base` (concept),
`mixed` (all levels, everything trains),
`relate` (mostly simple, the image part frozen), `simple`, `complex`, `joint` (frozen base, adapters),
`boxes` (example boxes: only what no text passes through). `helpers` trains only the layers that are thrown
away, for `--start model.safetensors`, which lacks them.
A stage starts from its own `<stage>.pt` in DIR, else from `--start FILE`, else from the stage before it.
Losses go to `<stage>.log.csv`, held-out scores to `<stage>.eval.csv`.
"""

from __future__ import annotations

import argparse
import csv
import math
import signal
import time
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from data import (
    LABEL_NAMES,
    LABELS,
    STORE,
    TEXT_TYPE,
    THING_NAMES,
    Batch,
    Group,
    Plan,
    load_tokenizer,
    stream,
)
from evaluate import Exam
from losses import (
    Matching,
    Targets,
    concept_margin,
    detection_losses,
    dice,
    hard_region,
    info_nce,
    kl_alignment,
    mask_loss,
)
from model import CONCEPT, Config, Grounded, Sam3I
from relations import Relations

WEIGHTS = {
    "dense": 2.0,
    "texts": 0.5,
    "fused": 3.0,
    "where": 2.0,
    "role": 0.5,
    "cue": 0.2,
    "text_cue": 0.5,
    "own": 2.0,
    "reach": 2.0,
    "anchor": 1.0,
    "away": 3.0,
    "l1": 2.5,
    "giou": 1.0,
    "class": 0.5,
    "select": 1.5,
    "presence": 0.5,
    "mask": 1.0,
    "semantic": 1.0,
    "kl": 0.001,
    "hard": 1.0,
    "nce": 1.0,
    "margin": 1.0,
}


TRUNK_RATE = 0.3
"""Share of the rate that the image trunk and neck train with after the stage `pretrain`, unless another is asked for."""

WARM_UP = 60
"""Steps to the full rate, also where a stage goes on with other parameters."""


@dataclass(frozen=True)
class Stage:
    """How a stage trains."""

    plan: Plan
    trains: tuple[str, ...]
    """Parts of the names of what trains; an empty tuple means everything."""
    rate: float
    before: tuple[str, ...]
    """Stages whose checkpoint it can start from, best first."""
    exams: tuple[str, ...]
    pictures: int
    """Length of the schedule."""


ALL_EXAMS = (
    "concept",
    "simple",
    "complex",
    "simple, adapters off",
    "complex, held-out wording",
    "unseen concept",
    "example box",
)
ALL_BUT_IMAGE = ("language_backbone", "geometry_encoder", "transformer.", "dot_prod", "segmentation_head")
ADAPTER1 = ("adapter1.", "mask_predictor_adapter1")
ADAPTER2 = ("adapter12.", "adapter2.", "mask_predictor_adapter2")
BOXES = tuple(f"geometry_encoder.{part}" for part in ("boxes_", "label_embed", "img_pre_norm"))
"""What only example boxes pass through: training it leaves every answer to a text as it is."""
HELPERS_ONLY = "no part of the model"
"""For weights whose helpers were not kept: those learn first, so that they do not pull the model apart."""
STAGES = {
    "pretrain": Stage(Plan(32, 0, ("none",), 0, 12), (), 1.5e-3, (), (), 150_000),
    "base": Stage(
        Plan(16, 3, ("concept",), 0.75, 16, boxes=0.15), (), 1e-3, ("pretrain",), ("concept",), 300_000
    ),
    "mixed": Stage(
        Plan(16, 3, ("simple", "concept", "simple", "complex"), 0.6, 6, boxes=0.15, simple=5),
        (),
        1e-3,
        ("base", "pretrain"),
        ALL_EXAMS,
        600_000,
    ),
    "relate": Stage(
        Plan(12, 3, (*["simple"] * 4, "concept", "complex"), 0.5, 0, simple=6, new=0.25),
        ALL_BUT_IMAGE,
        1e-3,
        ("mixed",),
        ALL_EXAMS,
        300_000,
    ),
    "simple": Stage(
        Plan(12, 3, ("simple",), 0.5, 0, simple=6, new=0.25),
        ADAPTER1,
        1e-3,
        ("mixed", "relate", "base"),
        ALL_EXAMS,
        150_000,
    ),
    "complex": Stage(
        Plan(12, 4, ("complex",), 0.5, 0, new=0.25), ADAPTER2, 1e-3, ("simple",), ALL_EXAMS, 150_000
    ),
    "joint": Stage(
        Plan(16, 3, ("paired", "simple", "complex"), 0.75, 0),
        (*ADAPTER1, *ADAPTER2),
        3e-4,
        ("complex",),
        ALL_EXAMS,
        100_000,
    ),
    "helpers": Stage(
        Plan(16, 3, ("simple", "concept", "complex"), 0.6, 6, simple=5), (HELPERS_ONLY,), 3e-3, (), (), 4_000
    ),
    "boxes": Stage(
        Plan(12, 4, ("concept",), 0.0, 0, boxes=1.0, only_boxes=True, new=0.25),
        BOXES,
        2e-3,
        ("joint",),
        ("example box", "concept"),
        50_000,
    ),
}


@dataclass
class Found:
    """What the alignment terms need of one level's prompts."""

    group: Group
    text: Tensor
    """`[b, t, d]`."""
    rows: Tensor | None = None
    """`[r]`: the prompts that have a semantic map."""
    semantic: Tensor | None = None
    """`[r, h, w]` logits."""

    def rows_of(self, pictures: list[int]) -> list[int]:
        """The first prompt of each of these pictures."""
        order = self.group.picture.tolist()
        return [order.index(p) for p in pictures]

    def semantic_of(self, pictures: list[int]) -> Tensor:
        """The semantic maps of these pictures, `[len, h, w]`."""
        order = self.group.picture[self.rows].tolist()
        return self.semantic[[order.index(p) for p in pictures]]


class Helpers(nn.Module):
    """Layers that only training uses and that are thrown away."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        d = config.d_model
        self.coarse = nn.Conv2d(d, 4 * d, 1)
        self.fine = nn.Conv2d(d, d, 1)
        self.background = nn.Parameter(torch.zeros(1, d))
        self.scale = nn.Parameter(torch.tensor(0.0))
        self.text = nn.Linear(d, d)
        self.fused = nn.Linear(d, 16)
        self.where_image = nn.Conv2d(d, 2, 1)
        self.where_memory = nn.Linear(d, 2)
        self.where_query = nn.Linear(d, 4)
        self.relations = Relations(d, config.dec_layers)
        self.project = nn.Sequential(nn.Linear(d, d), nn.LayerNorm(d), nn.ReLU(), nn.Linear(d, d))


def cosine_waves(patch: int, dim: int) -> Tensor:
    """Start of the patch embedding: the `dim` smoothest waves of a colour patch, `[dim, 3, p, p]`."""
    at = (torch.arange(patch) + 0.5) / patch * math.pi
    waves = torch.stack([(k * at).cos() for k in range(patch)])
    colours = torch.tensor([[1.0, 1, 1], [1, 0, -1], [0.5, -1, 0.5]])
    order = sorted((y + x, y, x) for y in range(patch) for x in range(patch))
    rows = [torch.einsum("c,y,x->cyx", c, waves[y], waves[x]) for _, y, x in order for c in colours]
    stack = torch.stack(rows[:dim])
    stack = stack / stack.flatten(1).norm(dim=1)[:, None, None, None]
    frequency = torch.tensor([s for s, _, _ in order for _ in colours][:dim])
    return stack * (0.5 + 0.25 * frequency)[:, None, None, None]


@torch.no_grad()
def start_well(model: Sam3I) -> None:
    """Starts that help a small model: smooth patches, a grid of boxes, no refinement at first."""
    decoder = model.transformer.decoder
    patches = model.backbone.vision_backbone.trunk.patch_embed.proj.weight
    smooth = cosine_waves(patches.shape[-1], patches.shape[0])
    patches.copy_(torch.cat([smooth, patches[len(smooth) :]]))
    q = decoder.reference_points.weight.shape[0]
    side = math.ceil(math.sqrt(q))
    at = (torch.arange(q) % side + 0.5) / side, (torch.arange(q) // side + 0.5) / side
    boxes = torch.stack([*at, torch.full((q,), 0.35), torch.full((q,), 0.35)], dim=1)
    decoder.reference_points.weight.copy_(torch.logit(boxes.clamp(0.02, 0.98)))
    nn.init.zeros_(decoder.bbox_embed.layers[-1].weight)
    nn.init.zeros_(decoder.bbox_embed.layers[-1].bias)
    for bias in (decoder.boxRPB_embed_x, decoder.boxRPB_embed_y):
        look_inside(bias)


@torch.no_grad()
def look_inside(bias: nn.Module) -> None:
    """Starts a box-bias MLP so that most heads look inside the box: low outside either edge."""
    first, last = bias.layers
    first.weight[:2] = torch.tensor([[-1.0, 0], [0, 1]])
    first.bias[:2] = torch.tensor([-0.15, 0])
    heads = last.weight.shape[0]
    last.weight[:, :2] = -10 * 0.5 ** torch.arange(heads)[:, None]


@torch.no_grad()
def start_stage(model: Sam3I, stage: str) -> None:
    """What a stage copies before its first step (training.md, 2.3, with live starts)."""
    head = model.segmentation_head
    layers = [
        *model.backbone.language_backbone.encoder.transformer.resblocks,
        *model.transformer.encoder.layers,
        *model.transformer.decoder.layers,
    ]
    untrained = not any(layer.adapter1.up_proj.weight.any() for layer in layers)
    if stage in ("mixed", "simple") and untrained:
        head.mask_predictor_adapter1.load_state_dict(head.mask_predictor.state_dict())
    if stage == "mixed" and untrained:
        head.mask_predictor_adapter2.load_state_dict(head.mask_predictor.state_dict())
    if stage == "complex" and not any(layer.adapter2.up_proj.weight.any() for layer in layers):
        head.mask_predictor_adapter2.load_state_dict(head.mask_predictor_adapter1.state_dict())
        for layer in layers:
            layer.adapter12.load_state_dict(layer.adapter1.state_dict())


class Trainer:
    """A stage under way."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args, self.stage = args, STAGES[args.stage]
        self.plan = replace(
            self.stage.plan, pictures=self.stage.plan.pictures * args.batch, kinds=tuple(args.kinds)
        )
        self.device = torch.device(args.device)
        self.config = Config.read(args.config)
        torch.manual_seed(args.seed)
        self.model = Sam3I(self.config)
        self.helpers = Helpers(self.config)
        start_well(self.model)
        self.model.to(self.device, memory_format=torch.channels_last)
        self.helpers.to(self.device)
        self.tokenizer = load_tokenizer(args.bpe, self.config)
        self.pictures = self.steps = self.warm_from = 0
        self.seconds = 0.0
        self.seen: Tensor | None = None
        self.parameters = self.choose_parameters()
        self.optimizer = self.make_optimizer()
        self.ema = {k: v.clone() for k, v in self.model.state_dict().items()}
        names = list(dict.fromkeys(LABEL_NAMES + THING_NAMES))
        self.captions = self.encode(names)
        self.label_rows = [names.index(n) for n in LABEL_NAMES]
        self.thing_rows = [names.index(n) for n in THING_NAMES]
        self.restore()

    # --- state -----------------------------------------------------------------------------------

    def choose_parameters(self) -> dict[str, nn.Parameter]:
        """What the stage trains; everything else is frozen."""
        chosen = {}
        for name, parameter in self.model.named_parameters():
            trains = not self.stage.trains or any(part in name for part in self.stage.trains)
            parameter.requires_grad_(trains)
            if trains:
                chosen[name] = parameter
        return chosen | {f"helpers.{k}": v for k, v in self.helpers.named_parameters()}

    def make_optimizer(self) -> torch.optim.Optimizer:
        """AdamW; no decay for vectors and embeddings, a lower rate for a trunk that is trained already."""
        chosen: dict[tuple[float, float], list[nn.Parameter]] = defaultdict(list)
        for name, parameter in self.parameters.items():
            plain = parameter.ndim < 2 or ("embed" in name and "patch" not in name)
            slow = "vision_backbone" in name and self.args.stage != "pretrain"
            chosen[0.0 if plain else 0.05, self.args.trunk_rate if slow else 1.0].append(parameter)
        groups = [
            {"params": parameters, "weight_decay": decay, "share": share}
            for (decay, share), parameters in chosen.items()
        ]
        return torch.optim.AdamW(groups, lr=self.stage.rate, betas=(0.9, 0.98), fused=True)

    @property
    def file(self) -> Path:
        """The stage's checkpoint."""
        return self.args.state / f"{self.args.stage}.pt"

    def restore(self) -> None:
        """Goes on with the stage, or starts it from an earlier one."""
        if self.file.exists():
            saved = torch.load(self.file, map_location=self.device, weights_only=True)
            self.pictures, self.steps, self.seconds = (saved[k] for k in ("pictures", "steps", "seconds"))
            self.restore_optimizer(saved["optimizer"])
            source = saved["model"]
        else:
            names = [self.args.state / f"{s}.pt" for s in self.stage.before]
            start = self.args.start or next((n for n in names if n.exists()), None)
            if start is None:
                print("starts from scratch", flush=True)
                return
            saved = read_start(start, self.device)
            source = saved["ema"]
        self.model.load_state_dict(source)
        self.helpers.load_state_dict(saved["helpers"], strict=False)
        self.ema = {k: v.clone() for k, v in saved["ema"].items()}
        if not self.file.exists():
            start_stage(self.model, self.args.stage)
            self.ema = {k: v.clone() for k, v in self.model.state_dict().items()}
        print(f"goes on at {self.pictures} pictures", flush=True)

    def restore_optimizer(self, state: dict) -> None:
        """Goes on with the optimiser, or warms up again where other parameters train than before."""
        try:
            self.optimizer.load_state_dict(state)
        except ValueError:
            print("other parameters than before: the optimiser starts afresh", flush=True)
            self.warm_from = self.steps
        for group in self.optimizer.param_groups:
            group["fused"] = True

    def save(self) -> None:
        """Writes the checkpoint under another name first."""
        state = {
            "model": self.model.state_dict(),
            "ema": self.ema,
            "helpers": self.helpers.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "pictures": self.pictures,
            "steps": self.steps,
            "seconds": self.seconds,
            "seed": self.args.seed,
        }
        part = self.file.with_suffix(".part")
        torch.save(state, part)
        part.replace(self.file)

    # --- losses ----------------------------------------------------------------------------------

    def encode(self, texts: list[str]) -> Tensor:
        """Texts -> ids, without the columns that are padding everywhere (for text type 1 only)."""
        return shorten(torch.tensor([self.tokenizer.encode(t) for t in texts], device=self.device))

    def meaning(self, ids: Tensor, text_type: int) -> Tensor:
        """The mean text feature over real positions, projected: `[b, d]`."""
        features = self.model.encode_text(ids, text_type)
        real = (ids != 0).to(features.dtype)[..., None]
        return self.helpers.text((features * real).sum(1) / real.sum(1))

    def text_losses(self, texts: dict[str, tuple[Tensor, Tensor]], names: Tensor) -> dict[str, Tensor]:
        """Texts of every level find the names of what they mean; names `[captions, d]`."""
        names = F.normalize(names[self.thing_rows], dim=1)
        total = names.new_zeros(())
        for level, (ids, meant) in texts.items():
            used = shorten(ids) if level == "concept" else ids
            got = F.normalize(self.meaning(used, TEXT_TYPE[level]), dim=1)
            total = total + F.cross_entropy(20 * got @ names.T, meant)
        return {"texts": total / len(texts)}

    def dense_losses(self, levels: list[Tensor], labels: Tensor, names: Tensor) -> dict[str, Tensor]:
        """Every cell finds the name of what it shows: quarters of level 2, and level 0 where it is run."""
        h = self.helpers
        names = torch.cat([names[self.label_rows], h.background]) * h.scale.exp()
        quarters = F.pixel_shuffle(h.coarse(levels[2]), 2)
        coarse = torch.einsum("bdyx,cd->bcyx", quarters, names)
        one_hot = F.one_hot(labels, len(LABELS) + 1).permute(0, 3, 1, 2).float()
        share = F.avg_pool2d(one_hot, labels.shape[-1] // coarse.shape[-1])
        weight = 1.3 - share[:, -1]
        loss = F.cross_entropy(coarse, share, reduction="none")
        with torch.no_grad():
            solid = share[:, :-1].amax(1) > 0.9
            right = (coarse[:, :-1].argmax(1) == share[:, :-1].argmax(1))[solid].float().mean()
        total = (loss * weight).sum() / weight.sum()
        if len(levels) == 3 and levels[0] is not None:
            fine = torch.einsum("bdyx,cd->bcyx", h.fine(levels[0]), names)
            total = total + F.cross_entropy(fine, labels)
        return {"dense": total, "_right": right}

    def prompt_losses(self, levels: list[Tensor], group: Group) -> tuple[dict[str, Tensor], Found]:
        """Detection and fused map of every prompt, masks of one prompt a picture."""
        text_type, targets = TEXT_TYPE.get(group.level, CONCEPT), group.targets
        used = shorten(group.ids) if text_type == CONCEPT else group.ids
        ids, back = used.unique(dim=0, return_inverse=True)
        text = self.model.encode_text(ids, text_type)[back]
        examples = group.boxes, group.labels
        grounded = self.model.ground(levels, group.picture, text, used == 0, text_type, *examples)
        union = targets.union
        terms, matching = self.query_losses(grounded, group)
        terms["fused"] = self.fused_loss(grounded.memory, union)
        terms["where"] = self.where_loss(levels[2], grounded)
        rows = first_positive(group.picture, targets.present, len(levels[0]))
        if not len(rows):
            return terms, Found(group, text)
        pixels = self.model.pixels(levels, group.picture, grounded, rows)
        semantic = self.model.segmentation_head.semantic(pixels)[:, 0]
        terms["semantic"] = mask_loss(semantic, union[rows]).mean()
        terms["mask"] = self.instance_loss(pixels, grounded, targets, rows, matching, text_type)
        return terms, Found(group, text, rows, semantic)

    def query_losses(self, grounded: Grounded, group: Group) -> tuple[dict[str, Tensor], Matching]:
        """Detection terms, for simple instructions also what their queries must know; the last matching."""
        targets, story = group.targets, group.story
        if story is None:
            terms, matchings = detection_losses(grounded, targets, None)
            return terms, matchings[-1]
        queries, relations = grounded.decoded.queries, self.helpers.relations
        roles = relations.roles(queries)
        index = story.role[:, None].expand(-1, queries[0].shape[1], -1)
        likely = [r.softmax(-1).gather(2, index) for r in roles]
        terms, matchings = detection_losses(grounded, targets, likely)
        terms["select"] = terms.pop("class")
        meaning = masked_mean(grounded.text, group.ids != 0)
        terms |= relations(queries, roles, matchings, meaning, targets, story)
        return terms, matchings[-1]

    def fused_loss(self, memory: Tensor, union: Tensor) -> Tensor:
        """The fused memory alone already says where the targets are: the text must be used early."""
        grid = self.config.grid
        map_ = self.helpers.fused(memory).view(-1, grid, grid, 4, 4).transpose(2, 3)
        logits = map_.reshape(-1, 4 * grid, 4 * grid)
        loss = F.binary_cross_entropy_with_logits(logits, union, reduction="none").mean((1, 2))
        there = union.flatten(1).any(1)
        return loss.mean() + 0.25 * dice(logits.sigmoid(), union)[there].mean()

    def where_loss(self, f2: Tensor, grounded: Grounded) -> Tensor:
        """Features say where they are: attention's values carry no position code of their own."""
        h, grid = self.helpers, self.config.grid
        at = (torch.arange(grid, device=f2.device) + 0.5) / grid
        place = torch.stack([at.expand(grid, grid), at[:, None].expand(grid, grid)])
        image = (h.where_image(f2) - place).abs().mean()
        memory = (h.where_memory(grounded.memory) - place.flatten(1).T).abs().mean()
        decoded = grounded.decoded
        queries = [
            (h.where_query(q) - b.detach()).abs().mean()
            for q, b in zip(decoded.queries, decoded.boxes, strict=True)
        ]
        return image + memory + sum(queries) / len(queries)

    def instance_loss(
        self,
        pixels: Tensor,
        grounded: Grounded,
        targets: Targets,
        rows: Tensor,
        matching: Matching,
        text_type: int,
    ) -> Tensor:
        """Masks of the matched queries of the prompts `rows`."""
        prompt, query, target = matching
        place = torch.full((len(targets.real),), -1, device=rows.device)
        place[rows] = torch.arange(len(rows), device=rows.device)
        chosen = place[prompt] >= 0
        prompt, query, target = prompt[chosen], query[chosen], target[chosen]
        queries = grounded.decoded.queries[-1][rows]
        masks = self.model.segmentation_head.masks(pixels, queries, text_type)
        return mask_loss(masks[place[prompt], query], targets.masks[prompt, target]).mean()

    def alignment_losses(self, found: dict[str, Found]) -> dict[str, Tensor]:
        """The terms of stage joint between the simple and the complex text of one target."""
        concept, simple, complex_ = (found[level] for level in ("concept", "simple", "complex"))
        pictures = concept.group.picture.tolist()
        simple_rows, complex_rows = simple.rows_of(pictures), complex_.rows_of(pictures)
        f_k = self.helpers.project(masked_mean(concept.text, concept.group.ids != 0))
        f_s = self.helpers.project(masked_mean(simple.text, simple.group.ids != 0)[simple_rows])
        f_c = self.helpers.project(masked_mean(complex_.text, complex_.group.ids != 0)[complex_rows])
        a, b = simple.semantic_of(pictures), complex_.semantic_of(pictures)
        names = concept.group.names
        return {
            "kl": kl_alignment(a, b),
            "hard": hard_region(a, b, simple.group.targets.union[simple_rows]),
            "nce": info_nce(f_s, f_c, names),
            "margin": concept_margin(f_s, f_c, f_k, names),
        }

    def look(self, batch: Batch) -> list[Tensor | None]:
        """The levels of a batch's pictures; of pictures that are used again only level 2."""
        again = self.plan.new < 1
        levels = self.model.image(batch.pixels, finest=0 if batch.groups else 2)
        if again:
            if self.seen is None:
                self.seen = levels[2].new_zeros(STORE, *levels[2].shape[1:])
            self.seen[batch.slots[: len(batch.pixels)]] = levels[2].detach()
            levels[2] = self.seen[batch.slots]
        return levels

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """All terms of a batch, unweighted; names that begin with `_` are only reported."""
        frozen = bool(self.stage.trains)
        with torch.set_grad_enabled(not frozen):
            levels = self.look(batch)
        terms = {}
        if batch.texts:
            names = self.meaning(self.captions, CONCEPT)
            terms |= self.text_losses(batch.texts, names) | self.dense_losses(levels, batch.labels, names)
        sums, found = defaultdict(list), {}
        for group in batch.groups:
            if self.args.stage == "joint" and group.level == "concept":
                found["concept"] = Found(group, self.model.encode_text(group.ids, CONCEPT))
                continue
            part, found[group.level] = self.prompt_losses(levels, group)
            for name, value in part.items():
                sums[name].append((value, len(group.ids)))
        for name, values in sums.items():
            terms[name] = sum(v * n for v, n in values) / sum(n for _, n in values)
        if self.args.stage == "joint" and len(found) == 3:
            terms |= self.alignment_losses(found)
        return terms

    # --- the loop --------------------------------------------------------------------------------

    def rate(self) -> float:
        """Warm-up, then a cosine to a twentieth over the stage's pictures."""
        total = self.args.pictures or self.stage.pictures
        done = min(1.0, self.pictures / total)
        shape = 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * done))
        return (
            self.args.rate_scale
            * self.stage.rate
            * shape
            * min(1.0, (self.steps - self.warm_from + 1) / WARM_UP)
        )

    def step(self, batch: Batch) -> dict[str, float]:
        """One optimiser step; returns what to log."""
        batch = batch.to(self.device)
        terms = self.losses(batch)
        weights = WEIGHTS | {n: float(v) for n, v in self.args.weights}
        total = sum(weights[name] * value for name, value in terms.items() if name[0] != "_")
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        norm = nn.utils.clip_grad_norm_(list(self.parameters.values()), 10.0)
        if not torch.isfinite(norm):
            print(f"step {self.steps}: a gradient is not finite; skipped", flush=True)
            return {}
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate() * group["share"]
        self.optimizer.step()
        self.steps += 1
        self.pictures += len(batch.slots)
        self.average()
        return {"total": total.item(), "norm": norm.item()} | {k: v.item() for k, v in terms.items()}

    @torch.no_grad()
    def average(self) -> None:
        """Moves the averaged weights."""
        decay = min(0.998, (1 + self.steps) / (10 + self.steps))
        state = self.model.state_dict()
        names = [n for n in state if not self.stage.trains or n in self.parameters]
        if not names:
            return
        torch._foreach_lerp_([self.ema[n] for n in names], [state[n] for n in names], 1 - decay)

    def examine(self, exam: Exam | None) -> None:
        """Scores the averaged weights and appends a row a set."""
        if exam is None or not self.stage.exams:
            return
        model = Sam3I(self.config).to(self.device)
        model.load_state_dict(self.ema)
        for name, row in exam.take(model, self.stage.exams).items():
            head = {"pictures": self.pictures, "seconds": round(self.seconds), "set": name}
            append(self.file.with_suffix(".eval.csv"), head | {k: round(v, 4) for k, v in row.items()})
            print(f"{self.pictures:8} {name:26}", *(f"{k} {v:.3f}" for k, v in row.items()), flush=True)

    def run(self) -> None:
        """Trains until the stage's pictures are seen, the time is over or a signal comes."""
        args = self.args
        total = args.pictures or self.stage.pictures
        batches = stream(
            self.config, args.state, args.bpe, self.plan, args.seed + self.pictures, args.workers
        )
        exam = Exam(self.config, args.state, self.tokenizer, 120, 40) if self.stage.exams else None
        stop = []
        signal.signal(signal.SIGTERM, lambda *_: stop.append(1))
        begin = saved = examined = time.time()
        sums: dict[str, list[float]] = defaultdict(list)
        before, cpu = self.seconds, time.process_time()
        while self.pictures < total and not stop and time.time() - begin < 60 * args.minutes:
            for name, value in self.step(next(batches)).items():
                sums[name].append(value)
            self.seconds = before + time.time() - begin
            if self.steps % args.log_steps == 0:
                self.log(sums, args.log_steps / (time.process_time() - cpu))
                sums, cpu = defaultdict(list), time.process_time()
            if time.time() - saved > 60 * args.save_minutes:
                self.save()
                saved = time.time()
            if time.time() - examined > 60 * args.eval_minutes:
                self.examine(exam)
                examined, cpu = time.time(), time.process_time()
        self.save()
        self.examine(exam)

    def log(self, sums: dict[str, list[float]], steps_per_cpu_second: float) -> None:
        """Appends mean losses."""
        speed = steps_per_cpu_second * self.plan.pictures
        row = {
            "pictures": self.pictures,
            "seconds": round(self.seconds),
            "pictures_per_cpu_s": round(speed, 2),
        }
        row |= {"rate": f"{self.rate():.2e}"} | {k: round(sum(v) / len(v), 4) for k, v in sums.items()}
        append(self.file.with_suffix(".log.csv"), row)
        print(*(f"{k} {v}" for k, v in row.items()), flush=True)


def read_start(file: Path, device: torch.device) -> dict:
    """A checkpoint, or weights that were exported: these have no helpers, so train stage `helpers` first."""
    if file.suffix == ".safetensors":
        return {"ema": {k: v.float() for k, v in load_file(file, str(device)).items()}, "helpers": {}}
    return torch.load(file, map_location=device, weights_only=True)


def shorten(ids: Tensor) -> Tensor:
    """Drops the columns that are padding everywhere: exact for text type 1, which is causal."""
    return ids[:, : int((ids != 0).sum(1).max())]


def first_positive(picture: Tensor, present: Tensor, count: int) -> Tensor:
    """One prompt with a target for each of the first `count` pictures that has one: `[rows]`."""
    rows, seen = [], set()
    for i, (p, there) in enumerate(zip(picture.tolist(), present.tolist(), strict=True)):
        if there and p < count and p not in seen:
            seen.add(p)
            rows.append(i)
    return torch.tensor(rows, dtype=torch.long, device=picture.device)


def masked_mean(features: Tensor, real: Tensor) -> Tensor:
    """Mean over the real positions: `[b, t, d]`, `[b, t]` -> `[b, d]`."""
    weight = real.to(features.dtype)[..., None]
    return (features * weight).sum(1) / weight.sum(1)


def append(path: Path, row: dict) -> None:
    """Adds a row to a CSV file; columns that are new are added to its head."""
    rows = []
    if path.exists():
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
    head = list(dict.fromkeys([*(rows[0] if rows else ()), *row]))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=head, restval="")
        writer.writeheader()
        writer.writerows([*rows, row])


def main() -> None:
    """Reads the arguments and trains."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--bpe", type=Path, required=True)
    parser.add_argument("--stage", choices=STAGES, required=True)
    parser.add_argument("--config", type=Path, default=Path(__file__).parent / "config.json")
    parser.add_argument("--start", type=Path, help="a checkpoint or exported weights to start from")
    parser.add_argument("--pictures", type=int, default=0, help="length of the stage and its schedule")
    parser.add_argument("--rate-scale", type=float, default=1.0)
    parser.add_argument("--trunk-rate", type=float, default=TRUNK_RATE, help="share of the rate, image part")
    parser.add_argument("--batch", type=int, default=1, help="multiplies the pictures of a step")
    parser.add_argument("--kinds", nargs="*", default=[], help="kinds of simple instruction (default all)")
    parser.add_argument(
        "--weights", nargs="*", default=[], type=lambda w: tuple(w.split("=")), help="losses, such as class=2"
    )
    parser.add_argument("--minutes", type=float, default=1e9)
    parser.add_argument("--eval-minutes", type=float, default=10)
    parser.add_argument("--save-minutes", type=float, default=3)
    parser.add_argument("--log-steps", type=int, default=50)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.set_flush_denormal(True)
    torch.set_float32_matmul_precision("high")
    Trainer(args).run()


if __name__ == "__main__":
    main()
