"""How a value is written in each place: in TOML, in an environment variable, in code, and back.

Reading turns a spelling into the plain Python value that `Key.validate` then judges strictly; what can't be
turned passes through unchanged and fails there, so that there is one place for messages.
"""

from __future__ import annotations

import json
import math
import re
from datetime import date, time
from os import PathLike, fspath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

__all__ = [
    "DEEPEST",
    "from_code",
    "from_text",
    "from_toml",
    "from_untyped_text",
    "join",
    "quoted",
    "shorten",
    "to_text",
    "to_toml",
    "to_untyped_text",
    "toml_value",
    "too_deep",
]

_INTEGER = re.compile(r"[+-]?[0-9]{1,300}", re.ASCII)
_FLOAT = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", re.ASCII)
_BOOLEANS = {
    "true": True, "yes": True, "on": True, "1": True,
    "false": False, "no": False, "off": False, "0": False,
}  # fmt: skip
_NULLS = frozenset({"none", "null"})
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_LONGEST_VALUE = 80

#: Tables and arrays nested deeper are beyond sense.
DEEPEST = 32


def from_toml(value: object, *, nullable: bool) -> object:
    """A value of a TOML file, where null is spelt ``"none"``."""
    return None if nullable and value == "none" else value


def from_text(text: str, scalars: AbstractSet[type], *, nullable: bool) -> object:
    """The text of an environment variable or of a command-line option, read as one of the given types.

    Examples
    --------
    >>> from_text("4", {int}, nullable=True), from_text("None", {int}, nullable=True)
    (4, None)
    >>> from_text("off", {bool, str}, nullable=False), from_text("auto", {int, str}, nullable=False)
    (False, 'auto')
    """
    stripped = text.strip()
    lowered = stripped.lower()
    if nullable and lowered in _NULLS:
        return None
    if bool in scalars and lowered in _BOOLEANS:
        return _BOOLEANS[lowered]
    if int in scalars and _INTEGER.fullmatch(stripped):
        return int(stripped)
    if float in scalars and _FLOAT.fullmatch(stripped):
        return float(stripped)
    return text


def from_untyped_text(text: str) -> object:
    """The text of a variable whose type nobody declared: a backend's parameter.

    TOML decides on what looks like an array, an inline table or a quoted text; else a word for null or a
    boolean, a number, or the text itself.

    Raises
    ------
    ValueError
        It looks like TOML and is none.
    """
    stripped = text.strip()
    if stripped[:1] in {"[", "{", '"', "'"}:
        return toml_value(stripped)
    return from_text(
        text if stripped not in {"0", "1"} else f"+{stripped}", {bool, int, float, str}, nullable=True
    )


def toml_value(text: str) -> object:
    """One TOML value.

    Raises
    ------
    ValueError
        It is none.
    """
    import tomli

    try:
        table = tomli.loads(f"value = {text}")
    except tomli.TOMLDecodeError as error:
        raise ValueError(f"no TOML value: {error.msg}") from None
    except RecursionError:
        raise ValueError("no TOML value: too deeply nested") from None
    if len(table) != 1:
        raise ValueError("no TOML value: more than one line")
    if too_deep(table):
        raise ValueError("no TOML value: too deeply nested")
    return table["value"]


def too_deep(value: object) -> bool:
    """Whether tables and arrays are nested beyond sense, and beyond what recursive functions can take."""
    level = [value]
    for _ in range(DEEPEST):
        level = [
            inner
            for one in level
            if isinstance(one, (dict, list))
            for inner in (one.values() if isinstance(one, dict) else one)
        ]
        if not level:
            return False
    return True


def from_code(value: object, scalars: AbstractSet[type]) -> object:
    """A value of Python code: numpy's scalars and integral floats become what they mean, paths text."""
    kind = type(value)
    if kind in _EXACT and not (kind is float and int in scalars):
        return value
    if kind.__module__ == "numpy" and kind.__name__ in {"bool", "bool_"}:
        return bool(value)
    from numbers import Integral, Real  # numpy's, mostly

    if isinstance(value, Integral):  # no bool comes here
        return int(value)
    if isinstance(value, Real):
        number = float(value)
        return int(number) if int in scalars and float not in scalars and number.is_integer() else number
    if str in scalars and isinstance(value, PathLike):
        return fspath(value)
    return value


_EXACT = frozenset({int, str, float, bool, type(None)})


def to_toml(value: object) -> str:  # noqa: PLR0911 - one return for each kind of value
    """A value as TOML; null is ``"none"``."""
    if value is None:
        return '"none"'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else f"{'-' if value < 0 else ''}inf"
    if isinstance(value, (int, float, date, time)):
        return str(value)
    if isinstance(value, dict):
        return _inline_table(value)
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(to_toml, value))}]"
    return json.dumps(shorten(value), ensure_ascii=False)


def quoted(text: str) -> str:
    """A text as a basic string of TOML, which JSON can read too."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def join(path: tuple[str, ...]) -> str:
    """The dotted form of a path.

    Examples
    --------
    >>> join(("backends", "dask", "a.b"))
    'backends.dask."a.b"'
    """
    return ".".join(part if _BARE.fullmatch(part) else quoted(part) for part in path)


def _inline_table(table: Mapping[str, object]) -> str:
    pairs = [f"{join((name,))} = {to_toml(value)}" for name, value in table.items()]
    return f"{{{', '.join(pairs)}}}"


def shorten(value: object) -> str:
    """The ``repr`` of a value, cut to a length that fits a message."""
    try:
        text = repr(value[: 4 * _LONGEST_VALUE] if isinstance(value, (str, bytes)) else value)
    except Exception:  # an integer of thousands of digits, for example
        text = object.__repr__(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 3]}..."


def to_text(value: object) -> str:
    """A value as the text of an environment variable, the inverse of `from_text`."""
    if isinstance(value, str):
        return value
    return "none" if value is None else to_toml(value)


def to_untyped_text(value: object) -> str:
    """The same where nobody declared a type, the inverse of `from_untyped_text`.

    Examples
    --------
    >>> to_untyped_text("tcp://head"), to_untyped_text("007"), to_untyped_text(7)
    ('tcp://head', '"007"', '7')
    """
    if isinstance(value, str) and not (value and value.isprintable() and _reads_as_itself(value)):
        return quoted(value)
    return to_text(value)


def _reads_as_itself(text: str) -> bool:
    try:
        return from_untyped_text(text) == text
    except ValueError:
        return False
