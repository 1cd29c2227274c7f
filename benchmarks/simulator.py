"""What batching does on clusters that nobody has at hand: one parent, many workers, simulated.

The parent is one server: each batch costs it a fixed time to send and to take back, and a time per task to
pull and to pack. A worker is free or runs a batch. Sizes come from the package's own `Batcher`, or are given.
"""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heapify, heappop, heappush, heappushpop

from parallelcfg.core.batching import Batcher


@dataclass(frozen=True)
class Costs:
    """What the parent spends, in seconds, and how long a message is on its way."""

    batch: float
    task: float
    latency: float = 0.001


@dataclass(frozen=True)
class Outcome:
    """What came of a run."""

    efficiency: float  # share of the workers' time spent in tasks
    batches_per_second: float
    tasks_per_batch: float
    parent_busy: float  # share of the parent's time


def simulate(
    workers: int,
    task: float,
    costs: Costs,
    *,
    batch_size: int | str = "auto",
    seconds: float = 120.0,
    ahead: int = 2,
) -> Outcome:
    """Run an endless stream of equal tasks for so many seconds, and look at the second half of them."""
    batcher = Batcher(batch_size, workers)
    free = [0.0] * workers
    heapify(free)
    coming: list[tuple[float, float, int]] = []
    now = work = spent = 0.0
    batches = tasks = 0
    warm = seconds / 2
    while now < seconds:
        while coming and (coming[0][0] <= now or len(coming) >= ahead * workers):
            arrived, sent, size = heappop(coming)
            now = max(now, arrived) + costs.batch / 2
            batcher.observe(size, size * task, size * costs.task, arrived - sent - size * task)
        size = batcher.size(None)
        cost = costs.batch / 2 + size * costs.task
        now += cost
        batcher.handed_over(costs.batch / 2)
        start = max(free[0], now + costs.latency)
        end = start + size * task
        heappushpop(free, end)
        heappush(coming, (end + costs.latency, now, size))
        work += max(0.0, min(end, seconds) - max(start, warm))
        if now >= warm:
            spent += cost + costs.batch / 2
            batches += 1
            tasks += size
    span = seconds - warm
    return Outcome(work / (span * workers), batches / span, tasks / max(batches, 1), min(1.0, spent / span))


def table(
    costs: dict[str, Costs], task: float, sizes: tuple[int, ...] = (2, 100, 1_000, 10_000, 100_000)
) -> str:
    """Automatic sizes beside single tasks, as a Markdown table."""
    heads = [
        "backend",
        "workers",
        "tasks per batch",
        "seconds per batch",
        "batches/s",
        "parent busy",
        "workers busy",
    ]
    heads.append("workers busy with `batch_size=1`")
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    for name, cost in costs.items():
        for workers in sizes:
            seconds = max(120.0, 40 * workers * cost.batch)  # many workers get long batches: several of them
            auto = simulate(workers, task, cost, seconds=seconds)
            single = simulate(workers, task, cost, batch_size=1)
            cells = [
                name,
                f"{workers:,}",
                f"{auto.tasks_per_batch:,.0f}",
                f"{auto.tasks_per_batch * task:.2g}",
                f"{auto.batches_per_second:,.0f}",
                f"{auto.parent_busy:.0%}",
                f"{auto.efficiency:.0%}",
                f"{single.efficiency:.1%}",
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
