"""Draw what the documentation shows of notebooks: ``python docs/pictures.py``.

The timeline is that of a made-up call, so that the picture stays the same from one day to the next; the table
of the configuration is that of a made-up project. Both are drawn by the code that draws them in notebooks.
"""

from __future__ import annotations

import os
import random
import re
import tempfile
from pathlib import Path

from parallelcfg import get_config, parallel_config
from parallelcfg.config.context import using_machine
from parallelcfg.config.machine import Machine
from parallelcfg.report import BatchRecord, Report

ASSETS = Path(__file__).resolve().parent / "assets"
WORKERS, SECONDS = 4, 12.4
SHOWN = 6  # rows of the table


def pictures() -> dict[Path, str]:
    """What each file in ``assets`` should hold."""
    return {ASSETS / "timeline.svg": made_up_call().to_svg() + "\n", ASSETS / "config.html": table() + "\n"}


def made_up_call() -> Report:
    """A call with a few failures, and a long task at its end."""
    chance = random.Random(3)
    report = Report("loky", WORKERS, place="train.py:31")
    report.began = 0.0
    tasks = 0
    for worker in range(WORKERS):
        now = 0.2 + 0.2 * chance.random()
        end = SECONDS - 0.1 - 1.2 * worker
        while now < end:
            seconds = min(end - now, chance.lognormvariate(0, 0.5) * 0.45)
            count, failed = chance.randint(4, 40), int(chance.random() < 0.05)  # noqa: PLR2004
            name = str(18340 + worker)
            batch = BatchRecord(name, now, now + seconds, 0.98 * seconds, count, failed, tasks)
            report.history.add(batch._replace(peak_rss=chance.randint(80, 400) * 10**6))
            report.counts.failed += failed
            tasks += count
            now += seconds + 0.04 * chance.random()
    report.counts.done = report.total = tasks
    report.feed_seconds, report.return_seconds = 0.12, 0.06
    report.traffic.pickled, report.traffic.shared = 3_400_000, 812_000_000
    report.ended = SECONDS
    return report


def table() -> str:
    """The first rows of the table that a notebook shows of the configuration."""
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        project, system = home / "project", home / "etc"
        for folder, text in (
            (project, 'n_jobs = -1\ntemp_folder = "/scratch"\n'),
            (system, "max_jobs = 8\n"),
        ):
            folder.mkdir()
            (folder / "parallel.toml").write_text(text, encoding="utf-8")
        machine = Machine(
            environ={"PARALLEL_N_JOBS": "16"},
            cwd=project,
            home=home,
            system_dir=system,
            user_dir=home / "user",
            uid=os.getuid(),
        )
        with using_machine(machine), parallel_config(progress=True, retries=1):
            rows = get_config()._repr_html_()
    rows = re.sub(r"[^<>]*/etc/", "/etc/parallelcfg/", rows)
    rows = re.sub(rf"[^<>]*{Path(__file__).name}:\d+", "Cell In[3]:1", rows)
    head, *body = rows.split("<tr>")
    return "<tr>".join([head, *body[: SHOWN + 1]]) + "</tbody></table></div>"


def main() -> None:
    """Write the files."""
    ASSETS.mkdir(exist_ok=True)
    for file, text in pictures().items():
        file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
