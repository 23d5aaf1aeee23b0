# SPDX-License-Identifier: Apache-2.0
"""What Python adds to a call: small batches, the same step from C++ and through the package.

    python_calls.py --library build/cuda/bench/libmixfuse-peers.so --json calls.json

The package that is installed is measured, on the CPU with one thread, in turns with the C++ calls, in
that thread's own time, since other work on the machine would drown microseconds.
`over_us` is the median of a round's difference to C++. bench/README.md describes the JSON.
"""
import argparse
import ctypes
import importlib
import json
import statistics
import time

import numpy as np

import mixfuse

SHAPE, CLASSES, ALPHA = (4, 3, 8, 8), 10, 0.2
CALLS, ROUNDS = 400, 40


def steps_in_cpp(library, x, y, out, targets):
    library.mixfuse_peers_make.restype = ctypes.c_void_p
    library.mixfuse_peers_make.argtypes = [
        ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p,
        ctypes.c_int, ctypes.c_int, ctypes.c_double, ctypes.c_double, ctypes.c_void_p]
    library.mixfuse_peers_steps.argtypes = [
        *[ctypes.c_void_p] * 5, ctypes.c_int64, ctypes.c_int, ctypes.c_void_p]
    name = "x".join(map(str, SHAPE)).encode()
    peer = library.mixfuse_peers_make(0, 1, name, b"f32", b"f32", 0, 0, 0, 1, None)
    assert peer, library.mixfuse_peers_error()

    def run(labelled):
        def steps():
            assert library.mixfuse_peers_steps(
                peer, out.ctypes.data, x.ctypes.data, targets.ctypes.data if labelled else None,
                y.ctypes.data if labelled else None, CLASSES, CALLS, None)
        return steps
    return run


def calls_of(tensor, labelled):
    """Ways to make the same step, each with its number of the step counted on."""
    x, y, out, targets = tensor
    step = iter(range(1 << 40))
    spec = mixfuse.Spec(mixup=ALPHA)
    plan = mixfuse.plan(x, spec)
    labels = {"labels": y, "targets_out": targets} if labelled else {}
    return {
        "mix(spec, out=)": lambda: mixfuse.mix(
            x, spec=spec, out=out, seed=1, step=next(step), threads=1, **labels),
        "mix(mixup=, out=)": lambda: mixfuse.mix(
            x, mixup=ALPHA, out=out, seed=1, step=next(step), threads=1, **labels),
        "plan(out=), mix(plan=, out=)": lambda: mixfuse.mix(
            x, plan=mixfuse.plan(x, spec, out=plan, seed=1, step=next(step), threads=1), out=out,
            threads=1, **labels),
    }


def repeated(call):
    def steps():
        for _ in range(CALLS):
            call()
    return steps


def in_turns(contestants):
    """Microseconds a call of each, round by round; the first round warms up."""
    times = {name: [] for name in contestants}
    for turn in range(ROUNDS + 1):
        for name, steps in contestants.items():
            begin = time.thread_time()
            steps()
            if turn:
                times[name].append((time.thread_time() - begin) / CALLS * 1e6)
    return times


def spread(values):
    tenths = statistics.quantiles(values, n=10)
    return {"p10": tenths[0], "median": statistics.median(values), "p90": tenths[-1]}


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--library", required=True)
    arguments.add_argument("--json", required=True)
    arguments.add_argument("--commit", default="unknown")
    given = arguments.parse_args()

    generator = np.random.default_rng(1)
    x, y = generator.random(SHAPE, "float32"), np.arange(SHAPE[0], dtype="int64")
    numpy_tensors = x, y, np.empty_like(x), np.empty((SHAPE[0], CLASSES), "float32")
    frameworks, software = {"numpy": numpy_tensors}, {"numpy": np.__version__}
    try:
        torch = importlib.import_module("torch")
        frameworks["torch"] = tuple(torch.from_numpy(a.copy()) for a in numpy_tensors)
        software["torch"] = torch.__version__
    except ImportError:
        pass
    library = ctypes.CDLL(given.library)
    library.mixfuse_peers_error.restype = library.mixfuse_peers_report.restype = ctypes.c_char_p
    in_cpp = steps_in_cpp(library, *numpy_tensors)
    report = json.loads(library.mixfuse_peers_report(0, 1, given.commit.encode()))
    report |= {"program": "python_calls.py", "software": software, "contests": []}
    for labelled in (False, True):
        contestants = {"C++": in_cpp(labelled)}
        for framework, tensor in frameworks.items():
            for name, call in calls_of(tensor, labelled).items():
                contestants[f"{framework}: {name}"] = repeated(call)
        times = in_turns(contestants)
        results = [{
            "name": name, "us": spread(of),
            "ratio": spread([a / b for a, b in zip(of, times["C++"])]),
            "over_us": spread([a - b for a, b in zip(of, times["C++"])]),
        } for name, of in times.items()]
        for result in results:
            print(f"{'labels' if labelled else 'images':8}{result['name']:40}"
                  f"{result['us']['median']:8.2f} us{result['over_us']['median']:+8.2f} over C++")
        report["contests"].append({
            "stage": "step" if labelled else "mix", "shape": "x".join(map(str, SHAPE)), "in": "f32",
            "out": "f32", "samples": SHAPE[0], "bytes": 2 * x.nbytes, "way": "call", "sets": 1,
            "steps": CALLS, "rounds": ROUNDS, "results": results, "absent": []})
    with open(given.json, "w") as file:
        json.dump(report, file, indent=1)


if __name__ == "__main__":
    main()
