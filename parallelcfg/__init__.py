"""One validated, explainable configuration for every parallel loop, and an executor that obeys it.

The public names are loaded at first use (:pep:`562`): importing the package costs little and pulls in
neither numpy nor pydantic.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from parallelcfg.backends.custom import ParallelBackendBase as ParallelBackendBase
    from parallelcfg.backends.ray import register_ray as register_ray
    from parallelcfg.backends.registry import register_parallel_backend as register_parallel_backend
    from parallelcfg.config.context import explain as explain
    from parallelcfg.config.context import get_config as get_config
    from parallelcfg.config.context import parallel_backend as parallel_backend
    from parallelcfg.config.context import parallel_config as parallel_config
    from parallelcfg.config.context import reload as reload
    from parallelcfg.config.context import set_config as set_config
    from parallelcfg.config.cpus import cpu_count as cpu_count
    from parallelcfg.config.snapshot import UNSET as UNSET
    from parallelcfg.config.snapshot import Config as Config
    from parallelcfg.errors import BackendUnavailable as BackendUnavailable
    from parallelcfg.errors import ConfigError as ConfigError
    from parallelcfg.errors import ConfigWarning as ConfigWarning
    from parallelcfg.errors import DeadlineExceeded as DeadlineExceeded
    from parallelcfg.errors import ParallelError as ParallelError
    from parallelcfg.errors import ParallelWarning as ParallelWarning
    from parallelcfg.errors import SharingWarning as SharingWarning
    from parallelcfg.errors import SubstitutionWarning as SubstitutionWarning
    from parallelcfg.errors import TaskError as TaskError
    from parallelcfg.errors import TaskFailure as TaskFailure
    from parallelcfg.errors import TaskNotPicklable as TaskNotPicklable
    from parallelcfg.errors import TaskTimeout as TaskTimeout
    from parallelcfg.errors import WorkerLost as WorkerLost
    from parallelcfg.integrations.ipython import load_ipython_extension as load_ipython_extension
    from parallelcfg.integrations.ipython import unload_ipython_extension as unload_ipython_extension
    from parallelcfg.parallel import Parallel as Parallel
    from parallelcfg.parallel import effective_n_jobs as effective_n_jobs
    from parallelcfg.parallel import shutdown as shutdown
    from parallelcfg.progress.events import ProgressEvent as ProgressEvent
    from parallelcfg.randomness import task_rng as task_rng
    from parallelcfg.report.summary import Report as Report
    from parallelcfg.task import Task as Task
    from parallelcfg.task import delayed as delayed
    from parallelcfg.transport.shared import share as share
    from parallelcfg.transport.shared import shared_array as shared_array
    from parallelcfg.transport.wrap import wrap_non_picklable_objects as wrap_non_picklable_objects

_HOMES = {
    "parallelcfg.backends.custom": ("ParallelBackendBase",),
    "parallelcfg.backends.ray": ("register_ray",),
    "parallelcfg.backends.registry": ("register_parallel_backend",),
    "parallelcfg.config.context": (
        "explain",
        "get_config",
        "parallel_backend",
        "parallel_config",
        "reload",
        "set_config",
    ),
    "parallelcfg.config.cpus": ("cpu_count",),
    "parallelcfg.config.snapshot": ("UNSET", "Config"),
    "parallelcfg.errors": (
        "BackendUnavailable",
        "ConfigError",
        "ConfigWarning",
        "DeadlineExceeded",
        "ParallelError",
        "ParallelWarning",
        "SharingWarning",
        "SubstitutionWarning",
        "TaskError",
        "TaskFailure",
        "TaskNotPicklable",
        "TaskTimeout",
        "WorkerLost",
    ),
    "parallelcfg.integrations.ipython": ("load_ipython_extension", "unload_ipython_extension"),
    "parallelcfg.parallel": ("Parallel", "effective_n_jobs", "shutdown"),
    "parallelcfg.progress.events": ("ProgressEvent",),
    "parallelcfg.randomness": ("task_rng",),
    "parallelcfg.report.summary": ("Report",),
    "parallelcfg.task": ("Task", "delayed"),
    "parallelcfg.transport.shared": ("share", "shared_array"),
    "parallelcfg.transport.wrap": ("wrap_non_picklable_objects",),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME)  # noqa: PLE0605 - derived, so that a name is declared once
__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


if "PARALLEL_JOBLIB" in os.environ:
    from parallelcfg.integrations.joblib import install_from_environment

    install_from_environment()
