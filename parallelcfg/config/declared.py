"""Facts of the declaration in `settings`, written by ``python -m parallelcfg.config.generate``."""

from __future__ import annotations

from sys import maxsize

from parallelcfg.config.facts import Facts

DECLARED = {
    "backend": Facts(None, scalars=("str",), nullable=True, function=True, words=("loky", "threading", "multiprocessing", "sequential", "dask", "ray")),
    "n_jobs": Facts(None, scalars=("int",), nullable=True, least=-maxsize, most=1000000, never=(0,)),
    "verbose": Facts(0, scalars=("int",), least=0),
    "temp_folder": Facts(None, scalars=("str",), nullable=True, is_path=True),
    "max_nbytes": Facts(1048576, scalars=("int", "str"), nullable=True, spelt=True, least=0),
    "mmap_mode": Facts("r", scalars=("str",), nullable=True, words=("r", "r+", "w+", "c")),
    "prefer": Facts(None, scalars=("str",), nullable=True, words=("processes", "threads")),
    "require": Facts(None, scalars=("str",), nullable=True, words=("sharedmem",)),
    "inner_max_num_threads": Facts(None, scalars=("int",), nullable=True, least=1, most=1000000),
    "return_as": Facts("list", scalars=("str",), words=("list", "generator", "generator_unordered")),
    "timeout": Facts(None, scalars=("float",), nullable=True),
    "deadline": Facts(None, scalars=("float",), nullable=True),
    "pre_dispatch": Facts("2 * n_jobs", scalars=("int", "str"), words=("all",), least=1),
    "batch_size": Facts("auto", scalars=("int", "str"), words=("auto",), least=1),
    "max_pending_results": Facts(None, scalars=("int",), nullable=True, least=1),
    "on_error": Facts("raise", scalars=("str",), words=("raise", "return")),
    "retries": Facts(0, scalars=("int",), least=0),
    "progress": Facts(False, scalars=("bool", "str"), boolean=True, function=True, words=("tqdm", "log")),
    "strict": Facts(False, scalars=("bool",), boolean=True),
    "forward_logs": Facts(False, scalars=("bool",), boolean=True),
    "seed": Facts(None, scalars=("int",), nullable=True, least=0),
    "trace": Facts(None, scalars=("str",), nullable=True, is_path=True),
    "max_jobs": Facts(None, scalars=("int",), nullable=True, least=1),
    "backends": Facts({}, is_table=True),
}
