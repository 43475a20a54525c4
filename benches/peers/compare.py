"""Times sam3i beside Hugging Face's `Sam3Model`, the whole model at 1008 pixels, in alternate runs on one machine.

    python compare.py --sam3i ../../target/release/sam3i --model DIR --dtype f32 bf16 --pairs 3

Both have random weights of the published sizes: `sam3i synth --config full.json -o DIR` makes ours, the library's own
start makes theirs. A pair is one run of theirs and one of ours, the order changing from pair to pair, so that a busy
machine hurts both. What is compared, in seconds of the clock:

* picture: vision encoder and neck. Ours also counts resizing the picture.
* prompt: text encoder, geometry encoder, fusion encoder, decoder, mask head, for a prompt not seen before. Ours makes the
  masks of the best five queries, as it does for a user; theirs makes all 200, it has no other way.

`bf16` is bf16 weights and activations on their side, `autocast` f32 weights under `torch.autocast`; ours is
`--dtype bf16` for both. Prints a row a run and the ratios of the medians; `--out FILE` keeps them as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
from transformers import Sam3Config, Sam3Model, __version__ as transformers_version

STAGES = ("picture", "prompt")
OURS = {"f32": "f32", "bf16": "bf16", "autocast": "bf16", "int8": "int8"}
"""Our type beside each of theirs; `int8` is ours alone, held against their bf16."""


class Peer:
    """`Sam3Model` with random weights in one type."""

    def __init__(self, kind: str) -> None:
        torch.manual_seed(1)
        kept = torch.bfloat16 if kind in ("bf16", "int8") else torch.float32
        self.model = Sam3Model(Sam3Config()).eval().to(kept)
        self.autocast = kind == "autocast"
        self.pixels = torch.rand(1, 3, 1008, 1008).to(kept) * 2 - 1
        self.ids = torch.full((1, 32), 49407)
        self.ids[0, :6] = torch.tensor([49406, 518, 3712, 530, 518, 49407])
        self.real = (torch.arange(32) < 6).long()[None]

    @torch.inference_mode()
    def run(self) -> dict[str, float]:
        """One picture, then one prompt on it: seconds of each."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self.autocast):
            start = time.perf_counter()
            vision = self.model.vision_encoder(self.pixels)
            middle = time.perf_counter()
            answer = self.model(vision_embeds=vision, input_ids=self.ids, attention_mask=self.real)
            end = time.perf_counter()
        assert answer.pred_masks.shape == (1, 200, 288, 288), answer.pred_masks.shape
        return {"picture": middle - start, "prompt": end - middle}


def ours(args: argparse.Namespace, dtype: str) -> dict[str, float]:
    """One run of `sam3i bench`, which warms up with a run that it does not count."""
    command = [args.sam3i, "bench", "--model", args.model, "--dtype", dtype, "--level", "concept"]
    command += ["--runs", "1", "--threads", str(args.threads), "--device", "cpu", "--json"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    report = json.loads(done.stdout)
    stages = {line["stage"]: line["ms"] / 1000 for line in report["stages"]}
    prompt = sum(stages[f"{stage} concept"] for stage in ("text", "grounding", "masks"))
    peak = report["memory"]["process_peak_bytes"] or 0
    return {"picture": stages["preprocess"] + stages["image"], "prompt": prompt, "gb": peak / 1e9}


def compare(args: argparse.Namespace, kind: str) -> dict:
    """The pairs of one type."""
    peer = Peer(kind)
    theirs = []
    peer.run()  # memory and thread pools, as our own first run
    mine = []
    for pair in range(args.pairs):
        turns = [(theirs, peer.run), (mine, lambda: ours(args, OURS[kind]))]
        for runs, turn in turns if pair % 2 == 0 else turns[::-1]:
            runs.append(turn())
            who = "Sam3Model" if runs is theirs else "sam3i"
            times = "  ".join(f"{stage} {runs[-1][stage]:7.2f} s" for stage in STAGES)
            print(f"{kind:9} {who:10} {times}", flush=True)
    median = {s: [statistics.median(r[s] for r in runs) for runs in (mine, theirs)] for s in STAGES}
    for stage, (a, b) in median.items():
        print(f"{kind:9} {stage}: sam3i {a:.2f} s, Sam3Model {b:.2f} s, ratio {a / b:.3f}", flush=True)
    peak = max(run["gb"] for run in mine)
    print(f"{kind:9} peak of sam3i's process {peak:.2f} GB, all of Sam3Model so far {own_peak():.2f} GB")
    return {"type": kind, "sam3i": mine, "Sam3Model": theirs, "medians": median}


def own_peak() -> float:
    """The most memory this process ever had, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def main() -> None:
    """Reads the arguments, runs the pairs, writes what was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sam3i", default="target/release/sam3i", help="the command to time")
    parser.add_argument("--model", required=True, help="a model of the published sizes")
    parser.add_argument("--dtype", nargs="+", choices=OURS, default=["f32", "bf16"])
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path, help="keeps every run as JSON")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    versions = f"Python {platform.python_version()}, PyTorch {torch.__version__}, transformers {transformers_version}"
    print(f"{versions}; {args.threads} threads", flush=True)
    results = [compare(args, kind) for kind in args.dtype]
    if args.out:
        part = args.out.with_suffix(".part")
        part.write_text(json.dumps({"versions": versions, "results": results}, indent=1))
        part.replace(args.out)


if __name__ == "__main__":
    sys.exit(main())
