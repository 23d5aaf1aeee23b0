# SPDX-License-Identifier: Apache-2.0
"""DRAM bytes of a step's kernels, counted by ncu, on three shapes.

    traffic.py --bench build/cuda/bench/mixfuse-bench --library .../libmixfuse-peers.so --json T.json

A kernel that runs twice is counted the second time. bench/README.md describes the JSON.
"""
import argparse
import csv
import json
import re
import subprocess
import sys

from peers import BYTES, Library, reason

SHAPES = [("256x3x224x224", "f32", "f32"), ("256x3x224x224", "bf16", "bf16"),
          ("64x3x512x512", "f32", "f32")]
METRICS = {"dram__bytes_read.sum": "dram_read", "dram__bytes_write.sum": "dram_written",
           "lts__t_bytes.sum": "l2_bytes", "gpu__time_duration.sum": "ns"}


def profiled(bench, shape):
    command = ["ncu", "--clock-control", "none", "--csv", "--page", "raw", "--print-units", "base",
               "--metrics", ",".join(METRICS), bench, "--device", "cuda", "--profile",
               "--match", " ".join(shape)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120)
    lines = [line for line in run.stdout.splitlines() if line.startswith('"')]
    if run.returncode or len(lines) < 3:
        raise RuntimeError((run.stderr + run.stdout).strip()[-300:] or "ncu printed nothing")
    return list(csv.DictReader([lines[0]] + lines[2:]))  # the second line has the units


def short(name):
    """mix_kernel of void mixfuse::cuda::mix_kernel<...>(...); each_pack runs the formula's loop."""
    name = re.sub(r"(\(anonymous namespace\)|<unnamed>)::", "", name)
    kernel = re.match(r"(?:void )?(?:\w+::)*(\w+)", name)[1]
    return "formula, one loop" if kernel == "each_pack" else kernel


def counted(bench, shape):
    name, dtype_in, dtype_out = shape
    samples, *rest = (int(extent) for extent in name.split("x"))
    elements = samples
    for extent in rest:
        elements *= extent
    contest = {"stage": "mix", "shape": name, "in": dtype_in, "out": dtype_out, "samples": samples,
               "bytes": elements * (BYTES[dtype_in] + BYTES[dtype_out]), "way": "call",
               "results": [], "absent": []}
    found = {}
    try:
        for row in profiled(bench, shape):
            values = {key: float(row[metric].replace(",", "")) for metric, key in METRICS.items()}
            values["dram_bytes"] = values["dram_read"] + values["dram_written"]
            values["dram_ratio"] = values["dram_bytes"] / contest["bytes"]
            found[short(row["Kernel Name"])] = values
    except Exception as error:
        contest["absent"].append({"name": "ncu", "why": reason(error)})
    contest["results"] = [{"name": kernel, **values} for kernel, values in found.items()]
    return contest


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bench", required=True)
    parser.add_argument("--library", required=True)
    parser.add_argument("--json", required=True)
    parser.add_argument("--commit", default="")
    flags = parser.parse_args()
    report = Library(flags.library, "cuda", 0, flags.commit).report
    report["program"] = "traffic.py"
    for shape in SHAPES:
        contest = counted(flags.bench, shape)
        report["contests"].append(contest)
        print(" ".join(shape))
        for result in contest["results"]:
            print(f"  {result['name']:40}{result['dram_bytes'] / 1e6:10.1f} MB  "
                  f"x{result['dram_ratio']:.3f}")
        for absent in contest["absent"]:
            print(f"  absent: {absent['why']}")
    with open(flags.json, "w") as file:
        json.dump(report, file, indent=1)
    return any(contest["absent"] for contest in report["contests"])


if __name__ == "__main__":
    sys.exit(main())
