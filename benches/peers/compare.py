"""Times sam3i beside Hugging Face's `Sam3Model`, the whole model at 1008 pixels, in alternate runs on one machine.

    python compare.py --sam3i ../../target/release/sam3i --model DIR --dtype f32 bf16 --pairs 3
    python compare.py --sam3i ../../target/release/sam3i --model DIR --device cuda --dtype bf16 compiled --pairs 5

Both have random weights of the published sizes: `sam3i synth --config full.json -o DIR` makes ours, the library's own
start makes theirs. A pair is one run of theirs and one of ours, the order changing from pair to pair, so that a busy
machine hurts both. What is compared, in seconds of the clock:

* picture: vision encoder and neck. Ours also counts resizing the picture.
* prompt: text encoder, geometry encoder, fusion encoder, decoder, mask head, for a prompt not seen before. Ours makes the
  masks of the best five queries, as it does for a user; theirs makes all 200, it has no other way.

`bf16` is bf16 weights and activations on their side, `autocast` f32 weights under `torch.autocast`, `compiled` that of `bf16`
after `torch.compile`; ours is `--dtype bf16` for all three on the CPU and `--dtype f16`, the only half type of its GPU kernels,
on a GPU. With `--device cuda` both run on one card, in turn: their times are between two waits for the card, ours are `sam3i
bench`'s, which waits at the end of each stage. Prints a row a run and the ratios of the medians; `--out FILE` keeps them as JSON.
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
OURS = {
    "cpu": {"f32": "f32", "bf16": "bf16", "autocast": "bf16", "compiled": "bf16", "int8": "int8"},
    "cuda": {"f32": "f32", "bf16": "f16", "autocast": "f16", "compiled": "f16"},
}
"""Our type beside each of theirs, on either device; `int8` is ours alone, held against their bf16."""
WARM_UPS = {"cpu": 1, "cuda": 3}
"""Runs of theirs that do not count: memory, thread pools, and on a card the choice of kernels."""


class Peer:
    """`Sam3Model` with random weights in one type."""

    def __init__(self, kind: str, device: str) -> None:
        torch.manual_seed(1)
        kept = torch.bfloat16 if kind in ("bf16", "compiled", "int8") else torch.float32
        self.device = device
        self.model = Sam3Model(Sam3Config()).eval().to(device, kept)
        self.autocast = kind == "autocast"
        self.pixels = (torch.rand(1, 3, 1008, 1008) * 2 - 1).to(device, kept)
        ids = torch.full((1, 32), 49407)
        ids[0, :6] = torch.tensor([49406, 518, 3712, 530, 518, 49407])
        self.ids = ids.to(device)
        self.real = (torch.arange(32) < 6).long()[None].to(device)
        self.encode, self.answer = self.model.vision_encoder, self.model
        if kind == "compiled":
            self.encode, self.answer = torch.compile(self.encode), torch.compile(self.answer)

    def now(self) -> float:
        """The time, once the card has done all it was asked."""
        if self.device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    @torch.inference_mode()
    def run(self) -> dict[str, float]:
        """One picture, then one prompt on it: seconds of each."""
        with torch.autocast(self.device, torch.bfloat16, enabled=self.autocast):
            start = self.now()
            vision = self.encode(self.pixels)
            middle = self.now()
            answer = self.answer(vision_embeds=vision, input_ids=self.ids, attention_mask=self.real)
            end = self.now()
        assert answer.pred_masks.shape == (1, 200, 288, 288), answer.pred_masks.shape
        return {"picture": middle - start, "prompt": end - middle}


def ours(args: argparse.Namespace, dtype: str) -> dict[str, float]:
    """One run of `sam3i bench`, which warms up with a run that it does not count."""
    command = [args.sam3i, "bench", "--model", args.model, "--dtype", dtype, "--level", "concept"]
    if args.device == "cpu":
        command += ["--runs", "1", "--threads", str(args.threads), "--device", "cpu", "--json"]
    else:
        command += ["--runs", "5", "--device", args.gpu, "--json"]  # medians of a card's short runs
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    report = json.loads(done.stdout)
    stages = {line["stage"]: line["ms"] / 1000 for line in report["stages"]}
    prompt = sum(stages[f"{stage} concept"] for stage in ("text", "grounding", "masks"))
    peak = report["memory"]["process_peak_bytes"] or 0
    tensors = report["memory"]["tensors_peak_bytes"] if args.device == "cuda" else peak
    return {"picture": stages["preprocess"] + stages["image"], "prompt": prompt, "gb": tensors / 1e9}


def compare(args: argparse.Namespace, kind: str) -> dict:
    """The pairs of one type."""
    peer = Peer(kind, args.device)
    theirs = []
    for _ in range(WARM_UPS[args.device]):
        peer.run()
    mine = []
    for pair in range(args.pairs):
        turns = [(theirs, peer.run), (mine, lambda: ours(args, OURS[args.device][kind]))]
        for runs, turn in turns if pair % 2 == 0 else turns[::-1]:
            runs.append(turn())
            who = "Sam3Model" if runs is theirs else "sam3i"
            times = "  ".join(f"{stage} {1000 * runs[-1][stage]:9.1f} ms" for stage in STAGES)
            print(f"{kind:9} {who:10} {times}", flush=True)
    median = {s: [statistics.median(r[s] for r in runs) for runs in (mine, theirs)] for s in STAGES}
    for stage, (a, b) in median.items():
        print(f"{kind:9} {stage}: sam3i {1000 * a:.1f} ms, Sam3Model {1000 * b:.1f} ms, ratio {a / b:.3f}", flush=True)
    peak = max(run["gb"] for run in mine)
    what = "tensors" if args.device == "cuda" else "process"
    print(f"{kind:9} peak of sam3i's {what} {peak:.2f} GB, all of Sam3Model so far {own_peak(args.device):.2f} GB")
    return {"type": kind, "sam3i": mine, "Sam3Model": theirs, "medians": median}


def own_peak(device: str) -> float:
    """The most memory this process ever had, or on a card its tensors, in GB."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def where(args: argparse.Namespace) -> str:
    """What both run on, for the record."""
    return torch.cuda.get_device_name() if args.device == "cuda" else f"{args.threads} threads"


def main() -> None:
    """Reads the arguments, runs the pairs, writes what was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sam3i", default="target/release/sam3i", help="the command to time")
    parser.add_argument("--model", required=True, help="a model of the published sizes")
    parser.add_argument("--device", choices=OURS, default="cpu", help="where both run")
    parser.add_argument("--gpu", default="gpu", help="the card by sam3i's name for it: gpu, gpu:N (see sam3i devices)")
    parser.add_argument("--dtype", nargs="+", choices=OURS["cpu"], default=["f32", "bf16"])
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path, help="keeps every run as JSON")
    args = parser.parse_args()
    for kind in args.dtype:
        if kind not in OURS[args.device]:
            parser.error(f"--dtype {kind}: not on {args.device}")
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: this PyTorch has no card")
    torch.set_num_threads(args.threads)
    versions = f"Python {platform.python_version()}, PyTorch {torch.__version__}, transformers {transformers_version}"
    print(f"{versions}; {where(args)}", flush=True)
    results = [compare(args, kind) for kind in args.dtype]
    if args.out:
        part = args.out.with_suffix(".part")
        part.write_text(json.dumps({"versions": versions, "on": where(args), "results": results}, indent=1))
        part.replace(args.out)


if __name__ == "__main__":
    sys.exit(main())
