# SPDX-License-Identifier: Apache-2.0
"""What Python adds to a call: small batches, the same step from C++ and through the package.

    python_calls.py --library build/cuda/bench/libmixfuse-peers.so --json calls.json

The package that Python finds is measured, on the CPU with one thread, in turns with the C++ calls, in
that thread's own time, since other work on the machine would drown microseconds.
`over_us` is the median of a round's difference to C++. bench/README.md describes the JSON.
"""
import argparse
import ctypes
import functools
import importlib
import json
import time

import numpy as np

import mixfuse
from peers import spread

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


@functools.cache
def empty_operator(torch):
    """Of our operator's signature; makes three tensors and no more. With the library it lives in."""
    library = torch.library.Library("mixfuse_bench", "DEF")
    schema = str(torch.ops.mixfuse.mix.default._schema)
    library.define(schema.replace("mixfuse::mix", "empty", 1))
    library.impl("empty", lambda x, *_: (
        torch.empty_like(x), x.new_empty((x.shape[0], CLASSES)), x.new_empty((x.shape[0], 11))), "CPU")
    torch.library.register_autograd(
        "mixfuse_bench::empty", lambda ctx, *_: (None,) * 5, lib=library)
    return library, torch.ops.mixfuse_bench.empty.default


def operators_of(torch, tensor, labelled):
    """Ours, and the empty one."""
    import mixfuse.torch as ours

    mix, mix_ = torch.ops.mixfuse.mix.default, torch.ops.mixfuse.mix_.default
    _, empty = empty_operator(torch)
    x, y = tensor[0], tensor[1] if labelled else None
    key, grown = ours.key(1), x.clone().requires_grad_()
    how = ours.options(mixup=ALPHA, num_classes=CLASSES)
    return {
        "operator": lambda: mix(x, y, key, None, how),
        "empty operator": lambda: empty(x, y, key, None, how),
        "operator, a gradient needed": lambda: mix(grown, y, key, None, how),
        "empty operator, a gradient needed": lambda: empty(grown, y, key, None, how),
        "operator in place": lambda: mix_(x, y, key, None, how),
        "mixfuse.torch.mix": lambda: ours.mix(x, y, key, mixup=ALPHA, num_classes=CLASSES),
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
        torch = None
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
        if torch is not None:
            calls = operators_of(torch, frameworks["torch"], labelled)
            contestants |= {f"torch: {name}": repeated(call) for name, call in calls.items()}
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
