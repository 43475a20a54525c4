"""Instructions for scenes at three levels, with the objects they mean.

Every instruction is clear by a margin: "leftmost" needs a winner by `GAP`, "biggest" by `RATIO`;
unclear draws are redrawn, never replaced by an easier kind. `python prompts.py --state DIR` measures the
two baselines that read no (or little) text; `--show` prints examples.
"""

from __future__ import annotations

import argparse
import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from things import (
    ACT_FRAMES,
    GROUP_FRAMES,
    GROUPS,
    THINGS,
    USE_FRAMES,
    Thing,
    held_out,
    trained,
)
from world import Object, Scene, World

GAP = 0.07
"""Least difference of places, as a share of the side, for words such as left or nearest."""
RATIO = 1.35
"""Least ratio of areas for words such as biggest."""
REDUNDANT = 0.03
"""How often a simple instruction is tried whose name alone would do (one cat, "the cat left of the tree")."""
LEVELS = ("concept", "simple", "complex")


@dataclass(frozen=True)
class Prompt:
    """An instruction and the objects it means (none for a no-target instruction)."""

    text: str
    level: str
    targets: frozenset[int]
    kind: str
    """How the instruction was made, for reports."""
    named: frozenset[int] = frozenset()
    """All objects of the named kind: what "right category, all instances" answers."""
    held_out: bool = False
    """Whether its wording is kept out of training."""
    cue: str = ""
    """What tells the targets from others of the name, one of `CUES` (of simple instructions)."""
    anchors: tuple[int, ...] = ()
    """The other things it speaks of, in their order."""


class Meant(NamedTuple):
    """A simple instruction under construction: what it says and means."""

    text: str
    targets: set[int]
    cue: str
    anchors: tuple[int, ...] = ()


def names_of(obj: Object) -> list[str]:
    """Every concept name an object carries: usual name, synonyms, and each with its colour."""
    thing = THINGS[obj.thing]
    coloured = [f"{obj.colour} {thing.name}"] if obj.colour else []
    return [*thing.names, *coloured]


class Author:
    """Writes instructions for scenes."""

    def __init__(self, rng: np.random.Generator, held: bool | None = False) -> None:
        """`held`: False draws trained wordings of complex instructions, True only held-out ones."""
        self.rng, self.held = rng, held
        self.kinds = KIND_NAMES
        self.redundant_share = REDUNDANT

    def pick(self, options):  # noqa: ANN001, ANN201
        """One of a sequence."""
        return options[int(self.rng.integers(len(options)))]

    def write(self, scene: Scene, level: str, positive: bool, tries: int = 30) -> Prompt | None:
        """An instruction of a level, or `None` when the scene has no clear one."""
        for _ in range(tries):
            prompt = getattr(self, level)(scene, positive)
            if prompt and bool(prompt.targets) == positive:
                return prompt
        return None

    # --- concept ---------------------------------------------------------------------------------

    def concept(self, scene: Scene, positive: bool) -> Prompt | None:
        """A noun phrase: all its instances."""
        names = defaultdict(set)
        for i, obj in enumerate(scene.objects):
            for name in names_of(obj):
                names[name].add(i)
        if positive:
            obj = self.pick(scene.objects)
            coloured = obj.colour and self.rng.random() < 0.6
            thing = THINGS[obj.thing]
            usual = self.rng.random() < 0.7
            plain = thing.name if usual else self.pick(thing.names)
            name = f"{obj.colour} {thing.name}" if coloured else plain
            kind = "colour" if coloured else "name"
            return self._concept(name, thing, frozenset(names[name]), kind)
        return self.absent_concept(scene, names)

    def absent_concept(self, scene: Scene, names: dict) -> Prompt | None:
        """A name that nothing in the scene carries; half of them a near miss."""
        near = [
            (f"{c} {THINGS[o.thing].name}", THINGS[o.thing])
            for o in scene.objects
            if o.colour
            for c in colours_of(THINGS[o.thing])
        ]
        if not near or self.rng.random() < 0.3:
            groups = {g for o in scene.objects for g in THINGS[o.thing].groups}
            related = [t for t in THINGS if groups & set(t.groups) - {"object"}]
            pool = related if related and self.rng.random() < 0.5 else THINGS
            near = [(t.name, t) for t in pool]
        name, thing = self.pick(near)
        return None if name in names else self._concept(name, thing, frozenset(), "absent")

    def _concept(self, name: str, thing: Thing, targets: frozenset[int], kind: str) -> Prompt:
        """Wraps a name: mostly bare, sometimes plural or with an article."""
        roll = self.rng.random()
        if roll < 0.1 and name == thing.name:
            name = thing.plural
        elif roll < 0.2:
            name = f"the {name}"
        elif roll < 0.28:
            name = f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
        return Prompt(name, "concept", targets, kind, targets)

    # --- simple ----------------------------------------------------------------------------------

    def simple(self, scene: Scene, positive: bool) -> Prompt | None:
        """An instruction that names its target and tells it from others of the name."""
        if not positive and self.rng.random() < 0.6:
            return self.absent_simple(scene)
        if positive and self.rng.random() < self.redundant_share:
            index = self.pick(scene.objects).thing
            same = [i for i, o in enumerate(scene.objects) if o.thing == index]
            text = self.redundant(scene, same)
            return Prompt(text, "simple", frozenset(same), "redundant", frozenset(same))
        groups = defaultdict(list)
        for i, obj in enumerate(scene.objects):
            groups[obj.thing].append(i)
        several = [g for g in groups.values() if len(g) > 1]
        if not several:
            return None
        group = self.pick(several)
        shares = np.array([RARE.get(k, 1) for k in self.kinds])
        kind = str(self.rng.choice(self.kinds, p=shares / shares.sum()))
        found = SIMPLE_KINDS[kind](self, scene, group)
        if found is None:
            return None
        named, targets = frozenset(group), frozenset(found.targets)
        return Prompt(found.text, "simple", targets, kind, named, cue=found.cue, anchors=found.anchors)

    def absent_simple(self, scene: Scene) -> Prompt | None:
        """A simple instruction about a thing that is not there."""
        present = {o.thing for o in scene.objects}
        absent = [t for i, t in enumerate(THINGS) if i not in present]
        other = THINGS[self.pick(scene.objects).thing]
        noun, way = self.pick(absent).name, self.pick(WAYS)
        size = self.pick(SIZE_WORDS["biggest"] + SIZE_WORDS["smallest"])
        text = self.pick(
            (
                self.pick(way.most).format(noun),
                f"the {size} {noun}",
                f"the {noun} {self.pick(way.relation)} the {other.name}",
                f"the {other.name} {self.pick(way.relation)} the {noun}",
            )
        )
        return Prompt(text, "simple", frozenset(), "absent")

    def noun(self, scene: Scene, group: list[int]) -> str:
        """The name of a group of objects of one kind."""
        thing = THINGS[scene.objects[group[0]].thing]
        return thing.name if self.rng.random() < 0.8 else self.pick(thing.names)

    def extreme(self, scene: Scene, group: list[int]) -> Meant | None:
        """The leftmost, rightmost, topmost, lowest."""
        way = self.pick(WAYS)
        ranked = way.ranked(scene, group)
        if way.at(scene, ranked[1]) - way.at(scene, ranked[0]) < GAP:
            return None
        return Meant(self.pick(way.most).format(self.noun(scene, group)), {ranked[0]}, way.adjective)

    def size(self, scene: Scene, group: list[int]) -> Meant | None:
        """The biggest or smallest."""
        word = self.pick(tuple(SIZE_WORDS))
        ranked = by_size(scene, group, word)
        if area_ratio(scene, ranked[0], ranked[1]) < RATIO:
            return None
        return Meant(f"the {self.pick(SIZE_WORDS[word])} {self.noun(scene, group)}", {ranked[0]}, word)

    def relation(self, scene: Scene, group: list[int]) -> Meant | None:
        """Those on one side of something that is there once."""
        anchor = self.anchor(scene, group)
        if anchor is None:
            return None
        way = self.pick(WAYS)
        gaps = {i: way.at(scene, anchor) - way.at(scene, i) for i in group}
        if any(0 < abs(g) < GAP for g in gaps.values()) or all(g > 0 for g in gaps.values()):
            return None
        targets = {i for i, g in gaps.items() if g >= GAP}
        other = THINGS[scene.objects[anchor].thing].name
        text = f"the {self.noun(scene, group)} {self.pick(way.relation)} the {other}"
        return Meant(text, targets, way.relation[0], (anchor,))

    def nearest(self, scene: Scene, group: list[int]) -> Meant | None:
        """The nearest to, or farthest from, something that is there once."""
        anchor = self.anchor(scene, group)
        if anchor is None:
            return None
        near = self.rng.random() < 0.65
        ranked = sorted(group, key=lambda i: distance(scene, i, anchor), reverse=not near)
        gap = abs(distance(scene, ranked[0], anchor) - distance(scene, ranked[1], anchor))
        if gap < 1.3 * GAP:
            return None
        words = ("nearest to", "closest to", "next to") if near else ("farthest from", "furthest from")
        other = THINGS[scene.objects[anchor].thing].name
        text = f"the {self.noun(scene, group)} {self.pick(words)} the {other}"
        return Meant(text, {ranked[0]}, words[0], (anchor,))

    def order(self, scene: Scene, group: list[int]) -> Meant | None:
        """The second or third from a side."""
        way = self.pick(WAYS)
        ranked = way.ranked(scene, group)
        steps = np.diff([way.at(scene, i) for i in ranked])
        if (steps < GAP).any():
            return None
        place = int(self.rng.integers(1, min(len(group), 3)))
        word = ("second", "third")[place - 1]
        text = f"the {word} {self.noun(scene, group)} from {way.side}"
        return Meant(text, {ranked[place]}, f"{word} from {way.side}")

    def count(self, scene: Scene, group: list[int]) -> Meant | None:
        """The two leftmost, the two biggest."""
        if len(group) < 3:
            return None
        thing = THINGS[scene.objects[group[0]].thing]
        if self.rng.random() < 0.5:
            way = self.pick(WAYS)
            ranked = way.ranked(scene, group)
            if way.at(scene, ranked[2]) - way.at(scene, ranked[1]) < GAP:
                return None
            return Meant(f"the two {way.adjective} {thing.plural}", set(ranked[:2]), f"two {way.adjective}")
        word = self.pick(tuple(SIZE_WORDS))
        ranked = by_size(scene, group, word)
        if area_ratio(scene, ranked[1], ranked[2]) < RATIO:
            return None
        return Meant(f"the two {self.pick(SIZE_WORDS[word])} {thing.plural}", set(ranked[:2]), f"two {word}")

    def exception(self, scene: Scene, group: list[int]) -> Meant | None:
        """All but the leftmost, biggest, ..."""
        found = self.extreme(scene, group) if self.rng.random() < 0.6 else self.size(scene, group)
        if found is None:
            return None
        noun = THINGS[scene.objects[group[0]].thing]
        words = found.text.split()
        adjective = words[1] if words[1] in EXCEPTABLE else None
        if adjective is None:
            return None
        head = f"all {noun.plural}" if self.rng.random() < 0.5 else f"every {noun.name}"
        text = f"{head} except the {adjective} one"
        return Meant(text, set(group) - found.targets, f"except {found.cue}")

    def half(self, scene: Scene, group: list[int]) -> Meant | None:
        """Those in one half of the picture."""
        way = self.pick(WAYS)
        at = {i: way.at(scene, i) - way.middle for i in group}
        if any(abs(v) < GAP / 2 for v in at.values()) or all(v < 0 for v in at.values()):
            return None
        thing = THINGS[scene.objects[group[0]].thing]
        inside = {i for i, v in at.items() if v < 0}
        return Meant(f"the {thing.plural} in the {way.half} half", inside, f"{way.half} half")

    def between(self, scene: Scene, group: list[int]) -> Meant | None:
        """The one between two other things."""
        single = self.singles(scene, group)
        if len(single) < 2:
            return None
        a, b = (single[i] for i in self.rng.choice(len(single), 2, replace=False))
        span = distance(scene, a, b)
        detour = {i: (distance(scene, i, a) + distance(scene, i, b)) / span for i in group}
        inside = {i for i, v in detour.items() if v < 1.2}
        if len(inside) != 1 or any(1.2 <= v < 1.45 for v in detour.values()):
            return None
        first, second = (THINGS[scene.objects[i].thing].name for i in (a, b))
        text = f"the {self.noun(scene, group)} between the {first} and the {second}"
        return Meant(text, inside, "between", (a, b))

    def coloured(self, scene: Scene, group: list[int]) -> Meant | None:
        """A colour, alone or with a place, where the kind shows several."""
        objects = scene.objects
        shade = objects[self.pick(group)].colour
        same = [i for i in group if objects[i].colour == shade]
        if not shade or len(same) == len(group):
            return None
        name = THINGS[objects[group[0]].thing].name
        if len(same) > 1 and self.rng.random() < 0.7:
            return self.coloured_extreme(scene, same, f"{shade} {name}")
        anchor = self.anchor(scene, group)
        way = self.pick(WAYS)
        if anchor is not None and len(same) == 1 and self.rng.random() < 0.4:
            if way.at(scene, anchor) - way.at(scene, same[0]) < GAP:
                return None
            other = THINGS[objects[anchor].thing].name
            text = f"the {shade} {name} {self.pick(way.relation)} the {other}"
            return Meant(text, set(same), way.relation[0], (anchor,))
        return Meant(f"the {name} that is {shade}", set(same), "colour")

    def coloured_extreme(self, scene: Scene, same: list[int], name: str) -> Meant | None:
        """The leftmost red one, and so on."""
        way = self.pick(WAYS)
        ranked = way.ranked(scene, same)
        if way.at(scene, ranked[1]) - way.at(scene, ranked[0]) < GAP:
            return None
        return Meant(self.pick(way.most).format(name), {ranked[0]}, way.adjective)

    def singles(self, scene: Scene, group: list[int]) -> list[int]:
        """Objects outside the group whose kind is there once."""
        kinds = [o.thing for o in scene.objects]
        return [i for i, k in enumerate(kinds) if i not in group and kinds.count(k) == 1]

    def anchor(self, scene: Scene, group: list[int]) -> int | None:
        """One of `singles`."""
        single = self.singles(scene, group)
        return self.pick(single) if single else None

    # --- complex ---------------------------------------------------------------------------------

    def complex(self, scene: Scene, positive: bool) -> Prompt | None:
        """A function, habit or use; no noun."""
        if self.rng.random() < 0.2:
            return self.group(scene, positive)
        present = {o.thing for o in scene.objects}
        pool = sorted(present) if positive else [i for i in range(len(THINGS)) if i not in present]
        index = self.pick(pool)
        thing = THINGS[index]
        lists = [(t, f) for t, f in ((thing.act, ACT_FRAMES), (thing.use, USE_FRAMES)) if t]
        fragments, frames = self.pick(lists)
        fragment = held_out(fragments) if self.held else self.pick(trained(fragments))
        if fragment is None:
            return None
        targets = frozenset(i for i, o in enumerate(scene.objects) if o.thing == index)
        text = self.pick(frames).format(fragment)
        return Prompt(text, "complex", targets, "function", targets, bool(self.held))

    def text_sample(self, level: str) -> tuple[str, list[int]]:
        """A text alone, without a scene, and the things it means (for the text encoder)."""
        if level == "complex" and self.rng.random() < 0.15:
            name = self.pick(tuple(GROUPS))
            text = self.pick(GROUP_FRAMES).format(self.pick(trained(GROUPS[name])))
            return text, [i for i, t in enumerate(THINGS) if name in t.groups]
        index = int(self.rng.integers(len(THINGS)))
        thing = THINGS[index]
        if level == "concept":
            return self._concept(self.pick(thing.names), thing, frozenset(), "").text, [index]
        if level == "simple":
            return self.bare_simple(thing), [index]
        lists = [(t, f) for t, f in ((thing.act, ACT_FRAMES), (thing.use, USE_FRAMES)) if t]
        fragments, frames = self.pick(lists)
        return self.pick(frames).format(self.pick(trained(fragments))), [index]

    def bare_simple(self, thing: Thing) -> str:
        """A simple instruction for a thing, of no scene."""
        way, other = self.pick(WAYS), self.pick(THINGS).name
        size = self.pick(SIZE_WORDS["biggest"] + SIZE_WORDS["smallest"])
        return self.pick(
            (
                self.pick(way.most).format(thing.name),
                f"the {size} {thing.name}",
                f"the {thing.name} {self.pick(way.relation)} the {other}",
                f"the second {thing.name} from {way.side}",
                f"the two {way.adjective} {thing.plural}",
                f"every {thing.name} except the {way.adjective} one",
            )
        )

    def paired(self, scene: Scene) -> tuple[Prompt, Prompt, Prompt] | None:
        """A concept, a simple and a complex instruction that mean the same objects."""
        index = self.pick(scene.objects).thing
        thing = THINGS[index]
        targets = frozenset(i for i, o in enumerate(scene.objects) if o.thing == index)
        simple = self.redundant(scene, sorted(targets))
        lists = [(t, f) for t, f in ((thing.act, ACT_FRAMES), (thing.use, USE_FRAMES)) if t]
        fragments, frames = self.pick(lists)
        text = self.pick(frames).format(self.pick(trained(fragments)))
        made = (("concept", thing.name), ("simple", simple), ("complex", text))
        return tuple(Prompt(t, level, targets, "paired", targets) for level, t in made)

    def redundant(self, scene: Scene, group: list[int]) -> str:
        """A simple instruction for all objects of a kind."""
        thing = THINGS[scene.objects[group[0]].thing]
        if len(group) > 1:
            return self.pick((f"all the {thing.plural}", f"every {thing.name}", f"the {thing.plural}"))
        way, anchor = self.pick(WAYS), self.anchor(scene, group)
        if anchor is not None and way.at(scene, anchor) - way.at(scene, group[0]) >= GAP:
            other = THINGS[scene.objects[anchor].thing].name
            return f"the {thing.name} {self.pick(way.relation)} the {other}"
        return self.pick((f"the only {thing.name}", f"the {thing.name} in the picture"))

    def group(self, scene: Scene, positive: bool) -> Prompt | None:
        """A whole group of things: usually several answers."""
        name = self.pick(tuple(GROUPS))
        targets = frozenset(i for i, o in enumerate(scene.objects) if name in THINGS[o.thing].groups)
        if len(targets) * 2 > len(scene.objects):
            return None
        fragment = held_out(GROUPS[name]) if self.held else self.pick(trained(GROUPS[name]))
        text = self.pick(GROUP_FRAMES).format(fragment)
        return Prompt(text, "complex", targets, "group", targets, bool(self.held))


def colours_of(thing: Thing) -> list[str]:
    """The colours a thing comes in."""
    return [c.rpartition(">")[2] for c, _ in thing.art]


@dataclass(frozen=True)
class Way:
    """A direction: how to measure along it and how to say it."""

    axis: int
    sign: int
    adjective: str
    most: tuple[str, ...]
    relation: tuple[str, ...]
    side: str
    half: str

    def at(self, scene: Scene, index: int) -> float:
        """Where an object is; smaller is further this way."""
        return self.sign * scene.objects[index].centre[self.axis]

    @property
    def middle(self) -> float:
        """The middle of the picture on this scale."""
        return self.sign * 0.5

    def ranked(self, scene: Scene, group: list[int]) -> list[int]:
        """The furthest first."""
        return sorted(group, key=lambda i: self.at(scene, i))


WAYS = (
    Way(
        0,
        1,
        "leftmost",
        ("the leftmost {}", "the {} on the far left", "the {} furthest to the left"),
        ("left of", "to the left of", "on the left of"),
        "the left",
        "left",
    ),
    Way(
        0,
        -1,
        "rightmost",
        ("the rightmost {}", "the {} on the far right", "the {} furthest to the right"),
        ("right of", "to the right of", "on the right of"),
        "the right",
        "right",
    ),
    Way(
        1,
        1,
        "topmost",
        ("the topmost {}", "the highest {}", "the {} at the top"),
        ("above", "higher than", "over"),
        "the top",
        "upper",
    ),
    Way(
        1,
        -1,
        "lowest",
        ("the lowest {}", "the bottom {}", "the {} at the bottom"),
        ("below", "lower than", "under"),
        "the bottom",
        "lower",
    ),
)
SIZE_WORDS = {"biggest": ("biggest", "largest"), "smallest": ("smallest", "tiniest")}
EXCEPTABLE = {
    *("leftmost", "rightmost", "topmost", "highest", "lowest"),
    *("biggest", "largest", "smallest", "tiniest"),
}

SIMPLE_KINDS: dict[str, Callable] = {
    "extreme": Author.extreme,
    "size": Author.size,
    "relation": Author.relation,
    "nearest": Author.nearest,
    "order": Author.order,
    "count": Author.count,
    "exception": Author.exception,
    "half": Author.half,
    "between": Author.between,
    "colour": Author.coloured,
}


RARE = {"relation": 4, "between": 4, "colour": 4}
"""How much oftener a kind is tried because few scenes are clear enough for it."""
KIND_NAMES = tuple(SIMPLE_KINDS)
CUES = (
    "",
    "colour",
    "between",
    *("nearest to", "farthest from"),
    *(f"{n}{w}" for n in ("", "two ", "except ") for w in (*(w.adjective for w in WAYS), *SIZE_WORDS)),
    *(f"{n} from {w.side}" for n in ("second", "third") for w in WAYS),
    *(c for w in WAYS for c in (w.relation[0], f"{w.half} half")),
)
"""What can tell objects of a name apart; the first is "nothing does"."""


def distance(scene: Scene, a: int, b: int) -> float:
    """Between two centres, as a share of the side."""
    return math.dist(scene.objects[a].centre, scene.objects[b].centre)


def by_size(scene: Scene, group: list[int], word: str) -> list[int]:
    """The biggest (or smallest) first."""
    return sorted(group, key=lambda i: scene.objects[i].area, reverse=word == "biggest")


def area_ratio(scene: Scene, a: int, b: int) -> float:
    """The ratio of two areas, at least 1."""
    x, y = scene.objects[a].area, scene.objects[b].area
    return max(x, y) / min(x, y)


# --- baselines -------------------------------------------------------------------------------------


def union(scene: Scene, objects: frozenset[int]) -> np.ndarray:
    """The mask of several objects together."""
    return np.isin(scene.owner, list(objects)) if objects else np.zeros_like(scene.owner, bool)


def iou(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union; 0 when both are empty."""
    total = np.logical_or(a, b).sum()
    return float(np.logical_and(a, b).sum() / total) if total else 0.0


def baselines(scene: Scene, prompt: Prompt) -> tuple[float, float]:
    """IoU of "every object" and of "right category, all instances"."""
    truth = union(scene, prompt.targets)
    everything = frozenset(range(len(scene.objects)))
    return iou(union(scene, everything), truth), iou(union(scene, prompt.named), truth)


def measure_baselines(world: World, author: Author, count: int) -> None:
    """Prints both baselines a level, and the kinds of instruction drawn."""
    for level in LEVELS:
        rows, kinds = [], defaultdict(int)
        while len(rows) < count:
            scene = world.scene(level == "simple")
            if prompt := author.write(scene, level, positive=True):
                rows.append((*baselines(scene, prompt), len(prompt.targets)))
                kinds[prompt.kind] += 1
        blind, category, targets = np.array(rows).T
        print(
            f"{level:8} every object: gIoU {blind.mean():.3f} P@0.5 {(blind >= 0.5).mean():.3f};"
            f" right category: gIoU {category.mean():.3f} P@0.5 {(category >= 0.5).mean():.3f};"
            f" one target {np.mean(targets == 1):.2f}; {dict(kinds)}"
        )


def main() -> None:
    """Measures the baselines."""
    from world import Art

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--count", type=int, default=600)
    parser.add_argument("--show", action="store_true")
    args = parser.parse_args()
    rng = np.random.default_rng(7)
    world, author = World(Art(args.state), 112, rng, bank=50), Author(rng)
    if args.show:
        for _ in range(10):
            for level in LEVELS:
                scene = world.scene(level == "simple")
                for positive in (True, True, False):
                    print(author.write(scene, level, positive))
    measure_baselines(world, author, args.count)


if __name__ == "__main__":
    main()
