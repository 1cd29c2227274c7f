"""What worker processes take over from their parent besides settings: filters of warnings, levels of logs.

Both are asked for when a call starts, and obeyed by each worker before its first batch of that call. Log
records travel back the way results do, and reach the parent's own handlers.
"""

from __future__ import annotations

import logging
import re
import sys
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from parallelcfg.errors import TaskNotPicklable
from parallelcfg.transport.pickling import dumps, loads, needs_value

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Habits", "adopt", "catch_up", "habits", "replay"]


class _Filter(NamedTuple):
    """A filter of warnings, with the category by name: its module need not exist in a worker.

    Where the name means something else there, as that of a class of ``__main__`` does, a pickle comes too.
    """

    action: Any
    message: str
    category: tuple[str, str]
    pickled: bytes | None
    module: str
    line: int


class Habits(NamedTuple):
    """What a worker takes over.

    Parameters
    ----------
    filters : tuple
        Filters of warnings, the first that matches decides.
    levels : tuple of (str, int) or None
        Levels of the loggers that have one; None: log records stay where they are.
    """

    filters: tuple[_Filter, ...]
    levels: tuple[tuple[str, int], ...] | None


_last: tuple[list[Any], tuple[_Filter, ...]] = [], ()


def habits(*, forward_logs: bool) -> Habits:
    """The habits of this process."""
    global _last  # noqa: PLW0603 - filters change seldom, and calls are many
    filters = list(warnings.filters)
    if filters != _last[0]:
        _last = filters, tuple(map(_portable, filters))
    return Habits(_last[1], _levels() if forward_logs else None)


def adopt(taken: Habits, send: Callable[[Any], None]) -> None:
    """Make habits those of this process; ``send`` takes log records to the parent, as dictionaries."""
    _filter(taken.filters)
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, _Forward)]:
        root.removeHandler(handler)
    if taken.levels is not None:
        root.addHandler(_Forward(send))
        for logger, level in taken.levels:
            logging.getLogger(logger).setLevel(level)


#: Filters with categories of modules that this process has not imported yet.
_waiting: dict[str, tuple[_Filter, ...]] = {}


def catch_up() -> None:
    """Adopt filters that had to wait, now that tasks have imported what they are about."""
    for module, filters in _waiting.items():
        if module in sys.modules:
            _filter(filters)
            return


def _filter(filters: tuple[_Filter, ...]) -> None:
    _waiting.clear()
    warnings.resetwarnings()
    for action, message, (module, name), pickled, where, line in filters:
        if pickled is None and module not in sys.modules:
            _waiting[module] = filters
            continue
        category = getattr(sys.modules[module], name, None) if pickled is None else _loaded(pickled)
        if category is None:
            continue  # defined inside a class, or of what can't be had here: no task can either
        if message or where:
            warnings.filterwarnings(action, message, category, where, line, append=True)
        else:
            warnings.simplefilter(action, category, line, append=True)


def _loaded(pickled: bytes) -> Any:
    """A category that travels by value, which is the class that tasks get; None where it can't be had."""
    with suppress(Exception):
        return loads(pickled)
    return None


def replay(record: dict[str, Any]) -> None:
    """Hand a worker's log record to the handlers of this process."""
    made, logger = logging.makeLogRecord(record), logging.getLogger(record["name"])
    try:
        if logger.isEnabledFor(made.levelno):
            logger.handle(made)
    except Exception:  # whoever logged is another process: there is nobody to raise it to
        logging.NullHandler().handleError(made)


class _Forward(logging.Handler):
    """Sends log records to the parent, as text: what they refer to may not be picklable."""

    def __init__(self, send: Callable[[Any], None]) -> None:
        super().__init__()
        self._send = send

    def emit(self, record: logging.LogRecord) -> None:
        try:
            fields = dict(record.__dict__, msg=record.getMessage(), args=None, exc_info=None)
            if record.exc_info:
                fields["exc_text"] = record.exc_text or logging.Formatter().formatException(record.exc_info)
            self._send({key: _plain(value) for key, value in fields.items()})
        except Exception:  # as for all handlers: a log record must never end a task
            self.handleError(record)


def _plain(value: Any) -> Any:
    """A value as one of a type that every process knows: Python's numbers stay numbers, all else is text."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int.__int__(value)
    if isinstance(value, float):
        return float.__float__(value)
    try:
        return str.__str__(value if isinstance(value, str) else str(value))
    except BaseException:
        return object.__repr__(value)


def _portable(entry: tuple[Any, ...]) -> _Filter:
    action, message, category, module, line = entry
    name = category.__module__, category.__qualname__
    return _Filter(action, _pattern(message), name, _pickled(category), _pattern(module), line)


def _pickled(category: type) -> bytes | None:
    """A category that travels by value; None where its name will do, or nothing."""
    try:
        return dumps(category, name=None) if needs_value(category) else None
    except TaskNotPicklable:
        return None


def _pattern(pattern: re.Pattern[str] | str | None) -> str:
    """A filter's pattern as `warnings.filterwarnings` takes it; the interpreter's own are plain text."""
    if pattern is None:
        return ""
    return rf"{re.escape(pattern)}\Z" if isinstance(pattern, str) else pattern.pattern


def _levels() -> tuple[tuple[str, int], ...]:
    loggers = [logging.getLogger(), *logging.getLogger().manager.loggerDict.values()]
    return tuple((one.name, one.level) for one in loggers if isinstance(one, logging.Logger) and one.level)
