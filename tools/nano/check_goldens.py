"""Compares `model.py` with recordings of the published model, stage by stage.

    python check_goldens.py GOLDENS_DIR [--cases micro tiny_a tiny_b]

Weights come from `ckpt/<name>.safetensors` where there is one, else from the names by the goldens'
synthesis rule. The tolerances are those of the goldens' README.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file
from torch import Tensor

from model import Config, Sam3I

ABSOLUTE = {
    "out.pred_masks": 5e-4,
    "out.pred_logits": 1e-4,
    "out.presence_logit": 1e-4,
    "out.scores": 2e-5,
    "out.pred_boxes": 2e-5,
    "out.pred_boxes_xyxy": 2e-5,
}
"""Absolute tolerances; every other tensor is held to `RELATIVE` times its standard deviation."""

RELATIVE = 1e-4

# (a, b) of the first rule whose name test holds: value = (2u - 1) a + b.
FIXED = [
    (lambda n: n.endswith("presence_token_head.layers.2.bias"), (0.02, 2.5)),
    (lambda n: n.endswith("hs_proj.bias"), (0.5, 0.0)),
    (lambda n: n.endswith("bias"), (0.05, 0.0)),
    (lambda n: n.endswith("token_embedding.weight"), (0.5, 0.0)),
    (lambda n: n.endswith("positional_embedding"), (0.25, 0.0)),
    (lambda n: n.endswith("trunk.pos_embed"), (0.5, 0.0)),
    (lambda n: n.endswith("reference_points.weight"), (2.0, 0.0)),
    (lambda n: n.endswith("query_embed.weight"), (1.75, 0.0)),
    (lambda n: n.endswith(("embed.weight", "presence_token.weight", "_token.weight")), (1.0, 0.0)),
    (lambda n: n.endswith("positional_encoding_gaussian_matrix"), (1.5, 0.0)),
]
GAINS = [
    ("mha_adapter.in_proj_weight", 1.0),
    ("qkv.weight", 1.5),
    ("in_proj_weight", 1.5),
    ("attn.proj.weight", 0.5),
    ("cross_attn.out_proj.weight", 0.3),
    ("ca_text.out_proj.weight", 0.3),
    ("out_proj.weight", 0.5),
    ("mlp.fc2.weight", 0.5),
    ("mlp.c_proj.weight", 0.5),
    ("up_proj.weight", 0.5),
    ("linear2.weight", 0.5),
    ("boxRPB_embed_", 2.0),
    ("hs_proj.weight", 2.0),
    ("prompt_proj.weight", 1.5),
    ("mask_embed.layers.", 1.2),
    ("presence_token_head.layers.2.weight", 1.5),
]


def spread(name: str, shape: tuple[int, ...]) -> tuple[float, float]:
    """The (a, b) of a tensor in the synthesis rule."""
    for test, values in FIXED:
        if test(name):
            return values
    if len(shape) == 1:
        return 0.1, 1.0
    if not name.endswith("weight"):
        return 0.5, 0.0
    gain = next((g for part, g in GAINS if part in name), 1.0)
    transposed = "dconv" in name or ".output_upscaling." in name
    fan_in = shape[0] if transposed else int(np.prod(shape[1:]))
    return gain * (3 / fan_in) ** 0.5, 0.0


def synth(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """A tensor's values from its name: SplitMix64 seeded with FNV-1a of the name."""
    seed = 0xCBF29CE484222325
    for byte in name.encode():
        seed = (seed ^ byte) * 0x100000001B3 % 2**64
    count = int(np.prod(shape))
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    a, b = spread(name, shape)
    u = (z >> np.uint64(40)).astype(np.float64) / 2**24
    return ((2 * u - 1) * a + b).astype(np.float32).reshape(shape)


def load(goldens: Path, name: str, config: Config) -> Sam3I:
    """The model of a recording, in evaluation mode."""
    model = Sam3I(config).eval()
    file = goldens / "ckpt" / f"{name}.safetensors"
    if file.exists():
        state = load_file(file)
    else:
        state = {k: synth(k, tuple(v.shape)) for k, v in model.state_dict().items()}
    model.load_state_dict({k: torch.from_numpy(v) for k, v in state.items()}, strict=True)
    return model


def trace_case(model: Sam3I, levels: list[Tensor], case: dict, ids: Tensor) -> dict[str, Tensor]:
    """Runs one recorded prompt with everything traced."""
    trace: dict[str, Tensor] = {}
    boxes = torch.tensor(case["boxes_cxcywh"]).reshape(-1, 4)
    labels = torch.tensor(case["box_labels"])
    text_type = {3: 4}.get(case["text_type"], case["text_type"])
    zero = torch.zeros(1, dtype=torch.long)
    trace |= model.predict(levels, zero, ids, text_type, boxes, labels, trace)
    return trace


def compare(recorded: dict[str, np.ndarray], ours: dict[str, Tensor], key: str) -> list[tuple]:
    """Rows (share of the tolerance used, name, largest difference) of all common tensors."""
    rows = []
    for name, value in ours.items():
        want = recorded.get(f"{key}/{name}")
        if want is None or want.dtype == np.uint8:
            continue
        got = value.detach().numpy()
        if got.size != want.size:
            raise SystemExit(f"{key}/{name}: {got.shape} here, {want.shape} recorded")
        # Ours is batch first, recordings are often sequence first: the same order for one prompt.
        worst = float(np.abs(got.reshape(want.shape) - want).max())
        rows.append((worst / ABSOLUTE.get(name, RELATIVE * max(float(want.std()), 1e-6)), name, worst))
    return rows


def check(goldens: Path, name: str) -> bool:
    """Checks one recording and prints the worst tensors."""
    manifest = json.loads((goldens / f"{name}.json").read_text())
    recorded = load_file(goldens / f"{name}.safetensors")
    model = load(goldens, name, Config.of(manifest["config"]))
    rows = []
    for image in (i["id"] for i in manifest["images"]):
        trace: dict[str, Tensor] = {}
        pixels = torch.from_numpy(recorded[f"{image}/image.pixel_values"])
        with torch.no_grad():
            levels = model.image(pixels, trace)
        rows += [(s, f"{image}/{n}", w) for s, n, w in compare(recorded, trace, image)]
        for case in (c for c in manifest["cases"] if c["image"] == image):
            ids = torch.from_numpy(recorded[f"{case['key']}/text.tokens"])
            ours = trace_case(model, levels, case, ids)
            rows += [(s, f"{case['key']}/{n}", w) for s, n, w in compare(recorded, ours, case["key"])]
    rows.sort(reverse=True)
    passed = rows[0][0] <= 1
    print(f"{name}: {len(rows)} tensors, {'agree' if passed else 'DIFFER'}; worst:")
    for share, tensor, worst in rows[:5]:
        print(f"  {share:8.3f} of the tolerance  {worst:.2e}  {tensor}")
    return passed


def main() -> None:
    """Checks the named recordings; exits with 1 when any differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("goldens", type=Path)
    parser.add_argument("--cases", nargs="+", default=["micro", "tiny_a", "tiny_b"])
    args = parser.parse_args()
    torch.set_num_threads(1)
    if not all([check(args.goldens, name) for name in args.cases]):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
