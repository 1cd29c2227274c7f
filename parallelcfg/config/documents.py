"""A configuration file as layers: its keys, its profiles, and what it locks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parallelcfg.config import environ
from parallelcfg.config.entries import Checked, Entry, check, problem
from parallelcfg.config.places import short_path
from parallelcfg.config.snapshot import Origin
from parallelcfg.config.spelling import join, shorten
from parallelcfg.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from parallelcfg.config.files import Document
    from parallelcfg.config.machine import Machine
    from parallelcfg.config.places import Reader

__all__ = ["document_layers"]

#: Keys by which a file decides where things are written or whom to connect to.
_RISKY = frozenset({"temp_folder", "trace", "backends"})


def document_layers(
    document: Document, selected: list[str], machine: Machine, reader: Reader
) -> list[Checked]:
    """The layers of a file: its keys, then the selected profiles in their order, then what it locks.

    Profiles that are not selected are checked all the same: their problems are reported, except for those
    that they need not have on another machine.
    """
    table = dict(document.table)
    profiles, locked = table.pop("profiles", {}), table.pop("locked", {})
    groups: list[tuple[tuple[str, ...], object]] = [((), table)]
    if isinstance(profiles, dict):
        order = [name for name in selected if name in profiles]
        groups += [(("profiles", name), profiles[name]) for name in (*order, *profiles.keys() - order)]
    else:
        groups.append((("profiles",), profiles))
    groups.append((("locked",), locked))
    layers = []
    for path, group in groups:
        in_use = path[:1] != ("profiles",) or path[-1] in selected
        checked = _group(document, path, group, machine, reader, in_use=in_use)
        checked.locked = path == ("locked",)
        if not in_use:
            checked.layer.clear()
        layers.append(checked)
    return layers


def _group(
    document: Document,
    path: tuple[str, ...],
    group: object,
    machine: Machine,
    reader: Reader,
    *,
    in_use: bool,
) -> Checked:
    layer = "locked" if path == ("locked",) else document.layer
    at = (*document.root, *path)
    here = Origin(layer, str(document.file), path=at)
    if not isinstance(group, dict) or (path == ("profiles",)):
        kind = "a table of profiles, [profiles.NAME]" if path[:1] == ("profiles",) else "a table of keys"
        message = f"{join(path)} = {shorten(group)}: expected {kind}"
        return Checked(problems=[problem(here, message, join(path), reader)])
    if layer == "locked" and group and document.layer != "system":
        message = f"[locked] counts in {machine.system_file} only; say the keys without it"
        return Checked(problems=[problem(here, message, "locked", reader)])
    entries = list(_entries(group, here))
    risky = [entry for entry in entries if entry.path[0] in _RISKY] if document.distrust else []
    if not risky:
        return check(entries, machine, reader, in_use=in_use)
    # a profile is a whole: without its folder its other values may make no sense
    kept = [] if path else [entry for entry in entries if entry.path[0] not in _RISKY]
    checked = check(kept, machine, reader, in_use=in_use)
    names = ", ".join(join((*path, *entry.path)) for entry in risky)
    skipped = f"profile {path[1]!r}, which sets {names}," if path else names
    file = short_path(document.file, reader.cwd)
    message = f"{skipped} skipped: {document.distrust}; if you trust the file, set {environ.CONFIG}={file}"
    checked.notices.append(Problem(message, document.layer, file, names))
    return checked


def _entries(group: Mapping[str, object], here: Origin) -> Iterator[Entry]:
    """One entry for each key, and for each backend by itself, so that problems name it."""
    for name, value in group.items():
        if name == "backends" and isinstance(value, dict):
            for backend, table in value.items():
                yield Entry((name, backend), table, here._replace(path=(*here.path, name, backend)))
        else:
            yield Entry((name,), value, here._replace(path=(*here.path, name)))
