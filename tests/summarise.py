# SPDX-License-Identifier: Apache-2.0
"""Counts what the stages of ./run test wrote to build/STAGE/results: GoogleTest and pytest single
tests, CTest those of whole programs."""

import ast
import collections
import os
import re
import sys
import xml.etree.ElementTree as xml

passed, failures, skips = 0, [], collections.Counter()


def tests_in(file):
    try:
        return list(xml.parse(file).iter("testcase"))
    except (OSError, xml.ParseError):
        return []


def count(program, tests):
    global passed
    for test in tests:
        skipped = test.find("skipped")
        if test.find("failure") is not None or test.find("error") is not None:
            failures.append(f"{program}: {test.get('classname')}.{test.get('name')}")
        elif skipped is not None:
            reason = skipped.get("message") or skipped.text or "no reason given"
            if reason == "collection skipped":  # pytest's of a whole file: (path, line, reason)
                reason = ast.literal_eval(skipped.text)[2].removeprefix("Skipped: ")
            reason = re.sub(r"^\S+:\d+\s+", "", reason).strip().splitlines()[0:1]
            skips[reason[0] if reason else "no reason given"] += 1
        elif test.get("status", "run") == "run":
            passed += 1


def count_ctest(stage, folder):
    global passed
    for program in xml.parse(f"{folder}/ctest.xml").iter("testcase"):
        name, before = program.get("name"), len(failures)
        tests = tests_in(f"{folder}/{name}.xml")
        count(f"{stage} {name}", tests)
        ran, skipped = program.get("status") == "run", program.find("skipped")
        if not tests and skipped is not None and skipped.get("message") == "SKIP_RETURN_CODE=77":
            skips[f"{name}: there is no CUDA device"] += 1
        elif not ran and len(failures) == before:
            failures.append(f"{stage} {name}: the program itself (crash, time limit or a report)")
        elif not tests and ran:
            passed += 1  # no GoogleTest program


for stage in sys.argv[1:]:
    folder = f"build/{stage}/results"
    if os.path.exists(f"{folder}/runs"):  # pytest's
        for run in open(f"{folder}/runs").read().split():
            tests = tests_in(f"{folder}/{run}.xml")
            count(f"{stage} {run}", tests)
            if not tests:
                failures.append(f"{stage} {run}: not built or not run")
    elif os.path.exists(f"{folder}/ctest.xml"):
        count_ctest(stage, folder)
    else:
        failures.append(f"{stage}: not built or not run")

for failure in failures:
    print("FAILED ", failure)
for reason, number in skips.most_common():
    print(f"SKIPPED {number}: {reason}")
print(f"{passed} passed, {len(failures)} failed, {sum(skips.values())} skipped")
sys.exit(bool(failures or not passed))
