"""Answers a data set in parts as Ray tasks, on one machine or a cluster whose machines share the files, and joins the parts.

Usage: predict_ray.py N PRED.json [options of `sam3i predict`, but for -o and --shard]

Needs `pip install ray`. A task that dies is started again and goes on where it stopped; so does the whole script.
RAY_ADDRESS names a running cluster; SAM3I the binary; SAM3I_CPUS the cores of a task (default 2).
"""

import os
import pathlib
import subprocess
import sys

import ray

parts, output, options = int(sys.argv[1]), pathlib.Path(sys.argv[2]).resolve(), sys.argv[3:]
binary, cpus = os.environ.get("SAM3I", "sam3i"), int(os.environ.get("SAM3I_CPUS", "2"))
folder = os.getcwd()


def part(index):
    return f"{output}.{index}-of-{parts}.part"


@ray.remote(num_cpus=cpus, max_retries=3, retry_exceptions=True)
def predict(index):
    if not os.path.exists(part(index)):
        line = [binary, "predict", *options, "--quiet", "--threads", str(cpus)]
        subprocess.run([*line, "--shard", f"{index}/{parts}", "-o", part(index)], check=True, cwd=folder)
    return part(index)


ray.init(log_to_driver=True)
files = ray.get([predict.remote(index) for index in range(1, parts + 1)])
subprocess.run([binary, "merge", *files, "-o", str(output)], check=True)
