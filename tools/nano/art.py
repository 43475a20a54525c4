"""Renders the emoji art to sprites: run once, writes `sprites.npz` into the state directory.

    python art.py --packages DIR --state DIR

`DIR` holds the unpacked packages (README.md says how to get them). Sprites are RGBA, trimmed to what
is opaque, 128 pixels on the longer side, one per style, thing and colour.
"""

from __future__ import annotations

import argparse
import io
import json
from pathlib import Path

import numpy as np
import resvg_py
from PIL import Image, ImageDraw, ImageFont

from things import DISTRACTORS, THINGS

SIDE = 128
SEEN_STYLES = ("noto", "fluent", "twemoji")
"""The styles of the held-out scenes that are called seen."""
FURTHER_STYLES = ("noto_v1", "emojitwo", "fluent_3d")
"""Trained on beside them, half as often each: what has seen six styles knows more of a seventh."""
TRAINED_STYLES = SEEN_STYLES * 2 + FURTHER_STYLES
"""A scene takes one of these."""
UNSEEN_STYLE = "fxemoji"
HUES = {"green": 0.36, "blue": 0.6, "yellow": 0.14}
"""Where red is turned to, as a share of the colour circle."""


def noto(packages: Path, code: str) -> Image.Image:
    """Noto Color Emoji (SIL OFL 1.1): bitmap strikes of Debian's font."""
    path = next(packages.glob("**/NotoColorEmoji.ttf"))
    font = ImageFont.truetype(str(path), 109)
    image = Image.new("RGBA", (160, 160))
    ImageDraw.Draw(image).text((12, 12), chr(int(code, 16)), font=font, embedded_color=True)
    return image


def from_svg(svg: str) -> Image.Image:
    """Renders an SVG document."""
    png = resvg_py.svg_to_bytes(svg_string=svg, width=SIDE, height=SIDE)
    return Image.open(io.BytesIO(bytes(png))).convert("RGBA")


def twemoji(packages: Path, code: str) -> Image.Image:
    """Twemoji (drawings CC-BY 4.0): one SVG a code point."""
    return from_svg(next(packages.glob(f"twemoji*/package/{code}.svg")).read_text())


def iconify(prefix: str, packages: Path, code: str) -> Image.Image:
    """An icon set in Iconify's JSON: bodies by name, names by code point."""
    folder = next(packages.glob(f"*-{prefix}-[0-9]*/package"))
    icons = json.loads((folder / "icons.json").read_text())
    name = iconify_name(prefix, packages, code)
    name = icons.get("aliases", {}).get(name, {}).get("parent", name)
    icon = icons["icons"][name]
    width, height = (icon.get(k, icons.get(k, 16)) for k in ("width", "height"))
    left, top = icon.get("left", 0), icon.get("top", 0)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{left} {top} {width} {height}">'
    return from_svg(head + icon["body"] + "</svg>")


FXEMOJI_NAMES = json.loads((Path(__file__).parent / "fxemoji_names.json").read_text())


def iconify_name(prefix: str, packages: Path, code: str) -> str:
    """The icon's name for a code point. Fluent's table serves the other sets too, but for fxemoji."""
    folder = next(packages.glob("*-fluent-emoji-flat-[0-9]*/package"))
    table = FXEMOJI_NAMES if prefix == "fxemoji" else json.loads((folder / "chars.json").read_text())
    return table.get(code) or table[f"{code}-fe0f"]


STYLES = {
    "noto": noto,
    "fluent": lambda packages, code: iconify("fluent-emoji-flat", packages, code),
    "twemoji": twemoji,
    "noto_v1": lambda packages, code: iconify("noto-v1", packages, code),
    "emojitwo": lambda packages, code: iconify("emojione", packages, code),
    "fluent_3d": lambda packages, code: iconify("fluent-emoji", packages, code),
    "fxemoji": lambda packages, code: iconify("fxemoji", packages, code),
}


MISCOLOURED = {
    "noto_v1": {"car/red", "car/green", "car/yellow", "book/red", "heart/red"},
    "emojitwo": {"book/orange"},
}
"""Drawings of another colour than they are to have: blue cars, a pink heart."""


def trim(image: Image.Image) -> Image.Image:
    """Cuts to the opaque part and scales its longer side to `SIDE`."""
    alpha = np.asarray(image)[..., 3] > 127
    rows, cols = np.flatnonzero(alpha.any(1)), np.flatnonzero(alpha.any(0))
    image = image.crop((cols[0], rows[0], cols[-1] + 1, rows[-1] + 1))
    scale = SIDE / max(image.size)
    return image.resize([max(1, round(s * scale)) for s in image.size], Image.Resampling.LANCZOS)


def turn_hue(image: Image.Image, colour: str) -> Image.Image:
    """Turns the reds of a drawing to another hue, leaving its other colours."""
    alpha = image.getchannel("A")
    hsv = np.asarray(image.convert("RGB").convert("HSV")).astype(np.float32)
    hue = hsv[..., 0] / 255
    red = (hue < 0.09) | (hue > 0.88)
    hsv[..., 0] = np.where(red, (hue + HUES[colour]) % 1.0, hue) * 255
    if colour == "yellow":
        hsv[..., 2] = np.where(red, np.minimum(hsv[..., 2] * 1.25, 255), hsv[..., 2])
    out = Image.fromarray(hsv.astype(np.uint8), "HSV").convert("RGBA")
    out.putalpha(alpha)
    return out


def drawings() -> list[tuple[str, str, str]]:
    """(key, code point, hue) of everything to draw; keys are `thing/colour` or `distractor/code`."""
    rows = []
    for thing in THINGS:
        for colour, code in thing.art:
            base, _, hue = colour.partition(">")
            rows.append((f"{thing.name}/{hue or base}", code, hue))
    return rows + [(f"distractor/{code}", code, "") for code in DISTRACTORS]


def render(packages: Path) -> dict[str, np.ndarray]:
    """All sprites by `style/thing/colour`; a style's missing drawings are left out and reported."""
    sprites = {}
    for style, draw in STYLES.items():
        for key, code, hue in drawings():
            if key in MISCOLOURED.get(style, ()):
                continue
            try:
                image = trim(draw(packages, code))
            except (KeyError, StopIteration):
                print(f"{style} lacks {key} ({code})")
                continue
            sprites[f"{style}/{key}"] = np.asarray(turn_hue(image, hue) if hue else image)
    return sprites


def sheet(sprites: dict[str, np.ndarray], cell: int = 48) -> Image.Image:
    """A contact sheet: a row a style, to look over."""
    keys = [key for key, _, _ in drawings()]
    out = Image.new("RGB", (cell * len(keys), cell * len(STYLES)), (150, 160, 170))
    for row, style in enumerate(STYLES):
        for col, key in enumerate(keys):
            if (sprite := sprites.get(f"{style}/{key}")) is not None:
                image = Image.fromarray(sprite)
                image.thumbnail((cell, cell))
                out.paste(image, (col * cell, row * cell), image)
    return out


def main() -> None:
    """Renders and saves the sprites and a contact sheet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--packages", type=Path, required=True)
    parser.add_argument("--state", type=Path, required=True)
    args = parser.parse_args()
    args.state.mkdir(parents=True, exist_ok=True)
    sprites = render(args.packages)
    np.savez_compressed(args.state / "sprites.npz", **sprites)
    sheet(sprites).save(args.state / "sprites.png")
    print(len(sprites), "sprites")


if __name__ == "__main__":
    main()
