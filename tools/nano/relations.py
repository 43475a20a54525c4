"""What a query must know before it can compare itself with others: layers that only training uses.

"The leftmost cat" needs a query that knows it is a cat, where it is, and where the other cats are. The
score alone says only that an answer was wrong; the layers here ask the queries for these parts: what each
object is to the instruction (one of the named, one of the things it speaks of beside them, neither), its
own place and size, how far the named ones reach, where the other things are, and which comparison is meant.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from losses import Matching, Targets
from prompts import CUES

NAMED, ANCHOR, NEITHER = 0, 1, 2
"""What an object is to an instruction."""
REACH, ANCHORS = 6, 2


@dataclass
class Story:
    """What an instruction compares. `T` is as in `Targets`."""

    role: Tensor
    """`[b, T]`: `NAMED` or `ANCHOR`."""
    cue: Tensor
    """`[b]` into `CUES`."""
    own: Tensor
    """`[b, T, 5]`: centre, width, height and root of the visible area of every object."""
    reach: Tensor
    """`[b, REACH]`: of the named ones, least and most x, y and root of the area."""
    anchors: Tensor
    """`[b, ANCHORS, 2]`: centres of the other things, in the instruction's order."""
    has_anchor: Tensor
    """`[b, ANCHORS]` f32."""
    away: Tensor
    """`[b, T, ANCHORS]`: how far every object is from them."""


class Relations(nn.Module):
    """The layers, a set for every decoder layer."""

    def __init__(self, d: int, layers: int) -> None:
        super().__init__()
        make = lambda out: nn.ModuleList(nn.Linear(d, out) for _ in range(layers))
        self.role, self.cue, self.own = make(3), make(len(CUES)), make(5)
        self.reach, self.anchors = make(REACH), make(2 * ANCHORS)
        self.away = make(ANCHORS)
        self.text_cue = nn.Linear(d, len(CUES))

    def roles(self, queries: list[Tensor]) -> list[Tensor]:
        """Role logits `[b, q, 3]` of every layer."""
        return [head(h) for head, h in zip(self.role, queries, strict=True)]

    def forward(
        self,
        queries: list[Tensor],
        roles: list[Tensor],
        matchings: list[Matching],
        meaning: Tensor,
        targets: Targets,
        story: Story,
    ) -> dict[str, Tensor]:
        """The losses: role and cue, and the distances in shares of the side.

        meaning `[b, d]` is the mean text feature: the text alone says which comparison is meant.
        """
        sums = {k: roles[0].new_zeros(()) for k in ("role", "cue", "own", "reach", "anchor", "away")}
        active = targets.present > 0
        sums["text_cue"] = F.cross_entropy(self.text_cue(meaning[active]), story.cue[active])
        for i, (h, logits, matching) in enumerate(zip(queries, roles, matchings, strict=True)):
            prompt, query, target = matching
            wanted = torch.full(logits.shape[:2], NEITHER, device=h.device)
            wanted[prompt, query] = story.role[prompt, target]
            sums["role"] += role_loss(logits[active], wanted[active])
            known = h[prompt, query]
            sums["own"] += (self.own[i](known) - story.own[prompt, target]).abs().mean()
            named = story.role[prompt, target] == NAMED
            known, prompt, target = known[named], prompt[named], target[named]
            sums["cue"] += F.cross_entropy(self.cue[i](known), story.cue[prompt])
            if i:
                sums["reach"] += (self.reach[i](known) - story.reach[prompt]).abs().mean()
                gap = (self.anchors[i](known).view(-1, ANCHORS, 2) - story.anchors[prompt]).abs().mean(-1)
                there = story.has_anchor[prompt]
                far = (self.away[i](known) - story.away[prompt, target]).abs()
                sums["anchor"] += (gap * there).sum() / there.sum().clamp(min=1)
                sums["away"] += (far * there).sum() / there.sum().clamp(min=1)
        return sums


def role_loss(logits: Tensor, wanted: Tensor) -> Tensor:
    """Cross entropy; the many queries that are neither count little."""
    weight = torch.tensor([1.0, 1.0, 0.3], device=logits.device)
    return F.cross_entropy(logits.flatten(0, 1), wanted.flatten(), weight)
