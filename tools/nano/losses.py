"""The training losses: matching, detection, masks, presence, alignment (training.md, section 4).

Deviations from the reference, on purpose: no one-to-many half; the class target of a matched query is 1;
terms are normalised by the number of objects, so a step's size does not depend on the batch. Of simple
instructions all objects they speak of are matched, the targets among them have class 1, the others are
negatives of full weight: so the same query always stands for an object, whether it is meant or not.
`python losses.py` checks the alignment terms against the specification's numbers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from model import Grounded, corners


@dataclass
class Targets:
    """What a batch of prompts speaks of. `T` is the largest number of objects of a prompt."""

    boxes: Tensor
    """`[b, T, 4]` cxcywh, anything where `real` is false."""
    real: Tensor
    """`[b, T]` bool."""
    meant: Tensor
    """`[b, T]` bool: the targets among them."""
    masks: Tensor
    """`[b, T, h, w]` coverage in [0, 1]."""

    @property
    def present(self) -> Tensor:
        """`[b]` f32: 1 where the prompt has a target."""
        return self.meant.any(1).float()

    @property
    def union(self) -> Tensor:
        """`[b, h, w]`: coverage by all targets together."""
        return (self.masks * self.meant[..., None, None]).sum(1).clamp(max=1)


Matching = tuple[Tensor, Tensor, Tensor]
"""Indices (prompt, query, object) of the matched pairs, each `[m]`."""
RIVAL = 2.0
"""Weight of a matched object that is not meant, as that of one that is."""


def giou(a: Tensor, b: Tensor) -> Tensor:
    """Generalised IoU of boxes xyxy, broadcast over the leading axes."""
    low, high = torch.maximum(a[..., :2], b[..., :2]), torch.minimum(a[..., 2:], b[..., 2:])
    inter = (high - low).clamp(min=0).prod(-1)
    area = lambda x: (x[..., 2:] - x[..., :2]).clamp(min=0).prod(-1)
    union = area(a) + area(b) - inter
    hull = torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])
    hull = hull.clamp(min=0).prod(-1)
    return inter / union.clamp(min=1e-6) - (hull - union) / hull.clamp(min=1e-6)


@torch.no_grad()
def match(p: Tensor, boxes: Tensor, targets: Targets) -> Matching:
    """Hungarian matching; p `[b, q, T or 1]` is how likely a query is of an object's kind."""
    p = p.clamp(1e-6, 1 - 1e-6)
    cost = 2 * (-0.25 * (1 - p) ** 2 * p.log() + 0.75 * p**2 * (1 - p).log())
    wanted = targets.boxes[:, None]
    cost = cost + 5 * (boxes[:, :, None] - wanted).abs().sum(-1)
    cost = cost - 2 * giou(corners(boxes)[:, :, None], corners(wanted))
    cost = cost.float().cpu().numpy()
    counts = targets.real.sum(1).tolist()
    rows = []
    for prompt, count in enumerate(counts):
        if count:
            query, target = linear_sum_assignment(cost[prompt, :, :count])
            rows.append(np.stack([np.full(len(query), prompt), query, target]))
    found = np.concatenate(rows, axis=1) if rows else np.zeros((3, 0), np.int64)
    return tuple(torch.from_numpy(found).to(p.device))


def class_loss(logits: Tensor, meant: Tensor, rival: Tensor) -> Tensor:
    """Meant queries towards 1, rivals towards 0, others as far as they are wrong; summed over `[b, q]`."""
    p = logits.sigmoid()
    weight = torch.where(rival, RIVAL, p.detach() ** 2)
    return torch.where(meant, 2 * F.softplus(-logits), weight * F.softplus(logits)).sum()


def dice(p: Tensor, target: Tensor) -> Tensor:
    """`1 - (2 sum pg + 1) / (sum p + sum g + 1)` over the last two axes."""
    sums = p.sum((-2, -1)) + target.sum((-2, -1))
    return 1 - (2 * (p * target).sum((-2, -1)) + 1) / (sums + 1)


def mask_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Cross entropy and dice of `[m, h, w]`, one value a mask.

    The cross entropy is not balanced between inside and outside: that draws the edge outwards.
    """
    bce = F.binary_cross_entropy_with_logits(logits, target, reduction="none").mean((-2, -1))
    return 4 * bce + dice(logits.sigmoid(), target)


def detection_losses(
    grounded: Grounded, targets: Targets, likely: list[Tensor] | None
) -> tuple[dict[str, Tensor], list[Matching]]:
    """Box, class and presence terms of every layer, summed; and the matchings.

    `likely` is how likely a query is of an object's kind, `[b, q, T]` a layer, where not all objects are
    meant: then the first layer, which cannot compare yet, has no class term. `_set` is the share of prompts
    with objects that are not meant whose objects are all told right by the last layer.
    """
    count = targets.real.sum().clamp(min=1)
    terms = {k: targets.boxes.new_zeros(()) for k in ("l1", "giou", "class", "presence")}
    has_target = targets.present
    matchings = []
    decoded = grounded.decoded
    layers = zip(grounded.logits, decoded.boxes, decoded.presence, strict=True)
    for i, (logits, boxes, presence) in enumerate(layers):
        p = likely[i] if likely else logits.sigmoid()[..., None]
        matchings.append(match(p.detach(), boxes, targets))
        prompt, query, target = matchings[-1]
        got, want = boxes[prompt, query], targets.boxes[prompt, target]
        terms["l1"] += (got - want).abs().sum() / count
        terms["giou"] += (1 - giou(corners(got), corners(want))).sum() / count
        terms["presence"] += F.binary_cross_entropy_with_logits(presence, has_target)
        meant, rival = (torch.zeros_like(logits, dtype=torch.bool) for _ in range(2))
        meant[prompt, query] = targets.meant[prompt, target]
        rival[prompt, query] = ~targets.meant[prompt, target]
        active = has_target > 0
        if i or not likely:
            terms["class"] += class_loss(logits[active], meant[active], rival[active]) / count
    if likely:
        terms["_set"] = sets_right(grounded.logits[-1], meant, rival)
    return terms, matchings


@torch.no_grad()
def sets_right(logits: Tensor, meant: Tensor, rival: Tensor) -> Tensor:
    """The share of prompts with rivals whose matched queries are all on the right side."""
    right = torch.where(logits > 0, ~rival, ~meant).all(1)
    asked = meant.any(1) & rival.any(1)
    return right[asked].sum() / asked.sum().clamp(min=1)


# --- alignment (stage joint) -----------------------------------------------------------------------


def kl_alignment(a: Tensor, b: Tensor) -> Tensor:
    """Symmetric KL of two maps' softmax over positions, `[b, h, w]` logits; targets without gradient."""
    one = lambda p, q: (q.softmax(1).detach() * (q.log_softmax(1).detach() - p.log_softmax(1))).sum(1)
    a, b = a.flatten(1), b.flatten(1)
    return (one(a, b).mean() + one(b, a).mean()) / 2


def hard_region(a: Tensor, b: Tensor, target: Tensor) -> Tensor:
    """Cross entropy weighted by where two maps disagree, `[b, h, w]`; averaged over the roles."""
    p, q = (x.sigmoid().clamp(1e-6, 1 - 1e-6) for x in (a, b))
    m = (p + q) / 2
    weight = (m * (m / (p * q).sqrt()).log()).detach()
    bce = lambda x: (weight * F.binary_cross_entropy_with_logits(x, target, reduction="none")).mean()
    return (bce(a) + bce(b)) / 2


def info_nce(simple: Tensor, complex_: Tensor, concepts: list[str]) -> Tensor:
    """InfoNCE between the two texts of a sample, `[b, d]` each; equal concepts count half."""
    b = len(concepts)
    f = F.normalize(torch.cat([simple, complex_]), dim=1)
    s = f @ f.T / 0.1
    same = torch.tensor([[x == y for y in concepts * 2] for x in concepts * 2], device=s.device)
    weight = torch.where(same, 0.5, 1.0)
    row = torch.arange(2 * b, device=s.device)
    partner = (row + b) % (2 * b)
    weight[row, partner] = 1.0
    weight[row, row] = 0.0
    top = s.max(1, keepdim=True).values.detach()
    total = (weight * (s - top).exp()).sum(1)
    return ((total + 1e-8).log() - (s[row, partner] - top[:, 0])).mean()


def concept_margin(simple: Tensor, complex_: Tensor, concept: Tensor, concepts: list[str]) -> Tensor:
    """The mean text of a sample is nearer its own concept than any other, by 0.2."""
    u = F.normalize((simple + complex_) / 2, dim=1)
    s = u @ F.normalize(concept, dim=1).T
    other = torch.tensor([[x != y for y in concepts] for x in concepts], device=s.device)
    worst = s.masked_fill(~other, -math.inf).max(1).values
    active = other.any(1)
    margin = (worst - s.diagonal() + 0.2).clamp(min=0)[active]
    return margin.mean() if active.any() else s.new_zeros(())


def check_alignment() -> None:
    """Compares with the numbers of training.md, section 4.5."""
    s = torch.tensor([[1, 0], [0.6, 0.8], [0, 2]])
    c = torch.tensor([[0.8, 0.6], [0, 1], [-1, 0.5]])
    k = torch.tensor([[1, 0.2], [0.1, 1], [0.9, 0.1]])
    names = ["cup", "cup", "dog"]
    a = torch.tensor([[[0.5, -1], [2, 0]], [[1.0, 1], [1, 1]]])
    b = torch.tensor([[[0, -1], [1, 0.5]], [[0, 2], [1, -3.0]]])
    union = torch.tensor([[[1.0, 0], [1, 0]], [[0, 0], [0, 1]]])
    pairs = [
        (info_nce(s, c, names), 1.8982469),
        (info_nce(s, c, ["a", "b", "c"]), 2.0715334),
        (concept_margin(s, c, k, names), 0.5130082),
        (kl_alignment(a, b), 0.4696585),
        (hard_region(a, b, union), 0.0631329),
    ]
    for got, want in pairs:
        print(f"{got.item():.7f} {want:.7f}")
        assert abs(got.item() - want) < 1e-6


if __name__ == "__main__":
    check_alignment()
