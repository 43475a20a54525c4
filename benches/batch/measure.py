"""Measures a batch of small pictures on nano: how busy the cores are, thread by thread, and whether memory stays flat.

    python3 benches/batch/measure.py target/release/sam3i
    python3 benches/batch/measure.py target/release/sam3i --pictures 200 --threads 2 --runs 3 --json batch.json

Asks three prompts of each of the first N held-out scenes (`tests/data/heldout`, 320 x 320 pixels), writes overlays, masks and JSON to a
folder that is removed afterwards, and prints the table of docs/performance.md, "A batch of small pictures", a column a run. Linux only:
it reads `/proc/PID`. Needs nothing but Python. What else runs on the machine shows in "ready but waiting": near 0 on a quiet one.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROMPTS = ["-p", "dog", "-p", "red apple", "--level", "complex", "-p", "something to keep you dry"]
PERIOD = 0.02
"""Seconds between two looks at the process."""
BUSY = 0.05
"""The share of all processor time from which on a thread gets a line of its own."""
PARTS = 10
"""Parts of a run whose memory is told."""


def schedstat(pid: int) -> dict[int, tuple[float, float]]:
    """Seconds each thread has run, and has been ready to run but waiting for a core."""
    threads = {}
    try:
        for task in os.scandir(f"/proc/{pid}/task"):
            try:
                ran, waited, _ = Path(task.path, "schedstat").read_text().split()
                threads[int(task.name)] = (int(ran) / 1e9, int(waited) / 1e9)
            except (OSError, ValueError):
                pass  # it ended between the two looks
    except OSError:
        pass  # so did the process
    return threads


def resident(pid: int) -> int:
    """Bytes of resident memory; 0 once the process is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def measure(binary: Path, pictures: list[Path], threads: int) -> dict:
    """One run."""
    with tempfile.TemporaryDirectory() as folder:
        inside = Path(folder, "p")
        inside.mkdir()
        for picture in pictures:
            shutil.copy(picture, inside / picture.name)
        line = [binary, "segment", "p", *PROMPTS, "--threads", str(threads), "--device", "cpu", "--quiet", "--out-dir", "out"]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SAM3I_")}
        start = time.monotonic()
        process = subprocess.Popen(line, cwd=folder, env=environment)
        seen, memory = {}, []
        while True:
            # Not wait(): the last look must come before the process is gone from /proc.
            if os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                break
            seen |= schedstat(process.pid)
            memory.append((time.monotonic() - start, resident(process.pid)))
            time.sleep(PERIOD)
        wall = time.monotonic() - start
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            sys.exit(f"{binary} ended with {process.returncode}")
        done = len(list(Path(folder, "out").glob("*.json")))
    if done != len(pictures):
        sys.exit(f"{done} pictures of {len(pictures)} were answered")
    cpu = usage.ru_utime + usage.ru_stime
    ran, waited = (sum(times[i] for times in seen.values()) for i in (0, 1))
    told = [bytes_ for _, bytes_ in memory if bytes_]
    return {
        "pictures": len(pictures),
        "threads": threads,
        "wall_s": wall,
        "cpu_s": cpu,
        "utilisation": cpu / (wall * threads),
        "ready_but_waiting_s": waited,
        "running_or_ready": (ran + waited) / wall,
        "threads_cpu_s": sorted((times[0] for times in seen.values()), reverse=True),
        "resident_mb": [told[min(len(told) - 1, (i + 1) * len(told) // PARTS)] / 1e6 for i in range(PARTS)],
        "peak_resident_mb": usage.ru_maxrss * 1024 / 1e6,
    }


def table(runs: list[dict]) -> str:
    """The runs as rows of Markdown."""

    def row(name: str, cell) -> str:
        return f"| {name} | " + " | ".join(cell(run) for run in runs) + " |"

    def busy(run: dict) -> str:
        large = [t for t in run["threads_cpu_s"] if t >= BUSY * run["cpu_s"]]
        rest = run["threads_cpu_s"][len(large) :]
        return ", ".join(f"{t:.2f}" for t in large) + f" s; {len(rest)} others {sum(rest):.2f} s"

    rows = [
        row("", lambda run: f"{run['pictures']} pictures, {run['threads']} threads"),
        "|" + "---|" * (len(runs) + 1),
        row("wall", lambda run: f"{run['wall_s']:.2f} s, {1e3 * run['wall_s'] / run['pictures']:.1f} ms a picture"),
        row("CPU time", lambda run: f"{run['cpu_s']:.2f} s, {1e3 * run['cpu_s'] / run['pictures']:.1f} ms a picture"),
        row("utilisation: CPU time / (wall x threads)", lambda run: f"{100 * run['utilisation']:.0f} %"),
        row("CPU time of each thread", busy),
        row("threads running or ready to run, on average", lambda run: f"{run['running_or_ready']:.2f}"),
        row("ready but waiting for a core", lambda run: f"{run['ready_but_waiting_s']:.2f} s"),
        row("resident memory, MB, after each tenth of the run", lambda run: ", ".join(f"{mb:.0f}" for mb in run["resident_mb"])),
        row("its peak", lambda run: f"{run['peak_resident_mb']:.0f} MB"),
    ]
    return "\n".join(rows)


def main() -> None:
    """Reads the arguments, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary", type=Path, help="the sam3i to measure: a release build")
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="default: one a core")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", type=Path, help="all numbers, too")
    args = parser.parse_args()
    scenes = sorted((ROOT / "tests/data/heldout").glob("*.jpg"))
    if not 1 <= args.pictures <= len(scenes):
        sys.exit(f"--pictures: there are {len(scenes)} scenes")
    runs = [measure(args.binary.resolve(), scenes[: args.pictures], args.threads) for _ in range(args.runs)]
    if args.json:
        args.json.write_text(json.dumps({"schema": 1, "machine": platform.processor() or platform.machine(), "runs": runs}, indent=1))
    load = os.getloadavg()[0]
    print(f"{time.strftime('%Y-%m-%d')}, {len(os.sched_getaffinity(0))} cores, load of the last minute {load:.1f} (ours included)\n")
    print(table(runs))


if __name__ == "__main__":
    main()
