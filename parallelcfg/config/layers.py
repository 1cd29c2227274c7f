"""Merging layers: the last one wins, key by key, and remembers what it shadows. Pure.

A layer is a partial mapping from dotted keys to `Sourced` values. Only leaves have keys: the table
``backends = {dask = {address = "x"}}`` is the one entry ``"backends.dask.address"``, so that tables merge key
by key by themselves and every leaf has an origin of its own. A part of a key that is no bare TOML key is
quoted, as in ``backends.dask."a.b"``.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from parallelcfg.config import policy
from parallelcfg.config.snapshot import Sourced
from parallelcfg.config.spelling import join

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from weakref import ref

__all__ = ["CodeLayer", "Layer", "flatten", "merge", "nest", "split", "stacked"]

Layer = "Mapping[str, Sourced]"

_PART = re.compile(r'"(?:[^"\\]|\\.)*"|[^."]+')


class CodeLayer(dict[str, Sourced]):
    """What a statement of the code said.

    Attributes
    ----------
    owner : weakref.ref or None
        The object that can take it back; None as long as nobody knows.
    """

    __slots__ = ("owner",)

    def __init__(self, said: Mapping[str, Sourced]) -> None:
        super().__init__(said)
        self.owner: ref[object] | None = None

    def again(self) -> CodeLayer:
        """The same once more, to be told from this one."""
        layer = CodeLayer(self)
        layer.owner = self.owner
        return layer

    def below(self, top: Mapping[str, Sourced]) -> CodeLayer:
        """What to keep of it below another layer.

        That is all of it, unless the same statement speaks again and nobody is left who could take back what
        it said before: a program that says `parallel_config` over and over, without a ``with``, shall not
        become slower and slower.
        """
        if self.owner is None or self.owner() is not None or not top:
            return self
        place = next(iter(top.values())).origin
        rest = CodeLayer({key: said for key, said in self.items() if key not in top or said.origin != place})
        rest.owner = self.owner
        return rest


def stacked(layers: tuple[CodeLayer, ...], top: CodeLayer) -> tuple[CodeLayer, ...]:
    """Put a layer on top of others.

    Examples
    --------
    >>> stacked((CodeLayer({}),), CodeLayer({}))
    ({},)
    """
    return (*filter(None, (layer.below(top) for layer in layers)), top)


def split(key: str) -> tuple[str, ...]:
    """The path of a dotted key, the inverse of `spelling.join`.

    Raises
    ------
    ValueError
        The key has empty parts or unbalanced quotes.

    Examples
    --------
    >>> split('backends.dask."a.b"')
    ('backends', 'dask', 'a.b')
    """
    parts: list[str] = []
    position = 0
    while True:
        found = _PART.match(key, position)
        if found is None:
            raise ValueError(f"{key!r} is no dotted key")
        text = found[0]
        parts.append(json.loads(text) if text.startswith('"') else text)
        position = found.end()
        if position == len(key):
            return tuple(parts)
        if key[position] != ".":
            raise ValueError(f"{key!r} is no dotted key")
        position += 1


def flatten(table: Mapping[str, object], path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], object]]:
    """The leaves of a table below a path; an empty table is a leaf."""
    for name, value in table.items():
        if isinstance(value, dict) and value:
            yield from flatten(value, (*path, name))
        else:
            yield (*path, name), value


def nest(leaves: Mapping[str, Sourced], prefix: str) -> dict[str, object]:
    """Build the table below a dotted prefix from its leaves, the inverse of `flatten`."""
    table: dict[str, object] = {}
    depth = len(split(prefix))
    for key, said in leaves.items():
        if not key.startswith(f"{prefix}."):
            continue
        *parents, name = split(key)[depth:]
        place = table
        for parent in parents:
            below = place.setdefault(parent, {})
            assert isinstance(below, dict)
            place = below
        place[name] = dict(said.value) if isinstance(said.value, dict) else said.value
    return table


def merge(
    below: Mapping[str, Sourced], above: Mapping[str, Sourced], defaults: Mapping[str, Sourced]
) -> dict[str, Sourced]:
    """Put one layer above another.

    Parameters
    ----------
    below : mapping
        The merged lower layers.
    above : mapping
        The layer that wins, except over locked values and higher ceilings (see `policy`).
    defaults : mapping
        What a key that nobody has said yet shadows.

    Returns
    -------
    dict
        Each key with its winner and everything that the winner shadows.
    """
    merged = dict(below)
    for key, said in above.items():
        base = merged.get(key) or defaults.get(key)
        if "." in key or key == "backends":
            fitted = _fit(merged, key, said)
            if fitted is None:
                continue
            said = fitted  # noqa: PLW2901 - the same word, which now remembers what it replaced
        merged[key] = said if base is None else _over(base, said)
    if "max_jobs" in above:
        merged["max_jobs"] = policy.lowest(merged["max_jobs"])
    return merged


def _over(base: Sourced, said: Sourced) -> Sourced:
    if base.origin.layer == "locked":
        return Sourced(base.value, base.origin, (*said.history, *base.shadowed))
    return Sourced(said.value, said.origin, (*said.shadowed, *base.history))


def _fit(merged: dict[str, Sourced], key: str, said: Sourced) -> Sourced | None:
    """Make room for a leaf where a table stood, or for a table where a leaf stood.

    Returns the leaf with what it replaces as its shadows; None where it has no say: it is an empty table that
    merges into a full one, or what stands there is locked.
    """
    children = [other for other in merged if other.startswith(f"{key}.")]
    if children and said.value == {}:
        return None
    path = split(key)
    parents = [join(path[:end]) for end in range(1, len(path))]
    replaced = [other for other in (*parents, *children) if other in merged]
    if any(merged[other].origin.layer == "locked" for other in replaced):
        return None
    shadowed: tuple[Sourced, ...] = ()
    for other in replaced:
        gone = merged.pop(other)
        if gone.value != {}:
            shadowed += gone.history
    return Sourced(said.value, said.origin, shadowed) if shadowed else said
