"""Exceptions as bytes: whatever a task raises arrives as something that can be read and raised.

Many exceptions can be pickled but not unpickled (an ``__init__`` with more arguments than ``args``), some not
even pickled, and a few are as large as the data that they complain about. So each is packed and unpacked as a
trial. The first kind is made anew without its ``__init__``; what does not survive at all is replaced by a
stand-in of the nearest type.
"""

from __future__ import annotations

import linecache
import pickle
import re
import traceback
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["LONGEST", "pack_exception", "theirs", "traceback_text", "unpack_exception", "with_sources"]

#: The modules whose frames stand above a task's, or above those of the user's iterator or callback.
_OURS = frozenset(
    f"parallelcfg.{name}"
    for name in (
        "worker",
        "loop",
        "core.gathering",
        "engine.call",
        "engine.observe",
        "progress.bar",
        "progress.events",
    )
)
_FRAME = re.compile(r'  File "(.+)", line (\d+), in .*')

#: Texts and pickles of exceptions are cut to this many bytes.
LONGEST = 64 * 1024


def pack_exception(error: BaseException) -> tuple[bytes, str]:
    """An exception as bytes that are known to unpickle, and its traceback as text.

    Parameters
    ----------
    error : BaseException
        What a task raised.

    Returns
    -------
    bytes
        Its pickle, or a stand-in's.
    str
        The formatted traceback, at most `LONGEST` characters.

    Examples
    --------
    >>> packed, text = pack_exception(KeyError("a"))
    >>> unpack_exception(packed)
    KeyError('a')
    """
    text = traceback_text(error)
    for form in (error, _Bare(error)):
        try:
            from parallelcfg.transport.pickling import dumps

            packed = dumps(form)
            if len(packed) <= LONGEST and type(pickle.loads(packed)).__name__ == type(error).__name__:
                return packed, text
        except BaseException:  # noqa: S110 - any failure here is answered by the next form, or the stand-in
            pass
    return pickle.dumps(_stand_in(error)), text


class _Bare:
    """An exception that is made anew without its ``__init__``, whose parameters need not be ``args``."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def __reduce__(self) -> tuple[Any, ...]:
        kind = type(self._error)
        built_in: Any = next(base for base in kind.__mro__ if base.__module__ == "builtins")
        args = built_in.__reduce__(self._error)[1]  # an OSError keeps some of them elsewhere
        return _made_anew, (kind, built_in, args, vars(self._error))


def _made_anew(
    kind: type[BaseException],
    built_in: type[BaseException],
    args: tuple[Any, ...],
    attributes: dict[str, Any],
) -> BaseException:
    error = kind.__new__(kind, *args)
    built_in.__init__(error, *args)
    error.__dict__.update(attributes)
    return error


def unpack_exception(packed: BaseException | bytes) -> BaseException:
    """The exception that `pack_exception` packed; one that was never packed is returned as it is."""
    return packed if isinstance(packed, BaseException) else cast("BaseException", pickle.loads(packed))


def traceback_text(error: BaseException) -> str:
    """An exception's traceback as text, without the frames of this package at its top, cut where too long."""
    try:
        text = "".join(traceback.format_exception(type(error), error, theirs(error.__traceback__)))
        notes = (note for note in getattr(error, "__notes__", ()) if note not in text)
        text += "".join(f"{note}\n" for note in notes)  # Python 3.10 does not print them itself
    except BaseException:
        text = f"{type(error).__qualname__} (its traceback can't be formatted)\n"
    return _cut(text)


def theirs(frames: TracebackType | None) -> TracebackType | None:
    """A traceback without the frames of this package at its top."""
    while frames is not None and frames.tb_frame.f_globals.get("__name__") in _OURS:
        frames = frames.tb_next
    return frames


def with_sources(text: str) -> str:
    r"""A worker's traceback with the lines of code that it could not read: those of notebooks' cells.

    Examples
    --------
    >>> import linecache
    >>> linecache.cache["<cell>"] = (0, None, ["1 / 0"], "<cell>")
    >>> print(with_sources('  File "<cell>", line 1, in f\nZeroDivisionError'))
      File "<cell>", line 1, in f
        1 / 0
    ZeroDivisionError
    """
    lines = text.split("\n")
    for at in range(len(lines) - 1, -1, -1):
        frame = _FRAME.fullmatch(lines[at])
        if frame is not None and not "".join(lines[at + 1 : at + 2]).startswith("    "):
            source = linecache.getline(frame[1], int(frame[2])).strip()
            if source:
                lines.insert(at + 1, f"    {source}")
    return "\n".join(lines)


def _stand_in(error: BaseException) -> BaseException:
    """An exception that can travel and says what the real one said, of the nearest type that can."""
    message = _message(error)
    for kind in type(error).__mro__:
        if not issubclass(kind, BaseException):
            continue
        try:
            candidate = kind(message)
            if type(pickle.loads(pickle.dumps(candidate))) is kind and str(candidate):
                return candidate if kind is type(error) else _named(kind, error, message)
        except BaseException:  # noqa: S112 - not this one: try the next base class
            continue
    return RuntimeError(message)


def _named(kind: type[BaseException], error: BaseException, message: str) -> BaseException:
    name = f"{type(error).__module__}.{type(error).__qualname__}"
    return kind(f"{name}: {message}")


def _message(error: BaseException) -> str:
    try:
        return _cut(str(error))
    except BaseException:
        return f"a {type(error).__qualname__} whose text can't be had"


def _cut(text: str) -> str:
    if len(text) <= LONGEST:
        return text
    half = LONGEST // 2 - 64
    return f"{text[:half]}\n... [{len(text) - 2 * half} characters cut] ...\n{text[-half:]}"
