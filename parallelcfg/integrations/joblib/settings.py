"""What a `joblib.Parallel` and the `joblib.parallel_config` around it say, in parallelcfg's terms."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from parallelcfg.config import process, state
from parallelcfg.config.snapshot import Origin
from parallelcfg.parallel import Parallel

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Said", "said_by"]

#: A contract between a library's call and its caller, not for configuration to change.
_CONTRACT = {"return_as": "list", "on_error": "raise"}
_COUNTS = ("n_jobs", "verbose")
_CONTEXT = Origin("parallel_config", "joblib.parallel_config")


@dataclass(frozen=True)
class Said:
    """Settings that joblib was given.

    Parameters
    ----------
    call : dict
        By the call itself, parameters of the backend included.
    around : dict
        By `joblib.parallel_config` around it.
    params : dict
        Parameters of the backend that stands in ``around``.
    """

    call: dict[str, Any]
    around: dict[str, Any] = field(default_factory=dict)
    params: dict[str, Any] = field(default_factory=dict)

    def governor(self) -> Parallel[Any]:
        """A parallelcfg call with these settings, on top of what is in force here."""
        layer = process.checked(process.really_said(self.around), self.params, _CONTEXT)
        state.push(layer)
        try:
            return Parallel(**{**_CONTRACT, **self.call})
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
    Said(call={'n_jobs': -1, 'verbose': 0}, around={}, params={})
    """
    call, call_params = _translated(given, unset, names)
    outer, params = _translated(around, unset, names)
    if not isinstance(outer.get("backend", ""), str):  # somebody else's, which this call does not run on
        del outer["backend"]
        if {**outer, **call}.get("require") == "sharedmem":  # joblib fell back to threads, and to one of them
            outer.pop("n_jobs", None)
    return Said({**call, **call_params}, outer, params)


def _translated(
    values: Mapping[str, Any], unset: type, names: Mapping[type, str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Keys with their values, and parameters of the backend."""
    keys = {key: value for key, value in values.items() if not isinstance(value, unset)}
    params: dict[str, Any] = {}
    backend: Any = keys.get("backend")
    if type(backend) in names:
        keys["backend"] = names[type(backend)]
        params = dict(getattr(backend, "backend_kwargs", {}))  # since joblib 1.4
        if backend.inner_max_num_threads is not None:
            keys["inner_max_num_threads"] = backend.inner_max_num_threads
    for key in ("n_jobs", "backend"):  # None is unset here, as in joblib
        if keys.get(key, ...) is None:
            del keys[key]
    for key in _COUNTS:  # joblib takes whatever int() takes
        if key in keys:
            keys[key] = int(keys[key])
    if keys.get("temp_folder") is not None and "temp_folder" in keys:
        keys["temp_folder"] = str(keys["temp_folder"])
    return keys, params
