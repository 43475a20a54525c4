"""Everything we want to know of a graphics card, in one go: is it right, how fast is it, what is fast on it.

    python benches/on_a_card.py --prepare          # needs no card: builds, and makes weights (2.3 GB, minutes)
    python benches/on_a_card.py --minutes 10       # on the card

The second line runs the steps below, the most valuable first, each for so long at most, until the minutes are over. A step that
fails, hangs or cannot run here is noted, and the next one begins. `report.md` in `--out` is complete after every step; beside it lie
each step's whole output and what was measured of forms. Nothing else of the machine is changed: the measured forms go to
`--out` too, not to where later runs of `sam3i` look for them.

Needs Python 3.9 and nothing more. The steps beside PyTorch need an NVIDIA card and `benches/peers/requirements.txt`.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXE = ".exe" if os.name == "nt" else ""
NVIDIA = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total,clocks.max.sm,power.limit", "--format=csv,noheader"]
LEAST = 10
"""Seconds below which a step is not begun."""
TOLD = 80
"""Last lines of a step's output that the report has."""
OPS = ["linear", "conv", "conv_transpose", "attention", "rotary_attention", "layer_norm", "softmax", "group_norm"]
"""Ops whose kernels have several forms; the first five multiply."""
UNITS = [
    "product=staged_4,conv=staged_4,attention=matrices_64",
    "product=staged_2,conv=staged_2,attention=matrices_128",
]
"""Forms on matrix units. A card that has none runs others instead."""


@dataclass
class Step:
    """A command, and why it is worth its time."""

    name: str
    why: str
    command: list[str]
    seconds: int
    """It gets so many at most."""
    missing: str | None = None
    """What it needs and is not here."""
    outcome: str = "not begun"
    took: float = 0.0
    log: str = ""
    environment: dict[str, str] = field(default_factory=dict)

    def line(self) -> str:
        """As one would type it."""
        return " ".join([*(f"{name}={value}" for name, value in self.environment.items()), *self.command])


def steps(args: argparse.Namespace) -> list[Step]:
    """All of them, the most valuable first."""
    sam3i, model, gpu = str(args.sam3i), str(args.model), args.gpu

    def bench(dtype: str, *more: str) -> list[str]:
        return [sam3i, "bench", "--device", gpu, "--dtype", dtype, "--model", model, "--level", "concept", *more]

    def beside(kind: str) -> list[str]:
        script = str(ROOT / "benches/peers/compare.py")
        where = ["--device", "cuda", "--gpu", gpu, "--sam3i", sam3i, "--model", model]
        return [sys.executable, script, *where, "--dtype", kind, "--pairs", "3"]

    def test(name: str, *only: str) -> list[str]:
        command = ["cargo", "test", "--offline", "--release", "-p", "sam3i-tests", "--no-fail-fast", "--test", name]
        return [*command, "--", *only]

    check = [sam3i, "kernels", "check", "--device", "gpu", "--device", "gpu-f16"]
    times = [sam3i, "kernels", "bench", "linear", "rotary_attention", "attention", "conv", "--seconds", "0.1"]
    cargo = None if shutil.which("cargo") else "cargo"
    peer = None if args.dry_run else no_peer()
    kernels = "Each kernel at the published model's shapes beside the card's own peak of multiply-adds and of copies."
    return [
        Step("devices", "What card, driver, features and limits these numbers are of.", [sam3i, "devices"], 20),
        Step(
            "check",
            "Does every form that the card chooses compute what the plain loops compute?",
            [*check, *OPS, "--cases", "16"],
            90,
        ),
        *[
            Step(
                f"check-units-{number}",
                "The same in forms on matrix units, which only larger calls choose. One that fails its trial is passed over: the log says so.",
                [*check[:3], "--device", "gpu-f16", *OPS[:5], "--cases", "16"],
                45,
                environment={"SAM3I_GPU_FORMS": forms},
            )
            for number, forms in enumerate(UNITS, 1)
        ],
        Step("bench-f16", "The whole model by stage and op, f16 weights, forms by rule.", bench("f16", "--runs", "10"), 75),
        Step("beside-bf16", "Ours beside `Sam3Model` in bf16, in turn.", beside("bf16"), 100, peer),
        Step(
            "tune-f16",
            "Which forms are the fastest here, and the whole model with them.",
            bench("f16", "--runs", "10", "--tune"),
            120,
        ),
        Step("beside-compiled", "Ours, tuned, beside `Sam3Model` compiled.", beside("compiled"), 180, peer),
        Step("kernels-f16", kernels, [*times, "--device", "gpu-f16"], 60),
        Step("bench-f32", "The whole model, f32 weights.", bench("f32", "--runs", "5"), 60),
        Step("kernels-f32", kernels, [*times, "--device", "gpu"], 60),
        Step("parity", "Every recorded tensor of small models, f32 and f16.", test("parity", "micro_agrees_with", "tiny"), 120, cargo),
        Step("nano", "The model inside the program: its recording, and scenes as on the CPU.", test("nano", "recording", "gpu"), 90, cargo),
        Step("ops", "Every op in every form, with bands, at 64 random cases.", test("ops"), 240, cargo),
        Step("gpu", "Memory, queue, errors, tuning.", test("gpu"), 120, cargo),
        Step("check-all", "The ops that have one form.", check, 120),
        Step("cli", "The command on the card beside the CPU.", test("cli", "the_gpu"), 120, cargo),
        Step("mutations", "Do the cases notice changed kernels on this card too?", test("mutations"), 600, cargo),
    ]


def no_peer() -> str | None:
    """What keeps us from running beside PyTorch here."""
    ask = "import torch, transformers, sys; sys.exit(0 if torch.cuda.is_available() else 3)"
    try:
        code = subprocess.run([sys.executable, "-c", ask], capture_output=True, timeout=60).returncode
    except (OSError, subprocess.TimeoutExpired):
        return "a PyTorch that starts"
    return {0: None, 3: "an NVIDIA card that PyTorch sees"}.get(code, "benches/peers/requirements.txt")


def run(step: Step, seconds: float, out: Path, number: int, variables: dict[str, str]) -> None:
    """Runs a step for so long at most; whatever it started ends with it."""
    log = out / f"{number:02}-{step.name}.log"
    environment = {**os.environ, **variables, **step.environment}
    group = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP} if os.name == "nt" else {"start_new_session": True}
    start = time.monotonic()
    with log.open("wb") as file:
        try:
            child = subprocess.Popen(
                step.command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=file, stderr=file, **group
            )
        except OSError as error:
            step.outcome = f"did not start: {error}"
            return
        try:
            code = child.wait(seconds)
            step.outcome = "ok" if code == 0 else f"FAILED ({code})"
        except subprocess.TimeoutExpired:
            step.outcome = f"out of time after {seconds:.0f} s"
        finally:
            end(child)
    step.took = time.monotonic() - start
    step.log = log.read_text(encoding="utf-8", errors="replace")


def end(child: subprocess.Popen) -> None:
    """Ends a step and what it started."""
    if child.poll() is not None:
        return
    if os.name == "nt":
        subprocess.run(["taskkill", "/F", "/T", "/PID", str(child.pid)], capture_output=True)
    else:
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def told(command: list[str]) -> str:
    """What a command prints in a line; nothing if there is none such."""
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30)
        return " ".join(done.stdout.split())
    except (OSError, subprocess.TimeoutExpired):
        return ""


def report(out: Path, all_steps: list[Step], args: argparse.Namespace, facts: list[str]) -> None:
    """Writes the report, whole or not at all."""
    lines = ["# On a card", "", *facts, "", "| step | outcome | seconds | why |", "|---|---|---|---|"]
    for step in all_steps:
        outcome = f"needs {step.missing}" if step.missing else step.outcome
        lines.append(f"| {step.name} | {outcome} | {step.took:.0f} | {step.why} |")
    for number, step in enumerate(all_steps, 1):
        if step.log:
            text = step.log.rstrip().splitlines()
            lines += ["", f"## {number}. {step.name}", "", f"`{step.line()}`", "", "```"]
            lines += text if len(text) <= 2 * TOLD else [*text[:TOLD], f"... ({len(text)} lines)", *text[-TOLD:]]
            lines.append("```")
    part = out / "report.part"
    part.write_text("\n".join(lines) + "\n", encoding="utf-8")
    part.replace(out / "report.md")


def prepare(args: argparse.Namespace) -> int:
    """What needs no card: builds the command and the tests, makes the weights."""
    commands = [
        ["cargo", "build", "--release", "-p", "sam3i-cli"],
        ["cargo", "test", "--release", "-p", "sam3i-tests", "--no-run"],
    ]
    if not (args.model / "model.safetensors").exists():
        sizes = str(ROOT / "benches/published.json")
        commands.append([str(args.sam3i), "synth", "--config", sizes, "-o", str(args.model), "--dtype", "f16"])
    for command in commands:
        print(" ".join(command), flush=True)
        code = subprocess.run(command, cwd=ROOT).returncode
        if code != 0:
            return code
    return 0


def arguments() -> argparse.Namespace:
    """The arguments, paths made whole."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prepare", action="store_true", help="build and make weights, and end")
    parser.add_argument("--dry-run", action="store_true", help="print the commands, and end")
    parser.add_argument("--minutes", type=float, default=10, help="end after so many")
    parser.add_argument("--only", nargs="+", metavar="STEP", help="these steps, in their order")
    parser.add_argument("--out", type=Path, default=Path("on-a-card"), help="where the report goes")
    parser.add_argument("--gpu", default="gpu", help="the card by sam3i's name for it: gpu, gpu:N (see sam3i devices)")
    parser.add_argument("--sam3i", type=Path, default=ROOT / f"target/release/sam3i{EXE}", help="the command")
    parser.add_argument("--model", type=Path, default=ROOT / "target/published", help="a model of the published sizes")
    args = parser.parse_args()
    args.out, args.sam3i, args.model = (path.resolve() for path in (args.out, args.sam3i, args.model))
    return args


def main() -> int:
    """Runs the steps."""
    args = arguments()
    if args.prepare:
        return prepare(args)
    all_steps = steps(args)
    if args.only:
        unknown = set(args.only) - {step.name for step in all_steps}
        if unknown:
            print(f"no step {', '.join(sorted(unknown))}; the steps are {', '.join(s.name for s in all_steps)}")
            return 2
        all_steps = [step for step in all_steps if step.name in args.only]
    if args.dry_run:
        for step in all_steps:
            print(step.line())
        return 0
    for needed in (args.sam3i, args.model):
        if not needed.exists():
            print(f"{needed} is not there: run this with --prepare first, or name another")
            return 2
    args.out.mkdir(parents=True, exist_ok=True)
    variables = {"XDG_CACHE_HOME": str(args.out / "cache"), "SAM3I_REQUIRE_GPU": "1", "SAM3I_BINARY": str(args.sam3i)}
    if not args.gpu.startswith("gpu"):
        variables["SAM3I_TEST_GPU"] = args.gpu  # tests take another card than the best one by its name only
    start = time.monotonic()
    facts = [
        time.strftime("Begun %Y-%m-%d %H:%M UTC", time.gmtime()) + f", {args.minutes:g} minutes.",
        f"{platform.platform()}, Python {platform.python_version()}, {os.cpu_count()} cores.",
        f"Source {told(['git', 'describe', '--always', '--dirty'])}. {told(NVIDIA)}",
    ]
    for number, step in enumerate(all_steps, 1):
        left = 60 * args.minutes - (time.monotonic() - start)
        if step.missing is None and left >= LEAST:
            print(f"{number:2} {step.name}: {step.why}", flush=True)
            run(step, min(step.seconds, left), args.out, number, variables)
            print(f"   {step.outcome}, {step.took:.0f} s", flush=True)
        report(args.out, all_steps, args, facts)
    print(args.out / "report.md")
    return 0 if all(step.outcome == "ok" for step in all_steps if not step.missing) else 1


if __name__ == "__main__":
    sys.exit(main())
