# SPDX-License-Identifier: Apache-2.0
"""same_output.py PROGRAM...: all of them print the same.

One that has instructions which this processor does not know is left out, aloud.
"""
import signal
import subprocess
import sys


def main() -> None:
    first, expected, bad = "", [], []
    for program in sys.argv[1:]:
        run = subprocess.run([program], stdout=subprocess.PIPE, text=True)
        if run.returncode == -signal.SIGILL:
            print(f"{program}: not for this processor")
            continue
        lines = run.stdout.splitlines()
        if run.returncode != 0 or not lines:
            bad.append(f"{program}: status {run.returncode}, {len(lines)} lines")
        elif not first:
            first, expected = program, lines
        elif lines != expected:
            changed = [line for line in lines if line not in expected]
            bad.append(f"{program} prints {changed}, other than {first}")
        else:
            print(f"{program}: as {first}")
    if not first:
        bad.append("none of them ran")
    sys.exit("\n".join(f"FAILED: {line}" for line in bad) or None)


main()
