"""Exceptions as bytes: whatever a task raises arrives as something that can be read and raised.

Many exceptions can be pickled but not unpickled (an ``__init__`` with more arguments than ``args``), some not
even pickled, and a few are as large as the data that they complain about. So each is packed and unpacked as a
trial. The first kind is made anew without its ``__init__``; what does not survive at all is replaced by a
stand-in of the nearest type.

What passes the trial may still fail where it arrives: a task can import what its caller can't. So everything
that a stand-in is made of goes along, and the receiver makes it where it has to.
"""

from __future__ import annotations

import builtins
import linecache
import pickle
import re
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType, TracebackType

__all__ = [
    "LONGEST",
    "add_note",
    "message",
    "pack_exception",
    "theirs",
    "traceback_text",
    "unpack_exception",
    "with_sources",
]

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

#: The types of exceptions that hold others; there are none before Python 3.11.
_GROUPS: Any = getattr(builtins, "BaseExceptionGroup", ())

#: Texts and pickles of exceptions are cut to this many bytes.
LONGEST = 64 * 1024


def pack_exception(error: BaseException) -> tuple[bytes, str]:
    """An exception as bytes that unpickle wherever they arrive, and its traceback as text.

    Parameters
    ----------
    error : BaseException
        What a task raised.

    Returns
    -------
    bytes
        A pickle of the exception, or of a stand-in where it can't be had.
    str
        The formatted traceback, at most `LONGEST` characters.

    Examples
    --------
    >>> packed, text = pack_exception(KeyError("a"))
    >>> unpack_exception(packed)
    KeyError('a')
    """
    return pickle.dumps(_Travelling(error)), traceback_text(error)


class _Travelling:
    """An exception with all that its receiver needs to make a stand-in."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def __reduce__(self) -> tuple[Any, ...]:
        kind = type(self._error)
        return _arrived, (_whole(self._error), _kinds(kind), _name(kind), message(self._error))


def _whole(error: BaseException) -> bytes | None:
    """The pickle of an exception; None where it does not unpickle here either, or is too long."""
    from parallelcfg.transport.pickling import dumps

    forms = [error, _Bare(error)]
    for form in reversed(forms) if isinstance(error, _GROUPS) else forms:
        with suppress(BaseException):  # any failure here is answered by the next form, or the stand-in
            packed = dumps(form, name=None)
            if len(packed) <= LONGEST and type(pickle.loads(packed)).__name__ == type(error).__name__:
                return packed
    return None


def _kinds(kind: type) -> list[type | bytes]:
    """The types that a stand-in may have, nearest first; those that its receiver may not know as pickles."""
    return [
        packed
        for base in kind.__mro__
        if issubclass(base, BaseException) and (packed := base if _is_built_in(base) else _pickled(base))
    ]


def _pickled(kind: type) -> bytes | None:
    """The pickle of a class, made once: one of the main module travels by value, and takes its time."""
    from parallelcfg.transport.pickling import dumps

    with suppress(Exception):
        found = _classes.get(kind)
        if found is None:
            _classes[kind] = found = dumps(kind, name=None)
        return found if len(found) <= LONGEST else None
    return None


_classes: WeakKeyDictionary[type, bytes] = WeakKeyDictionary()


def _arrived(whole: bytes | None, kinds: list[type | bytes], name: str, said: str) -> BaseException:
    """What `_Travelling` becomes where it is unpickled."""
    if whole is not None:
        with suppress(Exception):  # what is missing here was there where it was packed
            error = pickle.loads(whole)
            if isinstance(error, BaseException):
                return error
    for packed in kinds:
        with suppress(BaseException):  # not this one: try the next base class
            kind = pickle.loads(packed) if isinstance(packed, bytes) else packed
            text = said if _name(kind) == name else f"{name}: {said}"
            error = _made_anew(kind, _built_in(kind), (text,), {})
            if str(error) or not text:
                return error
    return RuntimeError(f"{name}: {said}")


class _Bare:
    """An exception that is made anew without its ``__init__``, whose parameters need not be ``args``."""

    def __init__(self, error: Any) -> None:
        self._error = error

    def __reduce__(self) -> tuple[Any, ...]:
        kind = type(self._error)
        built_in = _built_in(kind)
        args = built_in.__reduce__(self._error)[1]  # an OSError keeps some of them elsewhere
        if isinstance(self._error, _GROUPS):  # each member arrives, whatever becomes of the others
            args = self._error.message, list(map(_Travelling, self._error.exceptions))
        return _made_anew, (kind, built_in, args, vars(self._error))


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _is_built_in(kind: type) -> bool:
    return getattr(builtins, kind.__name__, None) is kind


def _built_in(kind: type) -> Any:
    return next(filter(_is_built_in, kind.__mro__))


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
        notes = (note for note in _notes(error) if note not in text)
        text += "".join(f"{note}\n" for note in notes)  # Python 3.10 does not print them itself
    except BaseException:
        text = f"{type(error).__qualname__} (its traceback can't be formatted)\n"
    return _cut(text)


def message(error: BaseException) -> str:
    """An exception's text, cut where too long; in its place a remark where it can't be had."""
    try:
        return _cut(str(error))
    except BaseException:
        return f"a {type(error).__qualname__} whose text can't be had"


def add_note(error: BaseException, note: str) -> None:
    """Add a note (PEP 678; on Python 3.10 the attribute alone) to an exception whose class admits of one."""
    with suppress(Exception):  # it may have slots and no dict, or attributes with ideas of their own
        object.__setattr__(error, "__notes__", [*_notes(error), note])  # also where it is a frozen dataclass


def _notes(error: BaseException) -> Sequence[str]:
    notes = getattr(error, "__notes__", None)
    return notes if isinstance(notes, (list, tuple)) else ()


def theirs(frames: TracebackType | None) -> TracebackType | None:
    """A traceback without the frames of this package at its top."""
    while frames is not None and frames.tb_frame.f_globals.get("__name__") in _OURS:
        frames = frames.tb_next
    return frames


def let_go(frames: TracebackType | None) -> None:
    """Empty the frames of this package at a traceback's top, and those that called them.

    An exception may be kept for long, and with it every frame that led to it: in their variables is a whole
    batch, with its arguments and results.
    """
    frame = None if frames is None else frames.tb_frame
    while frame is not None and _is_ours(frame) and _emptied(frame):
        frame = frame.f_back
    while frames is not None and _is_ours(frames.tb_frame) and _emptied(frames.tb_frame):
        frames = frames.tb_next


def _is_ours(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__")).startswith("parallelcfg.")


def _emptied(frame: FrameType) -> bool:
    try:
        frame.clear()
    except RuntimeError:  # it runs
        return False
    return True


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


def _cut(text: str) -> str:
    if len(text) <= LONGEST:
        return text
    half = LONGEST // 2 - 64
    return f"{text[:half]}\n... [{len(text) - 2 * half} characters cut] ...\n{text[-half:]}"
