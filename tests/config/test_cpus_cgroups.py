"""Quotas of control groups, on file systems made up in a temporary folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parallelcfg.config.cgroups import Quota, quotas

V2_MOUNT = "38 31 0:35 {root} {point} rw,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate"
V1_MOUNT = "32 31 0:29 {root} {point} rw,relatime - cgroup cgroup rw,{controllers}"


def machine(folder: Path, cgroup: str, *mounts: str) -> Path:
    write(folder / "proc/self/cgroup", cgroup)
    write(folder / "proc/self/mountinfo", "\n".join(mounts))
    return folder


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


def v2(root: str = "/", point: str = "/sys/fs/cgroup") -> str:
    return V2_MOUNT.format(root=root, point=point)


def v1(controllers: str = "cpu,cpuacct", root: str = "/", point: str = "/sys/fs/cgroup/cpu") -> str:
    return V1_MOUNT.format(root=root, point=point, controllers=controllers)


def cpus(root: Path) -> list[int]:
    return [quota.cpus for quota in quotas(root)]


@pytest.mark.parametrize(
    ("quota", "period", "expected"),
    [
        (100_000, 100_000, 1),
        (150_000, 100_000, 2),
        (1_000, 100_000, 1),
        (400_000, 50_000, 8),
        (200_001, 100_000, 3),
    ],
)
def test_a_quota_is_rounded_up_to_whole_cpus(quota: int, period: int, expected: int) -> None:
    assert Quota(2, quota, period, "").cpus == expected


def test_version_2_is_found_through_proc_self_cgroup(tmp_path: Path) -> None:
    root = machine(tmp_path, "0::/batch/job7\n", v2())
    write(root / "sys/fs/cgroup/batch/job7/cpu.max", "250000 100000\n")
    write(root / "sys/fs/cgroup/other/cpu.max", "100000 100000\n")
    (found,) = quotas(root)
    assert found == Quota(2, 250_000, 100_000, str(root / "sys/fs/cgroup/batch/job7/cpu.max"))
    assert found.cpus == 3


def test_quotas_of_every_ancestor_are_found_from_the_inside_out(tmp_path: Path) -> None:
    root = machine(tmp_path, "0::/a/b/c\n", v2())
    write(root / "sys/fs/cgroup/cpu.max", "800000 100000\n")
    write(root / "sys/fs/cgroup/a/cpu.max", "200000 100000\n")
    write(root / "sys/fs/cgroup/a/b/cpu.max", "max 100000\n")
    write(root / "sys/fs/cgroup/a/b/c/cpu.max", "400000 100000\n")
    write(root / "sys/fs/cpu.max", "1000 100000\n")  # outside of the hierarchy
    assert cpus(root) == [4, 2, 8]


def test_version_1_needs_quota_and_period(tmp_path: Path) -> None:
    root = machine(tmp_path, "4:memory:/m\n3:cpu,cpuacct:/docker/f00\n", v1())
    write(root / "sys/fs/cgroup/cpu/docker/f00/cpu.cfs_quota_us", "300000\n")
    write(root / "sys/fs/cgroup/cpu/docker/f00/cpu.cfs_period_us", "100000\n")
    write(root / "sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n")
    write(root / "sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n")
    assert cpus(root) == [3]


def test_a_hierarchy_without_the_cpu_controller_is_not_asked(tmp_path: Path) -> None:
    root = machine(tmp_path, "3:cpuset:/\n", v1("cpuset", point="/sys/fs/cgroup/cpuset"))
    write(root / "sys/fs/cgroup/cpuset/cpu.cfs_quota_us", "100000\n")
    assert cpus(root) == []


def test_both_versions_count_on_a_hybrid_system(tmp_path: Path) -> None:
    root = machine(tmp_path, "1:cpu:/x\n0::/y\n", v1("cpu"), v2(point="/sys/fs/cgroup/unified"))
    write(root / "sys/fs/cgroup/cpu/x/cpu.cfs_quota_us", "200000")
    write(root / "sys/fs/cgroup/cpu/x/cpu.cfs_period_us", "100000")
    write(root / "sys/fs/cgroup/unified/y/cpu.max", "500000 100000")
    assert sorted(cpus(root)) == [2, 5]


def test_a_bind_mounted_group_is_resolved_below_its_mount(tmp_path: Path) -> None:
    root = machine(tmp_path, "0::/docker/f00/worker\n", v2(root="/docker/f00"))
    write(root / "sys/fs/cgroup/worker/cpu.max", "200000 100000")
    write(root / "sys/fs/cgroup/cpu.max", "600000 100000")
    assert cpus(root) == [2, 6]


@pytest.mark.parametrize("group", ["/../outside", "/elsewhere"])
def test_a_group_that_a_namespace_hides_falls_back_to_its_mount(tmp_path: Path, group: str) -> None:
    root = machine(tmp_path, f"0::{group}\n", v2(root="/docker/f00"))
    write(root / "sys/fs/cgroup/cpu.max", "600000 100000")
    assert cpus(root) == [6]


def test_a_group_whose_folder_is_missing_still_finds_its_ancestors(tmp_path: Path) -> None:
    root = machine(tmp_path, "0::/gone/away\n", v2())
    write(root / "sys/fs/cgroup/cpu.max", "700000 100000")
    assert cpus(root) == [7]


def test_escaped_mount_points_and_colons_in_groups_are_understood(tmp_path: Path) -> None:
    root = machine(tmp_path, "0::/a:b\n", v2(point=r"/sys/my\040groups"))
    write(root / "sys/my groups/a:b/cpu.max", "100000 100000")
    assert cpus(root) == [1]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "max",
        "max 100000",
        "max max",
        "x y",
        "0 100000",
        "-1 100000",
        "100000 0",
        "1e5 100000",
        "\0",
    ],
)
def test_a_malformed_or_empty_cpu_max_is_no_limit(tmp_path: Path, text: str) -> None:
    root = machine(tmp_path, "0::/\n", v2())
    write(root / "sys/fs/cgroup/cpu.max", text)
    assert cpus(root) == []


def test_a_cpu_max_without_a_period_takes_the_kernels_default(tmp_path: Path) -> None:
    root = machine(tmp_path, "0::/\n", v2())
    write(root / "sys/fs/cgroup/cpu.max", "300000\n")
    assert cpus(root) == [3]


def test_a_folder_in_the_place_of_a_file_is_no_limit(tmp_path: Path) -> None:
    root = machine(tmp_path, "0::/\n", v2())
    (root / "sys/fs/cgroup/cpu.max").mkdir(parents=True)
    assert cpus(root) == []


def test_a_system_without_control_groups_has_no_quota(tmp_path: Path) -> None:
    assert cpus(tmp_path) == []


LINES = st.lists(
    st.sampled_from(
        [
            "0::/a",
            "1:cpu:/a",
            "::",
            ":",
            "1:cpu",
            "0::",
            "0::/../..",
            "0::/a\0b",
            v2(),
            v1(),
            " - ",
            "x" * 300,
        ]
    )
    | st.text(max_size=40),
    max_size=6,
).map("\n".join)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(cgroup=LINES, mountinfo=LINES, cpu_max=st.binary(max_size=40))
def test_no_file_makes_it_raise(tmp_path: Path, cgroup: str, mountinfo: str, cpu_max: bytes) -> None:
    write(tmp_path / "sys/fs/cgroup/a/cpu.max", "")
    (tmp_path / "sys/fs/cgroup/a/cpu.max").write_bytes(cpu_max)
    for name, text in (("cgroup", cgroup), ("mountinfo", mountinfo)):
        write(tmp_path / "proc/self" / name, "")
        (tmp_path / "proc/self" / name).write_bytes(text.encode("utf-8", "surrogatepass"))
    assert all(count >= 1 for count in cpus(tmp_path))


def test_the_real_files_of_this_machine_are_understood() -> None:
    assert all(count >= 1 for count in cpus(Path("/")))
