"""Run the benchmarks: ``python -m benchmarks [--quick] [--only TEXT] [--json FILE] [--plot FILE]``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from benchmarks import harness, nested, sharing, speed, watching


def main() -> None:
    options = argparse.ArgumentParser(prog="python -m benchmarks", description=harness.__doc__)
    options.add_argument("--quick", action="store_true", help="3 rounds of everything")
    options.add_argument("--only", default="", metavar="TEXT", help="workloads whose name contains the text")
    options.add_argument("--json", type=Path, metavar="FILE", help="write all figures")
    options.add_argument("--plot", type=Path, metavar="FILE", help="draw the ratios (needs matplotlib)")
    options.add_argument(
        "--readme", type=Path, metavar="FILE", help="put the table between its markers there"
    )
    asked = options.parse_args()

    pools, hand_tuned = speed.Pools(), nested.HandTuned()
    try:
        workloads = [
            *speed.warm_call(pools),
            *speed.throughput(pools),
            *speed.efficiency(),
            *speed.cold(),
            *speed.configuration(),
            *nested.nested_loops(hand_tuned),
            *sharing.workloads(),
            *watching.workloads(),
        ]
        results = []
        for workload in workloads:
            if asked.only in workload.name:
                figures = harness.measure(workload, 3 if asked.quick else workload.rounds)
                results.append(harness.summary(workload, figures))
                print(_row(results[-1]), flush=True)
    finally:
        pools.close()
        hand_tuned.close()
    if asked.json:
        asked.json.write_text(json.dumps({"machine": harness.machine(), "results": results}, indent=1) + "\n")
    if asked.plot:
        _plot(results, asked.plot)
    if asked.readme:
        before, rest = asked.readme.read_text().split(_BEGIN)
        asked.readme.write_text(f"{before}{_BEGIN}\n{_table(results)}{_END}{rest.split(_END)[1]}")


_BEGIN, _END = "<!-- benchmarks:begin -->", "<!-- benchmarks:end -->"


def _table(results: list[dict]) -> str:
    """The results for the README: medians, and our ratio to joblib's."""
    rows = ["| workload | unit | parallelcfg | joblib | ratio | others |", "|---|---|---|---|---|---|"]
    for result in results:
        medians = {name: _number(median) for name, median in result["medians"].items()}
        ours, joblibs = medians.pop("parallelcfg"), medians.pop("joblib", "")
        ratio = f"{result['ratios']['joblib']:.2f}" if joblibs else ""
        others = ", ".join(f"{name} {median}" for name, median in medians.items() if name != "ideal")
        rows.append(f"| {result['workload']} | {result['unit']} | {ours} | {joblibs} | {ratio} | {others} |")
    where = harness.machine()
    versions = f"Python {where['python']}, joblib {where['joblib']}"
    rows += ["", f"Medians; ratio = ours / joblib's. {where['cpus']} CPUs, {versions}."]
    return "\n".join(rows) + "\n"


def _row(result: dict) -> str:
    """A line of a Markdown table."""
    cells = [f"{name} {_number(median)}" for name, median in result["medians"].items()]
    ratios = [f"{ratio:.2f} x {name}" + _verdict(result, name) for name, ratio in result["ratios"].items()]
    if result["limit"] is not None:
        ratios.append(
            f"{'within' if result['within'] else 'NOT within'} {result['limit']:g} {result['unit']}"
        )
    return f"| {result['workload']} | {result['unit']} | {', '.join(cells)} | {', '.join(ratios)} |"


def _verdict(result: dict, name: str) -> str:
    if name not in result["goals"]:
        return ""
    return f" ({'met' if result['met'][name] else 'NOT met'}: {result['goals'][name]:.2g})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def _plot(results: list[dict], file: Path) -> None:
    import matplotlib.pyplot as plt

    rows = [(r["workload"], r["ratios"]["joblib"], r["unit"]) for r in results if "joblib" in r["ratios"]]
    figure, axes = plt.subplots(figsize=(8, 0.4 * len(rows) + 1.2))
    gains = [ratio if unit in {"tasks/s", "share of ideal"} else 1 / ratio for _, ratio, unit in rows]
    axes.barh([name for name, _, _ in rows], gains, color="#3b7dd8")
    axes.axvline(1, color="#888", linewidth=1)
    axes.set_xscale("log")
    axes.set_xlabel("times better than joblib")
    axes.invert_yaxis()
    figure.tight_layout()
    figure.savefig(file)


if __name__ == "__main__":
    main()
