"""Draws the example scenes and lets the binary answer them.

    python examples.py draw --state DIR --out ../../examples
    python examples.py answer --sam3i "cargo run -q --release --" --out ../../examples

`draw` writes the pictures and `scenes.json`, what is asked and what is meant, in the annotation format.
`answer` asks all of it, writes an overlay a scene and the `README.md` with how well each answer fits.
Scenes are drawn until every instruction is clear; nobody looks at what the model makes of them.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from heldout import KEYS, AnnotationFile
from prompts import GAP, RATIO, Prompt, iou
from things import IRREGULAR, THINGS, pluralise
from world import Art, Object, Scene, World

SIDE = 320
SEED = 2026
TRIES = 20000
KINDS = {thing.name: i for i, thing in enumerate(THINGS)}

Rule = Callable[[Scene], "set[int] | None"]
"""The objects an instruction means in a scene; `None` where it is not clear."""


# --- what instructions mean ------------------------------------------------------------------------


def called(scene: Scene, name: str) -> list[int]:
    """The objects of a name, which may begin with a colour."""
    colour, _, rest = name.partition(" ")
    if name in KINDS:
        return [i for i, o in enumerate(scene.objects) if o.thing == KINDS[name]]
    return [i for i in called(scene, rest) if scene.objects[i].colour == colour]


def all_of(*names: str) -> Rule:
    """Everything of these names; each must be there."""

    def rule(scene: Scene) -> set[int] | None:
        found = [called(scene, name) for name in names]
        return {i for group in found for i in group} if all(found) else None

    return rule


def only(name: str) -> Rule:
    """Everything of a name with a colour, where the thing is there in another colour too."""

    def rule(scene: Scene) -> set[int] | None:
        found, kind = called(scene, name), called(scene, name.partition(" ")[2])
        return set(found) if 0 < len(found) < len(kind) else None

    return rule


def nothing(*names: str) -> Rule:
    """Nothing, because nothing of these names is there."""
    return lambda scene: None if any(called(scene, name) for name in names) else set()


def extreme(name: str, measure: Callable[[Object], float], gap: float = GAP) -> Rule:
    """The one of at least two for which `measure` is least, by a margin."""

    def rule(scene: Scene) -> set[int] | None:
        group = sorted(called(scene, name), key=lambda i: measure(scene.objects[i]))
        if len(group) < 2:
            return None
        best, second = (measure(scene.objects[i]) for i in group[:2])
        return {group[0]} if second - best >= gap else None

    return rule


def beside(name: str, other: str, measure: Callable[[Object], float]) -> Rule:
    """Those of several whose `measure` is less than that of the only `other`, by a margin; not all."""

    def rule(scene: Scene) -> set[int] | None:
        group, anchors = called(scene, name), called(scene, other)
        if len(anchors) != 1:
            return None
        anchor = measure(scene.objects[anchors[0]])
        gaps = {i: anchor - measure(scene.objects[i]) for i in group}
        chosen = {i for i, gap in gaps.items() if gap > 0}
        clear = all(abs(gap) >= GAP for gap in gaps.values())
        return chosen if clear and 0 < len(chosen) < len(group) else None

    return rule


def nearest(name: str, other: str) -> Rule:
    """The one of several that is nearest to the only `other`, by a margin."""

    def rule(scene: Scene) -> set[int] | None:
        anchors = called(scene, other)
        if len(anchors) != 1:
            return None
        at = np.array(scene.objects[anchors[0]].centre)
        away = lambda o: float(np.linalg.norm(np.array(o.centre) - at))
        return extreme(name, away, 1.5 * GAP)(scene)

    return rule


def left(o: Object) -> float:
    """Less is further left."""
    return o.centre[0]


def right(o: Object) -> float:
    """Less is further right."""
    return -o.centre[0]


def up(o: Object) -> float:
    """Less is higher."""
    return o.centre[1]


def small(o: Object) -> float:
    """Less is smaller; a difference is the logarithm of a ratio."""
    return float(np.log(o.area))


def large(o: Object) -> float:
    """Less is larger."""
    return -small(o)


# --- the scenes ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Example:
    """A scene to find and what is asked of it; the first instruction is the one that is drawn."""

    name: str
    style: str
    repeated: bool
    things: str
    asked: tuple[tuple[str, str, Rule], ...]


EXAMPLES = (
    Example(
        "umbrella",
        "noto",
        True,
        "cat, umbrella, dog, tree, gift",
        (
            ("simple", "the cat left of the umbrella", beside("cat", "umbrella", left)),
            ("concept", "cat", all_of("cat")),
            ("complex", "something to keep the rain off", all_of("umbrella")),
            ("concept", "rabbit", nothing("rabbit")),
        ),
    ),
    Example(
        "fruit",
        "fluent",
        True,
        "apple, banana, pizza, lemon, coffee cup",
        (
            ("concept", "red apple", only("red apple")),
            ("simple", "the leftmost apple", extreme("apple", left)),
            ("complex", "something that keeps the doctor away", all_of("apple")),
            ("concept", "strawberry", nothing("strawberry")),
        ),
    ),
    Example(
        "cars",
        "twemoji",
        True,
        "car, bicycle, tree, bell, dog",
        (
            ("simple", "the rightmost car", extreme("car", right)),
            ("concept", "blue car", only("blue car")),
            ("complex", "something to pedal through the park", all_of("bicycle")),
            ("concept", "yellow car", nothing("yellow car")),
        ),
    ),
    Example(
        "dogs",
        "noto",
        True,
        "dog, soccer ball, tree, cat, bell",
        (
            ("simple", "the biggest dog", extreme("dog", large, float(np.log(RATIO)))),
            ("concept", "the dogs", all_of("dog")),
            ("complex", "the one that barks", all_of("dog")),
            ("complex", "something to kick into the goal", all_of("soccer ball")),
        ),
    ),
    Example(
        "party",
        "fluent",
        False,
        "gift, cake, balloon, guitar, camera, coffee cup, rabbit, scissors",
        (
            ("complex", "what would you use to take photos", all_of("camera")),
            ("concept", "balloon", all_of("balloon")),
            ("complex", "something to blow out candles", all_of("cake")),
            ("complex", "something to open the door", nothing("key")),
        ),
    ),
    Example(
        "desk",
        "twemoji",
        True,
        "book, coffee cup, alarm clock, light bulb, key",
        (
            ("simple", "the book nearest to the coffee cup", nearest("book", "coffee cup")),
            ("concept", "book", all_of("book")),
            ("complex", "what helps you stay awake with a hot drink", all_of("coffee cup")),
            ("simple", "the smallest guitar", nothing("guitar")),
        ),
    ),
    Example(
        "animals",
        "noto",
        True,
        "elephant, car, key, sunflower, penguin",
        (
            ("complex", "everything with a heartbeat", all_of("elephant", "penguin")),
            ("simple", "the smallest elephant", extreme("elephant", small, float(np.log(RATIO)))),
            ("complex", "something that has a trunk", all_of("elephant")),
            ("concept", "penguin", all_of("penguin")),
        ),
    ),
    Example(
        "sky",
        "fluent",
        True,
        "airplane, rocket, tree, bear, guitar",
        (
            ("simple", "the highest airplane", extreme("airplane", up)),
            ("complex", "something that flies to the moon", all_of("rocket")),
            ("concept", "airplane", all_of("airplane")),
            ("complex", "which of these makes honey", nothing("bee")),
        ),
    ),
)


def find(art: Art, example: Example, seed: int) -> tuple[Scene, list[Prompt]]:
    """The first scene in which every instruction is clear."""
    world = World(art, SIDE, np.random.default_rng(seed), bank=0)
    known = [KINDS[name] for name in example.things.split(", ")]
    art.things = lambda style: known
    for _ in range(TRIES):
        scene = world.scene(example.repeated, example.style)
        meant = [rule(scene) for _, _, rule in example.asked]
        if all(m is not None for m in meant):
            pairs = zip(example.asked, meant, strict=True)
            prompts = [Prompt(t, level, frozenset(m), "example", frozenset(m)) for (level, t, _), m in pairs]
            return scene, prompts
    raise SystemExit(f"no clear scene for {example.name}")


def draw(state: Path, out: Path) -> None:
    """Writes the pictures and what is asked."""
    out.mkdir(parents=True, exist_ok=True)
    art, file, meant = Art(state), AnnotationFile(), []
    for i, example in enumerate(EXAMPLES):
        scene, prompts = find(art, example, SEED + i)
        Image.fromarray(scene.image).save(out / f"{example.name}.png", optimize=True)
        for prompt in prompts:
            file.add(f"{example.name}.png", scene, prompt)
            meant.append(in_words(scene, prompt))
    for image, words in zip(file.images, meant, strict=True):
        image["meant"] = words
    file.write(out / "scenes.json")


def in_words(scene: Scene, prompt: Prompt) -> str:
    """What an instruction means: `2 cats`."""
    names = Counter(THINGS[scene.objects[i].thing].name for i in prompt.targets)
    plural = lambda name: IRREGULAR.get(name) or pluralise(name)
    return ", ".join(f"{n} {plural(k) if n > 1 else k}" for k, n in sorted(names.items())) or "nothing"


# --- the answers -----------------------------------------------------------------------------------


@dataclass
class Asked:
    """An instruction of `scenes.json`."""

    level: str
    text: str
    meant: str
    truth: np.ndarray

    def options(self) -> list[str]:
        """How the command is asked it."""
        return ["--level", self.level, "-p", self.text]


def unpack(rle: dict) -> np.ndarray:
    """The mask of a COCO run-length string."""
    counts, value, shift = [], 0, 0
    for character in rle["counts"].encode():
        bits = character - 48
        value |= (bits & 0x1F) << shift
        shift += 5
        if bits & 0x20:
            continue
        value -= (bits & 0x10) << (shift - 4) if bits & 0x10 else 0
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value, shift = 0, 0
    flat = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
    return flat.reshape(rle["size"], order="F")


def read_scenes(folder: Path) -> dict[str, list[Asked]]:
    """What is asked, by picture."""
    stored = json.loads((folder / "scenes.json").read_text())
    masks = defaultdict(list)
    for annotation in stored["annotations"]:
        masks[annotation["image_id"]].append(unpack(annotation["segmentation"]))
    scenes = defaultdict(list)
    for image in stored["images"]:
        texts = [(level, text) for level, key in KEYS.items() for text in image["text_inst_input"][key]]
        truth = np.any(masks[image["id"]], axis=0)
        scenes[image["file_name"]] += [Asked(level, text, image["meant"], truth) for level, text in texts]
    return scenes


def segment(sam3i: str, picture: Path, asked: list[Asked], *options: str) -> dict:
    """Runs the command; returns its report."""
    questions = [part for question in asked for part in question.options()]
    line = [*shlex.split(sam3i), "segment", str(picture), *questions, *options, "--json", "--quiet"]
    return json.loads(subprocess.run(line, check=True, stdout=subprocess.PIPE).stdout)


def verdict(asked: Asked, instances: list[dict]) -> str:
    """How well an answer fits, in a table's cell."""
    if not asked.truth.any():
        return f"**{len(instances)} found**" if instances else "nothing"
    if not instances:
        return "**nothing**"
    value = iou(np.any([unpack(i["rle"]) for i in instances], axis=0), asked.truth)
    cell = f"{len(instances)} found, IoU {value:.2f}"
    return cell if value >= 0.5 else f"**{cell}**"


HEAD = """\
# Scenes to try

Eight scenes of the world that nano, the model inside the binary, was trained on: drawn things in three of its six art styles.
It never saw these scenes. On a fresh clone, without any download:

```sh
cargo run --release -- segment examples/{picture} --level {level} -p "{text}" --out-dir out
```

Each overlay shows the answer to the first instruction of its table. *Meant* is what an instruction means, *nano* what
the model answers, in bold where it is wrong (IoU below 0.5, or something where nothing is meant).
`scenes.json` holds all of this in the annotation format that `sam3i eval` reads.

Overlays and tables are made by one command:

```sh
# needs Python, with numpy and Pillow
python tools/nano/examples.py answer --sam3i "cargo run -q --release --" --out examples
```
"""
TAIL = """
The scenes are composed of drawings from Noto Color Emoji (SIL OFL 1.1), Fluent Emoji (Microsoft, MIT) and Twemoji
(Twitter, Inc and other contributors, CC-BY 4.0): see [NOTICE](../NOTICE).
"""


def answer(sam3i: str, out: Path) -> None:
    """Asks everything; writes the overlays and the README."""
    scenes = read_scenes(out)
    first = scenes[f"{EXAMPLES[0].name}.png"][0]
    text = HEAD.format(picture=f"{EXAMPLES[0].name}.png", level=first.level, text=first.text)
    wrong = 0
    for file_name, asked in scenes.items():
        overlays = ("--format", "overlay", "--out-dir", str(out / "overlays"))
        segment(sam3i, out / file_name, asked[:1], *overlays)
        name = Path(file_name).stem
        text += f"\n## {name}\n\n![{asked[0].text}](overlays/{name}.overlay.png)\n\n"
        text += "| level | instruction | *meant* | *nano* |\n|---|---|---|---|\n"
        report = segment(sam3i, out / file_name, asked)
        for question, prompt in zip(asked, report["prompts"], strict=True):
            cell = verdict(question, prompt["instances"])
            wrong += cell.startswith("**")
            text += f"| `{question.level}` | {question.text} | {question.meant} | {cell} |\n"
    (out / "README.md").write_text(text + TAIL)
    count = sum(len(asked) for asked in scenes.values())
    print(f"examples: {count - wrong} of {count} instructions answered rightly")


def main() -> None:
    """Draws or answers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("draw", "answer"))
    parser.add_argument("--state", type=Path, help="the state directory (draw)")
    parser.add_argument("--sam3i", help="the command and its first arguments (answer)")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    if args.what == "draw":
        if args.state is None:
            parser.error("draw needs --state")
        draw(args.state, args.out)
    else:
        if args.sam3i is None:
            parser.error("answer needs --sam3i")
        answer(args.sam3i, args.out)


if __name__ == "__main__":
    main()
