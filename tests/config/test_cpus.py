"""Which limit decides how many CPUs there are; what a task sees; how a budget is shared."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parallelcfg import ConfigError, get_config
from parallelcfg.config import cpus
from parallelcfg.config.context import entered
from parallelcfg.config.cpureport import SCHEDULERS, CpuReport
from parallelcfg.config.cpus import available_cpus, cpu_count, split_budget
from parallelcfg.config.snapshot import Scope

if TYPE_CHECKING:
    from collections.abc import Iterator

COUNT = "from parallelcfg import cpu_count; print(cpu_count())"


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A file system without control groups."""
    return tmp_path


def look(root: Path, *, machine: int | None = 64, allowed: int | None = 48, **environ: str) -> CpuReport:
    return available_cpus(
        environ=environ,
        affinity=lambda: None if allowed is None else frozenset(range(allowed)),
        machine=lambda: machine,
        root=str(root),
    )


def quota(root: Path, cpu_max: str) -> None:
    for name, text in {
        "proc/self/cgroup": "0::/job\n",
        "proc/self/mountinfo": "38 31 0:35 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
        "sys/fs/cgroup/job/cpu.max": cpu_max,
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def test_the_smallest_limit_decides_and_is_named(bare: Path) -> None:
    assert look(bare).decided.name == "affinity"
    assert look(bare, allowed=None).decided.name == "machine"
    quota(bare, "1250000 100000")
    report = look(bare)
    assert (report.count, report.decided.name) == (13, "cgroup v2 quota")
    assert report.decided.place == str(bare / "sys/fs/cgroup/job/cpu.max")
    assert report.decided.note == "1250000 µs in every 100000 µs"
    assert look(bare, LOKY_MAX_CPU_COUNT="7").decided.place == "LOKY_MAX_CPU_COUNT"
    assert look(bare, LOKY_MAX_CPU_COUNT="7", NSLOTS="5").count == 5


@pytest.mark.parametrize("variable", SCHEDULERS)
def test_a_schedulers_grant_is_a_limit(bare: Path, variable: str) -> None:
    report = look(bare, **{variable: " 6 "})
    assert (report.count, report.decided.place) == (6, variable)


@pytest.mark.parametrize("text", ["", "many", "0", "-3", "2.5", "1_0", "٣", "9" * 5000])
def test_nonsense_from_a_scheduler_is_passed_over_and_said(bare: Path, text: str) -> None:
    report = look(bare, SLURM_CPUS_PER_TASK=text)
    (grant,) = [limit for limit in report.limits if limit.place == "SLURM_CPUS_PER_TASK"]
    assert (report.count, grant.value) == (48, None)
    assert bool(grant.note) is bool(text)


@pytest.mark.parametrize("text", ["", "  "])
def test_an_empty_loky_ceiling_is_unset(bare: Path, text: str) -> None:
    assert look(bare, LOKY_MAX_CPU_COUNT=text).count == 48


@pytest.mark.parametrize("text", ["two", "0", "-1", "2.0", "1_0"])
def test_an_invalid_loky_ceiling_is_a_config_error(bare: Path, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        look(bare, LOKY_MAX_CPU_COUNT=text)
    assert str(caught.value) == (
        "1 problem in the configuration\n"
        f"  environment variable LOKY_MAX_CPU_COUNT={text!r}: "
        "expected a whole number of at least 1 (correct or unset it)"
    )


def test_a_system_that_says_nothing_has_one_cpu(bare: Path) -> None:
    assert look(bare, machine=None, allowed=None).count == 1


def test_the_report_reads_as_a_table(bare: Path) -> None:
    lines = str(look(bare, NCPUS="x", NSLOTS="1")).splitlines()
    assert lines == [
        "1 CPU, decided by NSLOTS",
        "  machine       64  os.cpu_count()",
        "  affinity      48  os.sched_getaffinity()",
        "  ceiling        -  LOKY_MAX_CPU_COUNT",
        "  Slurm          -  SLURM_CPUS_PER_TASK",
        "  Grid Engine    1  NSLOTS",
        "  LSF            -  LSB_DJOB_NUMPROC",
        "  PBS            -  NCPUS (ignored: 'x' is no number of CPUs)",
    ]


LIMITS = st.none() | st.integers(1, 512)


@given(machine=LIMITS, allowed=LIMITS, ceiling=LIMITS, grants=st.lists(LIMITS, min_size=4, max_size=4))
def test_the_count_is_the_smallest_limit_that_is_set(machine, allowed, ceiling, grants) -> None:
    environ = dict(zip(["LOKY_MAX_CPU_COUNT", *SCHEDULERS], [ceiling, *grants], strict=True))
    report = look(
        Path("/nowhere"),
        machine=machine,
        allowed=allowed,
        **{name: str(value) for name, value in environ.items() if value is not None},
    )
    set_ones = [value for value in (machine, allowed, ceiling, *grants) if value is not None]
    assert report.count == min(set_ones, default=1)
    assert report.decided in report.limits


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere loky counts the cores")
def test_threads_of_one_core_count_once(bare: Path) -> None:
    for cpu in range(8):
        siblings = bare / f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list"
        siblings.parent.mkdir(parents=True)
        siblings.write_text(f"{cpu % 4},{cpu % 4 + 4}\n")

    def cores(*allowed: int) -> int:
        affinity = lambda: frozenset(allowed)
        report = available_cpus(True, environ={}, affinity=affinity, machine=lambda: 8, root=str(bare))
        return report.count

    assert cores(*range(8)) == 4
    assert cores(0, 4) == 1
    assert cores(0, 1, 4) == 2


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere loky counts the cores")
def test_a_hidden_topology_leaves_the_logical_count(bare: Path) -> None:
    report = available_cpus(
        True, environ={}, affinity=lambda: frozenset({0, 1}), machine=lambda: 8, root=str(bare)
    )
    assert report.count == 2


def test_the_environment_is_read_at_every_call(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOKY_MAX_CPU_COUNT", *SCHEDULERS):
        monkeypatch.delenv(name, raising=False)
    before = cpu_count()
    monkeypatch.setenv("NSLOTS", "1")
    assert cpu_count() == 1
    monkeypatch.delenv("NSLOTS")
    assert cpu_count() == before


@pytest.mark.parametrize("budget", [1, 3, 500])
def test_a_task_sees_its_budget_and_nothing_else(monkeypatch: pytest.MonkeyPatch, budget: int) -> None:
    monkeypatch.setenv("NSLOTS", "2")
    with entered(Scope(get_config(), depth=1, cpus=budget)):
        assert cpu_count() == budget
        assert 1 <= cpu_count(only_physical_cores=True) <= budget
        assert available_cpus().count <= 2
    assert cpu_count() <= 2


def test_files_are_read_again_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    readings = iter(range(10, 20))
    now = [1000.0]
    monkeypatch.setattr(cpus, "_remembered", None)
    monkeypatch.setattr(cpus, "monotonic", lambda: now[0])
    monkeypatch.setattr(cpus, "_read_machine", lambda root, machine: cpus._Machine(next(readings), ()))

    def machine() -> int | None:
        return available_cpus(environ={}, affinity=lambda: None).count

    assert [machine(), machine()] == [10, 10]
    now[0] += 5
    assert [machine(), machine()] == [11, 11]


@given(cpus=st.integers(1, 10_000), workers=st.integers(1, 500))
def test_a_budget_is_shared_whole_and_evenly(cpus: int, workers: int) -> None:
    budgets = split_budget(cpus, workers)
    assert len(budgets) == workers
    assert sum(budgets) == max(cpus, workers)
    assert min(budgets) >= 1
    assert max(budgets) - min(budgets) <= 1
    assert list(budgets) == sorted(budgets, reverse=True)


def run_python(code: str, *prefix: str) -> str:
    environ = {k: v for k, v in os.environ.items() if k != "LOKY_MAX_CPU_COUNT" and k not in SCHEDULERS}
    done = subprocess.run(
        [*prefix, sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environ
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.skipif(sys.platform != "linux", reason="taskset is a Linux tool")
def test_a_process_under_taskset_counts_its_cpus() -> None:
    one = min(os.sched_getaffinity(0))
    try:
        assert run_python(COUNT, "taskset", "--cpu-list", str(one)) == "1"
    except FileNotFoundError:
        pytest.skip("taskset is not installed")


@pytest.fixture
def cgroup_with_half_a_cpu() -> Iterator[Path]:
    """A real control group, where the system permits making one."""
    group = Path("/sys/fs/cgroup")
    version_1 = group / "cpu"
    folder = (version_1 if version_1.is_dir() else group) / f"parallelcfg-test-{uuid4().hex}"
    try:
        folder.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")
    try:
        if version_1.is_dir():
            (folder / "cpu.cfs_period_us").write_text("100000")
            (folder / "cpu.cfs_quota_us").write_text("50000")
        else:
            (folder / "cpu.max").write_text("50000 100000")
        yield folder
    except OSError as error:
        pytest.skip(f"the control group takes no CPU quota: {error}")
    finally:
        folder.rmdir()


def test_a_process_in_a_real_cgroup_counts_its_quota(cgroup_with_half_a_cpu: Path) -> None:
    report = f"""
import os
from pathlib import Path
Path({str(cgroup_with_half_a_cpu / "cgroup.procs")!r}).write_text(str(os.getpid()))
from parallelcfg.config.cpus import available_cpus
decided = available_cpus().decided
print(decided.value, decided.place.startswith({str(cgroup_with_half_a_cpu)!r}))
"""
    assert run_python(report) == "1 True"
