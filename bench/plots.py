# SPDX-License-Identifier: Apache-2.0
"""Draws what was measured: plots.py --out FOLDER RESULT.json ...

ceiling.png   a step's time over that of a copy of the same bytes, by shape
peers.png     how many times faster mixfuse is than each peer, by shape
samples.png   samples a second of a step on either processor
"""
import argparse
import json
import os

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import matplotlib.ticker

DARK, LIGHT = "#0b6e4f", "#9aa5ab"


def loaded(paths):
    reports = []
    for path in paths:
        try:
            with open(path) as file:
                reports.append(json.load(file))
        except (OSError, ValueError) as error:
            print(f"plots.py: {path}: {error}")
    return reports


def contests(reports, stage):
    """(report, contest), graph replays where there are some, else plain calls; cold ones."""
    found = {}
    for report in reports:
        for contest in report["contests"]:
            cold = contest.get("sets", 2) > 1
            if contest["stage"] != stage or not cold or not any(
                    "us" in result for result in contest["results"]):
                continue
            key = (report["program"], contest["shape"], contest["in"], contest["out"])
            if key not in found or contest["way"] == "graph":
                found[key] = (report, contest)
    return list(found.values())


def title(contest):
    dtypes = contest["in"] if contest["in"] == contest["out"] else \
        f"{contest['in']} to {contest['out']}"
    return f"{contest['shape']} {dtypes}"


def caption(figure, pairs, what):
    report = pairs[0][0]
    machine = report["machine"]
    where = machine["name"] if machine["device"] == "cuda" else \
        f"{machine['name']}, threads: {machine['threads']}"
    rounds = sorted({contest["rounds"] for _, contest in pairs})
    runs = f"{rounds[0]}" if len(rounds) == 1 else f"{rounds[0]} to {rounds[-1]}"
    figure.text(0.01, 0.005, f"{where}; {what}; median and p10 to p90 of {runs} rounds; cold "
                f"buffers; mixfuse {report['version']} {report['commit']}, {report['date'][:10]}",
                fontsize=6.5, color="#444444")


def three_digits(value):
    rounded = float(f"{value:.3g}")
    return f"{rounded:g}" if rounded < 1000 else f"{rounded:,.0f}"


def dots(axis, rows):
    """Rows of (name, p10, median, p90), sorted, mixfuse's in colour."""
    rows = sorted(rows, key=lambda row: row[2], reverse=True)
    for y, (name, low, median, high) in enumerate(rows):
        colour = DARK if name.startswith(("mixfuse", "GPU step", "CPU step")) else LIGHT
        axis.plot([low, high], [y, y], color=colour, linewidth=2)
        axis.plot(median, y, "o", color=colour, markersize=5)
        axis.annotate(three_digits(median), (median, y), xytext=(0, 4), textcoords="offset points",
                      ha="center", fontsize=6)
    axis.set_yticks(range(len(rows)), [row[0] for row in rows], fontsize=7)
    axis.set_ylim(-0.6, len(rows) - 0.3)
    axis.set_xscale("log")
    axis.xaxis.set_major_locator(matplotlib.ticker.LogLocator(subs=(1, 2, 5)))
    axis.tick_params(axis="x", labelsize=7)
    axis.xaxis.set_major_formatter(
        matplotlib.ticker.FuncFormatter(lambda value, _: three_digits(value)))
    axis.xaxis.set_minor_formatter(matplotlib.ticker.NullFormatter())
    axis.grid(axis="x", color="#e5e5e5")
    axis.spines[["top", "right", "left"]].set_visible(False)


def panels(pairs, rows_of, label, path, what):
    """One panel a contest, all on one axis."""
    drawn = [(pair, rows_of(pair[1])) for pair in pairs]
    drawn = [(pair, rows) for pair, rows in drawn if rows]
    if not drawn:
        return
    heights = [len(rows) + 1.5 for _, rows in drawn]
    figure, axes = plt.subplots(len(drawn), 1, sharex=True, squeeze=False,
                                figsize=(8, 0.19 * sum(heights) + 0.7),
                                gridspec_kw={"height_ratios": heights})
    for axis, ((_, contest), rows) in zip(axes[:, 0], drawn):
        dots(axis, rows)
        if label.startswith("time /"):
            axis.axvline(1, color="#444444", linewidth=0.8)
        axis.set_title(f"{title(contest)}, {contest['way']}", fontsize=8, loc="left")
    axes[-1, 0].set_xlabel(label, fontsize=8)
    figure.tight_layout(rect=(0, 0.02, 1, 1))
    caption(figure, [pair for pair, _ in drawn], what)
    figure.savefig(path, dpi=130)
    plt.close(figure)
    print(path)


def ceiling_rows(contest):
    return [(result["name"], *(result["ratio"][key] for key in ("p10", "median", "p90")))
            for result in contest["results"][1:]]


def rival(name):
    """mixfuse's own counterpart of a peer."""
    if "nothing drawn" in name:
        return "mixfuse, the plan kept"
    rolls = "roll" in name or name.startswith("torchvision")
    return "mixfuse, roll" if rolls else "mixfuse, permutation"


def peer_rows(contest):
    own = {result["name"]: result["ratio"]["median"] for result in contest["results"]
           if result["name"].startswith("mixfuse")}
    rows = []
    for result in contest["results"][1:]:
        base = own.get(rival(result["name"]))
        if result["name"].startswith("mixfuse") or "copy" in result["name"] or not base:
            continue
        rows.append((result["name"],
                     *(result["ratio"][key] / base for key in ("p10", "median", "p90"))))
    return rows


def sample_rows(contest):
    return [(result["name"], *(contest["samples"] * 1e6 / result["us"][key]
                               for key in ("p90", "median", "p10")))
            for result in contest["results"]]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", required=True)
    parser.add_argument("results", nargs="+")
    flags = parser.parse_args()
    reports = loaded(flags.results)
    mix = contests(reports, "mix")
    of_peers = [pair for pair in mix if pair[0]["program"] == "peers.py"]
    panels([pair for pair in mix if pair[0]["program"] != "peers.py"], ceiling_rows,
           "time / time of a copy of the same bytes", os.path.join(flags.out, "ceiling.png"),
           "a step in C++")
    panels(of_peers, peer_rows, "time / mixfuse's time", os.path.join(flags.out, "peers.png"),
           "a step in Python")
    panels(contests(reports, "step"), sample_rows, "samples a second",
           os.path.join(flags.out, "samples.png"), "a step with 1000 classes' targets")


if __name__ == "__main__":
    main()
