"""Records what PyTorch computes with the exported model, for the parity test of the engine.

    python record_goldens.py --model DIR --state DIR --bpe FILE --out DIR

One scene, three prompts (one a level). Writes `nano.png`, `nano.safetensors` and `nano.json`, named and
shaped as the goldens' README says; the tensors marked (*) there, and the image part's stages.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.numpy import save_file
from torch import Tensor

from data import TEXT_TYPE, load_tokenizer, normalise
from export import load_exported
from model import COMPLEX, Sam3I
from pictures import resize
from prompts import LEVELS, Author
from world import Art, Scene, World

THRESHOLD = 0.5
IMAGE_STAGES = ("vit.patch_embed", "vit.pos_added", "vit.ln_pre", "vit.block.", "fpn.0", "fpn.1", "fpn.2")
CASE_STAGES = ("text.features", "geo.out", "dec.hs", "dec.ref_boxes", "dec.presence_logits", "out.")
STAGE_NAMES = {"concept": "0_0", "simple": "1_1", "complex": "1_2"}


def wanted_image(name: str) -> bool:
    """Whether an image stage is recorded: block outputs, not what is inside them."""
    inner = name.startswith("vit.block.") and not name.split(".")[-1].isdigit()
    return name.startswith(IMAGE_STAGES) and not inner


def sequence_first(name: str, value: Tensor) -> Tensor:
    """Brings the recorded shapes of one prompt to the goldens': sequence before batch."""
    if name in ("text.features", "geo.out"):
        return value.transpose(0, 1)
    if name in ("dec.hs", "dec.ref_boxes"):
        return value.transpose(1, 2)
    return value


def final(out: dict[str, Tensor], height: int, width: int) -> dict[str, np.ndarray]:
    """The answer at the picture's size."""
    scores = out["out.scores"][0]
    keep = torch.nonzero(scores > THRESHOLD)[:, 0]
    logits = out["out.pred_masks"][:, keep]
    big = F.interpolate(logits, size=(height, width), mode="bilinear")[0] if len(keep) else logits[0]
    scale = torch.tensor([width, height, width, height])
    masks = (big > 0).flatten(1).numpy()
    return {
        "final.keep_index": keep.int().numpy(),
        "final.scores": scores[keep].numpy(),
        "final.boxes": (out["out.pred_boxes_xyxy"][0, keep] * scale).numpy(),
        "final.mask_probs_strided": big.sigmoid()[:, ::4, ::4].numpy(),
        "final.masks_packed": np.packbits(masks, axis=1),
    }


def choose(model: Sam3I, state: Path, tokenizer, seed: int) -> tuple[Scene, dict[str, str]]:  # noqa: ANN001
    """A scene with one clear instruction a level."""
    rng = np.random.default_rng(seed)
    world, author = World(Art(state), 2 * model.config.image_size, rng, bank=0), Author(rng)
    while True:
        scene = world.scene(repeated=True)
        prompts = {level: author.write(scene, level, positive=True) for level in LEVELS}
        if all(prompts.values()):
            return scene, {level: p.text for level, p in prompts.items()}


@torch.no_grad()
def record(model: Sam3I, image: np.ndarray, texts: dict[str, str], tokenizer) -> tuple[dict, list]:  # noqa: ANN001
    """All tensors and the list of cases."""
    small = resize(image, model.config.image_size)
    pixels = torch.from_numpy(normalise(small[None]))
    trace: dict[str, Tensor] = {}
    levels = model.image(pixels, trace)
    tensors = {f"nano/{k}": v.numpy() for k, v in trace.items() if wanted_image(k)}
    tensors["nano/image.resized_u8"] = np.ascontiguousarray(np.moveaxis(small, -1, 0))
    tensors["nano/image.pixel_values"] = pixels.numpy()
    cases = []
    for level, text in texts.items():
        ids = torch.tensor([tokenizer.encode(text)])
        trace = {}
        out = model.predict(levels, torch.zeros(1, dtype=torch.long), ids, TEXT_TYPE[level], trace=trace)
        trace |= out
        last = f"enc.layer.{model.config.enc_layers - 1}"
        found = {
            k: sequence_first(k, v).numpy() for k, v in trace.items() if k.startswith((*CASE_STAGES, last))
        }
        found |= {"text.tokens": ids.numpy(), "text.mask": (ids == 0).numpy().astype(np.uint8)}
        found |= final(out, *image.shape[:2])
        tensors |= {f"nano/{level}/{k}": v for k, v in found.items()}
        cases.append(case_of(level, text, len(found["final.keep_index"])))
    return tensors, cases


def case_of(level: str, text: str, kept: int) -> dict:
    """The manifest's entry of a prompt."""
    text_type = 3 if TEXT_TYPE[level] == COMPLEX else TEXT_TYPE[level]
    return {
        "key": f"nano/{level}",
        "image": "nano",
        "name": level,
        "text": text,
        "encoded_text": text,
        "text_type": text_type,
        "stage": STAGE_NAMES[level],
        "boxes_cxcywh": [],
        "box_labels": [],
        "threshold": THRESHOLD,
        "kept": kept,
        "detail": "light",
    }


def main() -> None:
    """Draws, runs, writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--bpe", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = load_exported(args.model)
    tokenizer = load_tokenizer(args.bpe, model.config)
    scene, texts = choose(model, args.state, tokenizer, args.seed)
    tensors, cases = record(model, scene.image, texts, tokenizer)
    args.out.mkdir(parents=True, exist_ok=True)
    Image.fromarray(scene.image).save(args.out / "nano.png", optimize=True)
    tensors = {k: np.ascontiguousarray(v) for k, v in tensors.items()}
    save_file(tensors, args.out / "nano.safetensors")
    side = scene.image.shape[0]
    manifest = {
        "config": json.loads((args.model / "config.json").read_text()),
        "file": "nano.safetensors",
        "images": [{"id": "nano", "file": "nano.png", "width": side, "height": side}],
        "cases": cases,
        "tensors": {k: {"shape": list(v.shape), "dtype": str(v.dtype)} for k, v in tensors.items()},
    }
    (args.out / "nano.json").write_text(json.dumps(manifest, indent=1) + "\n")
    for case in cases:
        print(f"{case['name']:8} kept {case['kept']}: {case['text']}")


if __name__ == "__main__":
    main()
