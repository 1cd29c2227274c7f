"""Exceptions as bytes: whatever a task raises arrives as something that can be read and raised.

Many exceptions can be pickled but not unpickled (an ``__init__`` with more arguments than ``args``), some not
even pickled, and a few are as large as the data that they complain about. So each is packed, unpacked on the
spot as a trial, and replaced by a `RemoteError`-like stand-in of the nearest type where it does not survive.
"""

from __future__ import annotations

import pickle
import traceback
from typing import cast

__all__ = ["LONGEST", "pack_exception", "traceback_text", "unpack_exception"]

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
    try:
        from parallelcfg.transport.pickling import dumps

        packed = dumps(error)
        if len(packed) <= LONGEST and type(pickle.loads(packed)).__name__ == type(error).__name__:
            return packed, text
    except BaseException:  # noqa: S110 - any failure here is answered by the stand-in below
        pass
    return pickle.dumps(_stand_in(error)), text


def unpack_exception(packed: BaseException | bytes) -> BaseException:
    """The exception that `pack_exception` packed; one that was never packed is returned as it is."""
    return packed if isinstance(packed, BaseException) else cast("BaseException", pickle.loads(packed))


def traceback_text(error: BaseException) -> str:
    """An exception's traceback as text, without the frames of this package at its top, cut where too long."""
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_globals.get("__name__") == "parallelcfg.worker":
        frames = frames.tb_next
    try:
        text = "".join(traceback.format_exception(type(error), error, frames))
        notes = (note for note in getattr(error, "__notes__", ()) if note not in text)
        text += "".join(f"{note}\n" for note in notes)  # Python 3.10 does not print them itself
    except BaseException:
        text = f"{type(error).__qualname__} (its traceback can't be formatted)\n"
    return _cut(text)


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
