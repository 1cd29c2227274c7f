"""CPU quotas of the control groups that this process is in, versions 1 and 2.

A container or a batch system grants CPU *time*: a quota of microseconds in every period. It stands in files
of the process's group or of any group around it, and the kernel enforces the tightest::

    /proc/self/cgroup      which group, per hierarchy      0::/batch/job7
    /proc/self/mountinfo   where hierarchies are mounted   ... / /sys/fs/cgroup ... - cgroup2 cgroup2 rw
    /sys/fs/cgroup/batch/job7/cpu.max                      150000 100000       1.5 CPUs, so 2 workers
    /sys/fs/cgroup/batch/cpu.max                           max 100000          no limit here

A file that is missing, unreadable or malformed says nothing; it never raises.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Quota", "quotas"]

_DEFAULT_PERIOD = "100000"  # what the kernel assumes where cpu.max names no period


class Quota(NamedTuple):
    """CPU time that one control group grants.

    Parameters
    ----------
    version : int
        1 or 2: of the hierarchy that the group belongs to.
    quota, period : int
        Microseconds of CPU time in every period, and the period's length.
    file : str
        Where it was read.
    """

    version: int
    quota: int
    period: int
    file: str

    @property
    def cpus(self) -> int:
        """The quota as a number of CPUs, rounded up, at least 1.

        Examples
        --------
        >>> Quota(2, 150_000, 100_000, "cpu.max").cpus
        2
        """
        return max(1, -(-self.quota // self.period))


class _Mount(NamedTuple):
    version: int
    root: PurePosixPath  # the group that is visible at `point`
    point: str


def quotas(root: Path) -> Iterator[Quota]:
    """Every quota in force for this process, from its own groups outwards.

    Parameters
    ----------
    root : Path
        Root of the file system; tests pass a folder of their own.

    Yields
    ------
    Quota
        Only real limits: groups without one are passed over.
    """
    groups = dict(_groups(_text(root / "proc/self/cgroup")))
    for mount in _mounts(_text(root / "proc/self/mountinfo")):
        group = groups.get(mount.version)
        if group is None:
            continue
        top = root / mount.point.lstrip("/")
        inner = top / _below(group, mount.root)
        for folder in (inner, *inner.parents):
            found = _read(folder, mount.version)
            if found is not None:
                yield found
            if folder == top:
                break


def _groups(text: str) -> Iterator[tuple[int, PurePosixPath]]:
    """The (version, group) pairs of ``/proc/self/cgroup`` that concern CPU time."""
    for line in text.splitlines():
        hierarchy, _, rest = line.partition(":")
        controllers, separator, group = rest.partition(":")
        if not separator:
            continue
        if hierarchy == "0" and not controllers:
            yield 2, PurePosixPath(group)
        elif "cpu" in controllers.split(","):
            yield 1, PurePosixPath(group)


def _mounts(text: str) -> Iterator[_Mount]:
    """The cgroup hierarchies of ``/proc/self/mountinfo`` that concern CPU time."""
    for line in text.splitlines():
        head, _, tail = line.partition(" - ")
        fields, (kind, *options) = head.split(" "), tail.split(" ")
        if len(fields) < 6 or (kind == "cgroup" and "cpu" not in options[-1].split(",")):  # noqa: PLR2004 - see proc(5)
            continue
        if kind in {"cgroup", "cgroup2"}:
            group, point = map(_unescape, fields[3:5])
            yield _Mount(2 if kind == "cgroup2" else 1, PurePosixPath(group), point)


def _below(group: PurePosixPath, visible: PurePosixPath) -> PurePosixPath:
    """The group's path under its mount point; empty where the mount shows only another part of the tree."""
    if ".." in group.parts or not group.is_relative_to(visible):
        return PurePosixPath()  # a namespace hides our place: the mount's top is the nearest that can be read
    return group.relative_to(visible)


def _read(folder: Path, version: int) -> Quota | None:
    file = folder / ("cpu.max" if version == 2 else "cpu.cfs_quota_us")  # noqa: PLR2004 - cgroup version
    quota, period, *_ = (*_text(file).split(), "", "")
    if version == 1:
        period = _text(folder / "cpu.cfs_period_us").strip()
    try:
        found = Quota(version, int(quota), int(period or _DEFAULT_PERIOD), str(file))
    except ValueError:
        return None  # "max", empty, or nonsense
    return found if found.quota > 0 and found.period > 0 else None


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except (OSError, ValueError):  # ValueError: a NUL in a path that a malformed file named
        return ""


def _unescape(text: str) -> str:
    r"""Undo mountinfo's octal escapes: ``\040`` is a blank."""
    return re.sub(r"\\([0-3][0-7]{2})", lambda match: chr(int(match[1], 8)), text)
