"""Turns a checkpoint into the model that ships: `model.safetensors` and `config.json`.

python export.py --weights CHECKPOINT --out DIR [--dtype f16]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from model import Config, Sam3I

MOST_BYTES = 24 * 2**20


def export(weights: Path, config: Path, out: Path, dtype: torch.dtype) -> Path:
    """Writes the averaged weights under the SAM3-I names; returns the file."""
    saved = torch.load(weights, map_location="cpu", weights_only=True)
    state = {k: v.to(dtype).contiguous() for k, v in saved["ema"].items()}
    largest = max(state, key=lambda k: state[k].float().abs().max())
    if not torch.isfinite(state[largest]).all():
        raise SystemExit(f"{largest} does not fit into {dtype}")
    out.mkdir(parents=True, exist_ok=True)
    file = out / "model.safetensors"
    save_file(state, file, metadata={"format": "pt", "name": "nano"})
    (out / "config.json").write_text(json.dumps(json.loads(config.read_text()), indent=2) + "\n")
    return file


def load_exported(folder: Path) -> Sam3I:
    """The exported model, in f32 and evaluation mode."""
    model = Sam3I(Config.read(folder / "config.json")).eval()
    state = load_file(folder / "model.safetensors")
    model.load_state_dict({k: v.float() for k, v in state.items()}, strict=True)
    return model


def main() -> None:
    """Exports and reports the size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--config", type=Path, default=Path(__file__).parent / "config.json")
    parser.add_argument("--dtype", choices=("f16", "f32"), default="f16")
    args = parser.parse_args()
    dtype = {"f16": torch.float16, "f32": torch.float32}[args.dtype]
    file = export(args.weights, args.config, args.out, dtype)
    model = load_exported(args.out)
    count = sum(p.numel() for p in model.parameters())
    size = file.stat().st_size
    print(f"{file.name}: {size / 2**20:.2f} MiB, {count} parameters")
    if size > MOST_BYTES:
        raise SystemExit("larger than 24 MiB")


if __name__ == "__main__":
    main()
