"""What a `joblib.Parallel` and the `joblib.parallel_config` around it say, in parallelcfg's terms."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any

from parallelcfg.backends.registry import known_params
from parallelcfg.config import process, state
from parallelcfg.config.context import get_config
from parallelcfg.config.keys import KEYS
from parallelcfg.config.snapshot import Origin
from parallelcfg.engine.plan import backend_asked_for
from parallelcfg.parallel import Parallel

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Said", "said_by"]

#: A contract between a library's call and its caller, not for configuration to change.
_CONTRACT = {"return_as": "list", "on_error": "raise"}
#: What numpy calls the modes of a memmap besides, which joblib passes on.
_LONG_MODES = {"readonly": "r", "copyonwrite": "c", "readwrite": "r+", "write": "w+"}
_CONTEXT = Origin("parallel_config", "joblib.parallel_config")


@dataclass(frozen=True)
class Said:
    """Settings that joblib was given.

    Parameters
    ----------
    call : dict
        By the call itself.
    call_params : dict
        Parameters that the call has for its backend, whichever that is.
    around : dict
        By `joblib.parallel_config` around it.
    around_params : dict
        Parameters of the backend that stands in ``around``.
    """

    call: dict[str, Any]
    call_params: dict[str, Any]
    around: dict[str, Any]
    around_params: dict[str, Any]

    def governor(self) -> Parallel[Any]:
        """A parallelcfg call with these settings, on top of what is in force here.

        Parameters that a backend does not have go nowhere, as in joblib: libraries pass those of loky to
        whichever backend is configured.
        """
        params = self.around_params and known_params(self.around["backend"], self.around_params)
        layer = process.checked(process.really_said(self.around), params, _CONTEXT)
        state.push(layer)
        try:
            params = self.call_params and known_params(
                backend_asked_for(get_config(**self.call)), self.call_params
            )
            return Parallel(**{**_CONTRACT, **self.call, **params})
        finally:
            state.remove(layer)


def said_by(
    given: Mapping[str, Any], around: Mapping[str, Any], *, unset: type, names: Mapping[type, str]
) -> Said:
    """Translate settings.

    Parameters
    ----------
    given : mapping
        The arguments of a `joblib.Parallel`, only those that were really passed.
    around : mapping
        What `joblib.parallel_config` has set.
    unset : type
        joblib's type of values that nobody has set.
    names : mapping of type to str
        The names of joblib's own backend classes.

    Examples
    --------
    >>> said_by({"n_jobs": -1.0, "verbose": False}, {"n_jobs": None}, unset=type(...), names={})
    Said(call={'n_jobs': -1, 'verbose': 0}, call_params={}, around={}, around_params={})
    """
    call, call_params = _translated(given, unset, names)
    outer, outer_params = _translated(around, unset, names)
    if not isinstance(outer.get("backend", ""), str):  # somebody else's, which this call does not run on
        del outer["backend"]
        if {**outer, **call}.get("require") == "sharedmem":  # joblib fell back to threads, and to one of them
            outer.pop("n_jobs", None)
    return Said(call, call_params, outer, outer_params)


def _translated(
    values: Mapping[str, Any], unset: type, names: Mapping[type, str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Keys with their values, and parameters of the backend."""
    said = {key: value for key, value in values.items() if not isinstance(value, unset)}
    keys = {key: value for key, value in said.items() if key in KEYS}
    params = {name: value for name, value in said.items() if name not in KEYS}
    backend: Any = keys.get("backend")
    if type(backend) in names:
        keys["backend"] = names[type(backend)]
        params = {**getattr(backend, "backend_kwargs", {}), **params}  # since joblib 1.4
        if backend.inner_max_num_threads is not None:
            keys["inner_max_num_threads"] = backend.inner_max_num_threads
    for key in ("n_jobs", "backend"):  # None is unset here, as in joblib
        if keys.get(key, ...) is None:
            del keys[key]
    _convert(keys)
    return keys, params


def _convert(keys: dict[str, Any]) -> None:
    """Give values that joblib takes a form that parallelcfg takes."""
    for key, convert in _CONVERSIONS.items():
        if keys.get(key) is not None:
            keys[key] = convert(keys[key])


def _ahead(said: object) -> object:
    """Whole batches, as far as this is one number: joblib knows ``"1e3"`` too."""
    if not isinstance(said, (float, str)):
        return said
    try:
        return int(float(said))
    except (OverflowError, ValueError):
        return said


def _size(said: float | str) -> int | None:
    """Whole bytes; none for a size that nothing exceeds."""
    from joblib.disk import memstr_to_bytes

    size = memstr_to_bytes(said) if isinstance(said, str) else said
    return max(0, int(size)) if size < inf else None


#: What joblib takes: whatever ``int()`` does, True as a number, numpy's names of modes, inf as no limit.
_CONVERSIONS: dict[str, Callable[[Any], object]] = {
    "n_jobs": int,
    "verbose": lambda said: max(0, int(said)),
    "batch_size": lambda said: int(said) if isinstance(said, bool) else said,
    "pre_dispatch": _ahead,
    "max_nbytes": _size,
    "mmap_mode": lambda said: _LONG_MODES.get(said, said) if isinstance(said, str) else said,
    "timeout": lambda said: None if said == inf else said,
    "temp_folder": str,
}
