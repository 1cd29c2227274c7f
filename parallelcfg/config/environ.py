"""The environment as a layer: which variables are keys, and of what.

::

    NAME = "PARALLEL_" KEY *( "__" KEY )

Pure: names and texts in, entries out. Types come into play in `resolve`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

__all__ = [
    "CONFIG",
    "JOBLIB",
    "NO_CONFIG",
    "PREFIX",
    "PROFILE",
    "RESERVED",
    "Variable",
    "is_set",
    "names_exactly",
    "read",
    "spelt_in_table",
    "variable_name",
    "wrong_switches",
]

PREFIX = "PARALLEL_"
CONFIG = "PARALLEL_CONFIG"
NO_CONFIG = "PARALLEL_NO_CONFIG"
PROFILE = "PARALLEL_PROFILE"
JOBLIB = "PARALLEL_JOBLIB"
RESERVED = {
    CONFIG: "a TOML file that takes the place of the project's",
    NO_CONFIG: "1 skips all files, except the limits in the system's: max_jobs and [locked]",
    PROFILE: "profiles to select, in order: a,b",
    JOBLIB: "1 puts joblib's loops, those inside of libraries included, under this configuration",
}

#: Variables of joblib that mean a key of ours; the key's own variable stands above them.
_ALIASES = {"JOBLIB_TEMP_FOLDER": ("temp_folder",)}

#: GNU parallel's own, see its manual: they stand in the environment of every program that it starts.
_GNU = re.compile(
    r"PARALLEL_(?:PID|SEQ|JOBSLOT|RANK|HOME|TMP.*|SSH.*|ARG.*|IGNORED_NAMES|ENV.*|SHELL|CSI|REMOTE_TMPDIR|ARGHOSTGROUPS)?",
    re.DOTALL,
)
#: Names that a variable's name can say: it has no case, and two underscores divide it.
_EXACT = re.compile(r"[a-z0-9]+(?:_[a-z0-9]+)*")
_ON, _OFF = frozenset({"1", "true", "yes", "on"}), frozenset({"", "0", "false", "no", "off"})


class Variable(NamedTuple):
    """A variable that sets a key.

    Parameters
    ----------
    name : str
        Its name.
    text : str
        Its value, not empty.
    path : tuple of str
        The path of the key that it sets.
    """

    name: str
    text: str
    path: tuple[str, ...]


def read(
    environ: Mapping[str, str], keys: Collection[str], tables: Collection[str]
) -> tuple[list[Variable], list[str]]:
    """Find the variables that set keys.

    Parameters
    ----------
    environ : mapping
        The environment.
    keys : collection of str
        Names of all keys.
    tables : collection of str
        Names of the keys that are tables, the only ones with names below them.

    Returns
    -------
    variables : list of Variable
        In order of precedence, lowest first: aliases, tables, keys inside of tables.
    unknown : list of str
        Names that look like ours and are no key's.
    """
    variables: list[Variable] = []
    unknown: list[str] = []
    for name in environ:
        if not (name.startswith(PREFIX) or name in _ALIASES):
            continue
        path = _ALIASES.get(name) or _path(name)
        if path[0] in keys and (len(path) == 1 or path[0] in tables) and all(path):
            if environ[name]:
                variables.append(Variable(name, environ[name], path))
        elif name not in RESERVED and not _GNU.fullmatch(name):
            unknown.append(name)
    variables.sort(key=lambda one: (one.name not in _ALIASES, len(one.path), one.name))
    return variables, sorted(unknown)


def variable_name(path: tuple[str, ...]) -> str:
    """The variable that sets a key.

    Examples
    --------
    >>> variable_name(("backends", "dask", "address"))
    'PARALLEL_BACKENDS__DASK__ADDRESS'
    """
    return PREFIX + "__".join(path).upper()


def names_exactly(path: tuple[str, ...]) -> bool:
    """Whether `read` finds the same path in the variable that `variable_name` gives.

    Examples
    --------
    >>> names_exactly(("backends", "mine", "two_words")), names_exactly(("backends", "mine", "Capital"))
    (True, False)
    """
    return all(map(_EXACT.fullmatch, path))


def spelt_in_table(variable: str, name: str, known: Iterable[str]) -> str:
    """A hint for a name that no variable's name can say: the text of a variable above can.

    Parameters
    ----------
    variable : str
        The variable.
    name : str
        What it was taken to name.
    known : iterable of str
        What there is. A hint is due if one of these differs in nothing but capitals and hyphens.

    Examples
    --------
    >>> spelt_in_table("PARALLEL_BACKENDS__MINE__MAXSIZE", "maxsize", ["maxSize"])
    "say PARALLEL_BACKENDS__MINE='{maxSize = ...}': names of variables have no case and no hyphens"
    """
    path, plain = _path(variable), name.replace("-", "_")
    meant = next((one for one in known if one.lower().replace("-", "_") == plain), None)
    if meant is None or name not in path:
        return ""
    above = variable_name(path[: path.index(name)])
    return f"say {above}='{{{meant} = ...}}': names of variables have no case and no hyphens"


def _path(variable: str) -> tuple[str, ...]:
    return tuple(variable.removeprefix(PREFIX).lower().split("__"))


def is_set(environ: Mapping[str, str], name: str) -> bool:
    """Whether a switch such as ``PARALLEL_NO_CONFIG`` is on."""
    return environ.get(name, "").strip().lower() not in _OFF


def wrong_switches(environ: Mapping[str, str]) -> list[str]:
    """Names of switches that are neither on nor off."""
    return [name for name in (NO_CONFIG, JOBLIB) if environ.get(name, "").strip().lower() not in _ON | _OFF]
