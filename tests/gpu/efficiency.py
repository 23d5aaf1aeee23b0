#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs a CUDA program under the emulator and checks how its mix kernels use memory and start.

usage: efficiency.py EMULATOR PROGRAM ARGUMENT ...

The emulator counts, for each access of a warp, the sectors of 32 bytes that it touches, and the
fewest that would hold as many bytes.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections import defaultdict

KERNEL = r"\b(?:mix|step|mix_in_place)_kernel<"
# The least share of the ideal, of loads and of stores of images. With boxes or flips lanes part
# ways, and the halves of a sector go with different ones.
CLAIMS = (
    ("dense, without boxes", KERNEL + r"Vector<(?!uns)[^>]*>, \d, true>", 0.99, 0.99),
    ("dense bytes, without boxes", KERNEL + r"Vector<uns[^>]*>, \d, true>", 0.75, 0.8),
    ("dense, with boxes", KERNEL + r"Vector<[^>]*>, \d, false>", 0.75, 0.6),
    ("rows that break alignment", KERNEL + r"Shifted<", 0.85, 0.85),
    # 48 bytes of a thread, 8 at a time: a sector is asked for three times and read once.
    ("pixels into planes", KERNEL + r"Pixels<", 0.3, 0.75),
)
IMAGES = {"column.cuh", "packed.cuh"}
ACCESS = re.compile(r"\s+\d+ x (ld|st)\.(?!shared|local)\S* .*?(\d+) sectors, ideal (\d+)"
                    r" .*?(\S+):\d+$")


def counted(output):
    """(kernel, "ld" or "st") -> [sectors, the fewest]."""
    counts, kernel = defaultdict(lambda: [0, 0]), None
    for line in output.splitlines():
        if line.startswith("_Z"):
            kernel = line.strip()
        elif (match := ACCESS.match(line)) and match[4] in IMAGES:
            count = counts[kernel, match[1]]
            count[0] += int(match[2])
            count[1] += int(match[3])
    return counts


def demangled(names):
    lines = subprocess.run(["c++filt"], input="\n".join(names), capture_output=True, text=True,
                           check=True).stdout.splitlines()
    return dict(zip(names, (line.replace("mixfuse::cuda::", "") for line in lines)))


def late_starts(trace):
    """Mix kernels, and those launches that wait until the kernel before has ended."""
    launches = [call for call in map(json.loads, trace)
                if call["call"] == "launch" and re.search(KERNEL, call["kernel"])]
    return launches, [launch["kernel"] for launch in launches
                      if "programmatic stream serialization" not in launch["attributes"]]


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    with tempfile.NamedTemporaryFile("r") as trace:
        settings = {"PTXRUN_PROFILE": "1", "PTXRUN_TRACE": trace.name}
        run = subprocess.run(sys.argv[1:], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                             text=True, env={**os.environ, **settings})
        if run.returncode != 0:
            sys.exit(f"{run.stdout[-4000:]}\nended with status {run.returncode}")
        launches, late = late_starts(trace)
    failed = bool(late) or not launches
    print(f"{'FAILED' if failed else 'ok':6}  {len(launches)} launches, start late: {late}")
    counts = counted(run.stdout)
    names = demangled(sorted({kernel for kernel, _ in counts}))
    for what, pattern, *least in CLAIMS:
        met = [kernel for kernel, name in names.items() if re.search(pattern, name)]
        for access, share in zip(("ld", "st"), least):
            shares = {names[k].split("(")[0]: counts[k, access][1] / counts[k, access][0]
                      for k in met if counts[k, access][0] > 0}
            worst = min(shares, key=shares.get, default=None)
            good = worst is not None and shares[worst] >= share
            failed |= not good
            print(f"{'ok' if good else 'FAILED':6}  {what}, {access}: {len(shares)} kernels, least "
                  f"{shares.get(worst, 0):.2f} of the ideal, claimed {share} ({worst})")
    sys.exit(failed)


if __name__ == "__main__":
    main()
