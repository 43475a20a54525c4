"""Draws scenes: backgrounds, emoji objects with true visible masks, distractors, artefacts.

`python world.py --state DIR --sheet FILE` draws a contact sheet; `prompts.py` writes the instructions.
Sizes and places are shares of the picture's side, so a scene can be drawn at any size.
"""

from __future__ import annotations

import argparse
import io
import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from art import TRAINED_STYLES
from things import THINGS

SIZES = tuple(0.24 + 0.037 * i for i in range(8))
"""Longer side of an object as a share of the picture's side."""
ANGLES = (-20, -10, 0, 10, 20)
LEAST_VISIBLE = 0.7
"""An object is never covered beyond this share of its pixels."""
MOST_OBJECTS = 8


@dataclass
class Object:
    """An object of a scene, measured on its visible mask."""

    thing: int
    """Index into `THINGS`."""
    colour: str
    """A colour where the thing comes in several, else empty."""
    centre: tuple[float, float]
    """Centre of the visible box, x and y as shares of the side."""
    area: float
    """Visible pixels as a share of the picture."""
    box: tuple[float, float, float, float]
    """Visible box, x0, y0, x1, y1 as shares of the side."""


@dataclass
class Scene:
    """A drawn scene."""

    image: np.ndarray
    """`[side, side, 3]` u8."""
    owner: np.ndarray
    """`[side, side]` i64: index of the object a pixel shows, -1 for none."""
    objects: list[Object]
    style: str

    def mask(self, index: int) -> np.ndarray:
        """The visible mask of an object, `[side, side]` bool."""
        return self.owner == index


class Art:
    """The sprites of some styles."""

    def __init__(self, state: Path, styles: tuple[str, ...] = TRAINED_STYLES) -> None:
        stored = np.load(state / "sprites.npz")
        self.styles = styles
        self.sprites = {k: stored[k] for k in stored.files if k.split("/")[0] in styles}
        self.colours = {}
        for style in styles:
            for i, thing in enumerate(THINGS):
                prefix = f"{style}/{thing.name}/"
                found = [k[len(prefix) :] for k in self.sprites if k.startswith(prefix)]
                if found:
                    self.colours[style, i] = found
        self.distractors = {s: [k for k in self.sprites if k.startswith(f"{s}/distr")] for s in styles}
        self.stamp = lru_cache(maxsize=40000)(self._stamp)

    def things(self, style: str) -> list[int]:
        """The things a style has."""
        return [i for i in range(len(THINGS)) if (style, i) in self.colours]

    def _stamp(self, key: str, pixels: int, angle: int) -> tuple[np.ndarray, np.ndarray]:
        """A sprite turned and scaled: colours `[h, w, 3]` f32 and alpha `[h, w, 1]` f32 in [0, 1]."""
        image = Image.fromarray(self.sprites[key])
        if angle:
            image = image.rotate(angle, Image.Resampling.BICUBIC, expand=True)
        image = image.crop(image.getchannel("A").point(lambda a: 255 * (a > 127)).getbbox())
        scale = pixels / max(image.size)
        size = [max(4, round(s * scale)) for s in image.size]
        stamp = np.asarray(
            image.resize(size, Image.Resampling.BOX if scale < 0.5 else Image.Resampling.BILINEAR)
        )
        return stamp[..., :3].astype(np.float32), stamp[..., 3:].astype(np.float32) / 255


# --- backgrounds -----------------------------------------------------------------------------------


def colour(rng: np.random.Generator) -> np.ndarray:
    """A background colour: any hue, mostly pale or dull."""
    base = rng.uniform(40, 250, 3)
    return base.mean() + (base - base.mean()) * rng.uniform(0.2, 0.8)


def gradient(rng: np.random.Generator, side: int) -> np.ndarray:
    """A linear gradient between two colours."""
    angle = rng.uniform(0, 2 * math.pi)
    y, x = np.mgrid[:side, :side] / side
    t = (x * math.cos(angle) + y * math.sin(angle) + 1) / 2
    return colour(rng) * (1 - t[..., None]) + colour(rng) * t[..., None]


def stripes(rng: np.random.Generator, side: int) -> np.ndarray:
    """Soft stripes at any angle."""
    angle, count = rng.uniform(0, math.pi), rng.uniform(2, 10)
    y, x = np.mgrid[:side, :side] / side
    wave = np.sin(2 * math.pi * count * (x * math.cos(angle) + y * math.sin(angle)))
    t = np.clip(wave * rng.uniform(0.5, 4), -1, 1)[..., None] * rng.uniform(0.1, 0.5) + 0.5
    return colour(rng) * (1 - t) + colour(rng) * t


def checker(rng: np.random.Generator, side: int) -> np.ndarray:
    """Cells of a few related colours."""
    cells = int(rng.integers(3, 9))
    palette = np.stack([colour(rng) for _ in range(3)])
    at = np.arange(side) * cells // side
    grid = palette.mean(0) + (palette[rng.integers(0, 3, (cells, cells))] - palette.mean(0)) * 0.6
    return grid[at[:, None], at[None, :]]


def smooth_noise(rng: np.random.Generator, side: int) -> np.ndarray:
    """Clouds: coarse noise enlarged."""
    coarse = int(rng.integers(3, 12))
    small = colour(rng) + rng.normal(0, rng.uniform(8, 45), (coarse, coarse, 3))
    image = Image.fromarray(np.clip(small, 0, 255).astype(np.uint8))
    return np.asarray(image.resize((side, side), Image.Resampling.BICUBIC)).astype(np.float64)


def ground(rng: np.random.Generator, side: int) -> np.ndarray:
    """Two surfaces that meet at a horizon."""
    horizon = int(side * rng.uniform(0.25, 0.75))
    kinds = (gradient, smooth_noise)
    upper, lower = (kinds[rng.integers(2)](rng, side) for _ in range(2))
    return np.concatenate([upper[:horizon], lower[horizon:]])


BACKGROUNDS = (gradient, stripes, checker, smooth_noise, ground)


def background(rng: np.random.Generator, side: int) -> np.ndarray:
    """`[side, side, 3]` f32 in 0..255."""
    return BACKGROUNDS[rng.integers(len(BACKGROUNDS))](rng, side).astype(np.float32)


# --- scenes ----------------------------------------------------------------------------------------


def spread_categories(rng: np.random.Generator, known: list[int]) -> list[int]:
    """3 to 8 objects of mostly different kinds; sometimes one kind comes two or three times."""
    count = int(rng.integers(3, MOST_OBJECTS + 1))
    picks = [known[i] for i in rng.choice(len(known), count, replace=False)]
    if count > 3 and rng.random() < 0.5:
        picks[1] = picks[0]
        if count > 5 and rng.random() < 0.4:
            picks[2] = picks[0]
    return picks


def repeated_categories(rng: np.random.Generator, known: list[int]) -> list[int]:
    """One kind two to four times, sometimes a second kind twice, and one to three others."""
    first, second, *others = (known[i] for i in rng.choice(len(known), 5, replace=False))
    picks = [first] * int(rng.choice([2, 3, 4], p=[0.45, 0.4, 0.15]))
    if rng.random() < 0.35:
        picks += [second] * 2
    picks += others[: int(rng.integers(1, 4))]
    return picks[:MOST_OBJECTS]


class World:
    """Draws scenes of one size from a random generator; `varied` changes the colours of what is drawn."""

    def __init__(
        self, art: Art, side: int, rng: np.random.Generator, bank: int = 400, varied: bool = False
    ) -> None:
        self.art, self.side, self.rng, self.varied = art, side, rng, varied
        self.bank = [background(rng, side).astype(np.uint8) for _ in range(bank)]
        self.noise = rng.normal(0, 1, (8, side, side, 3)).astype(np.float32)

    def backdrop(self) -> np.ndarray:
        """A background of the bank, turned and mirrored, or a fresh one without a bank."""
        rng = self.rng
        if not self.bank:
            return background(rng, self.side)
        image = self.bank[rng.integers(len(self.bank))]
        image = np.rot90(image, int(rng.integers(4)))
        image = image[:, ::-1] if rng.random() < 0.5 else image
        return image.astype(np.float32) + rng.uniform(-15, 15, 3).astype(np.float32)

    def scene(self, repeated: bool, style: str | None = None) -> Scene:
        """Draws a scene; `repeated` has a kind several times (for simple instructions)."""
        rng = self.rng
        style = style or self.art.styles[rng.integers(len(self.art.styles))]
        draw = repeated_categories if repeated else spread_categories
        picks = draw(rng, self.art.things(style))
        canvas = self.backdrop()
        owner = np.full((self.side, self.side), -1, np.int64)
        labels: list[tuple[int, str]] = []
        full: list[int] = []
        largest = 0.50 if len(picks) < 6 else 0.42
        for i in rng.permutation(len(picks)):
            colours = self.art.colours[style, picks[i]]
            shade = colours[rng.integers(len(colours))]
            key = f"{style}/{THINGS[picks[i]].name}/{shade}"
            if self.place(canvas, owner, full, key, largest):
                labels.append((picks[i], shade))
        self.clutter(canvas, owner, full, style)
        objects = measure(owner, labels)
        return Scene(self.finish(canvas), owner, objects, style)

    def place(self, canvas: np.ndarray, owner: np.ndarray, full: list[int], key: str, largest: float) -> bool:
        """Pastes a sprite where it covers no object too much; gives up after some tries."""
        rng = self.rng
        sizes = [s for s in SIZES if s <= largest]
        pixels = round(sizes[rng.integers(len(sizes))] * self.side)
        rgb, alpha = self.art.stamp(key, pixels, ANGLES[rng.integers(len(ANGLES))])
        if rng.random() < 0.5:
            rgb, alpha = rgb[:, ::-1], alpha[:, ::-1]
        h, w = alpha.shape[:2]
        solid = alpha[..., 0] > 0.5
        visible = np.bincount(owner.ravel() + 1, minlength=len(full) + 1)[1:]
        spare = visible - LEAST_VISIBLE * np.array(full)
        for _ in range(12):
            y, x = int(rng.integers(self.side - h + 1)), int(rng.integers(self.side - w + 1))
            region = owner[y : y + h, x : x + w]
            covered = np.bincount(region[solid] + 1, minlength=len(full) + 1)[1:]
            if (covered <= spare).all():
                break
        else:
            return False
        part = canvas[y : y + h, x : x + w]
        rgb = vary(rgb, rng) if self.varied else rgb
        light = rng.uniform(0.85, 1.1)
        part += (np.minimum(rgb * light, 255) - part) * alpha
        region[solid] = len(full)
        full.append(int(solid.sum()))
        return True

    def clutter(self, canvas: np.ndarray, owner: np.ndarray, full: list[int], style: str) -> None:
        """Sometimes adds one or two things that no prompt names; they own no pixels."""
        rng, keys = self.rng, self.art.distractors[style]
        if not keys or rng.random() > 0.25:
            return
        for _ in range(int(rng.integers(1, 3))):
            self.place(canvas, owner, full, keys[rng.integers(len(keys))], 0.35)

    def finish(self, canvas: np.ndarray) -> np.ndarray:
        """Noise and JPEG artefacts; f32 -> u8."""
        rng = self.rng
        if rng.random() < 0.6:
            canvas = canvas + self.noise[rng.integers(len(self.noise))] * np.float32(rng.uniform(1, 10))
        image = np.clip(canvas, 0, 255).astype(np.uint8)
        return jpeg(image, int(rng.integers(45, 95))) if rng.random() < 0.2 else image


def vary(rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Other contrast, saturation and tint, as another artist's palette has; what is red stays red."""
    grey = rgb.mean(axis=-1, keepdims=True)
    rgb = grey + (rgb - grey) * np.float32(rng.uniform(0.65, 1.3))
    rgb = 128 + (rgb - 128) * np.float32(rng.uniform(0.75, 1.2))
    return np.clip(rgb * rng.uniform(0.92, 1.08, 3).astype(np.float32), 0, 255)


def jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    """Through JPEG and back."""
    data = io.BytesIO()
    Image.fromarray(image).save(data, "JPEG", quality=quality)
    return np.asarray(Image.open(data))


def measure(owner: np.ndarray, labels: list[tuple[int, str]]) -> list[Object]:
    """Measures the visible masks; whatever is no object (clutter) is cleared from `owner`."""
    side = owner.shape[0]
    owner[owner >= len(labels)] = -1
    objects = []
    for i, (thing, shade) in enumerate(labels):
        mask = owner == i
        rows, cols = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        x0, y0, x1, y1 = cols[0], rows[0], cols[-1] + 1, rows[-1] + 1
        box = (x0 / side, y0 / side, x1 / side, y1 / side)
        centre = ((x0 + x1) / 2 / side, (y0 + y1) / 2 / side)
        objects.append(Object(thing, shade, centre, float(mask.sum()) / side**2, box))
    return objects


def main() -> None:
    """Draws a contact sheet of scenes and times the drawing."""
    import time

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--sheet", type=Path, required=True)
    args = parser.parse_args()
    world = World(Art(args.state), 112, np.random.default_rng(1), bank=100)
    out = Image.new("RGB", (8 * 116, 4 * 116))
    for i in range(32):
        image = Image.fromarray(world.scene(repeated=i % 2 == 1).image)
        out.paste(image, (i % 8 * 116, i // 8 * 116))
    out.save(args.sheet)
    for _ in range(1000):
        world.scene(False)
    start = time.process_time()
    for _ in range(500):
        world.scene(False)
    print(f"{500 / (time.process_time() - start):.0f} scenes per CPU second")


if __name__ == "__main__":
    main()
