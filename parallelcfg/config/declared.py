"""Facts of the declaration in `settings`, written by ``python -m parallelcfg.config.generate``."""

from __future__ import annotations

from sys import maxsize
from typing import NamedTuple


class Declared(NamedTuple):
    """What can be known of a key without pydantic.

    Parameters
    ----------
    default : object
        In canonical form.
    scalars : tuple of str
        Names of the types that text may turn into.
    words : tuple of str
        Texts that are valid as they are.
    least : int or None
        The least valid integer; None where no integer is sure to be valid.
    never : tuple of int
        Integers above it that are not valid.
    boolean, nullable, is_path, is_table, function : bool
        What else its values may be; functions only in code.
    spelt : bool
        Whether people write its values in another form than the canonical one.
    """

    default: object
    scalars: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    least: int | None = None
    never: tuple[int, ...] = ()
    boolean: bool = False
    nullable: bool = False
    is_path: bool = False
    is_table: bool = False
    function: bool = False
    spelt: bool = False


DECLARED = {
    "backend": Declared(None, scalars=("str",), nullable=True, function=True, words=("loky", "threading", "multiprocessing", "sequential", "dask", "ray")),
    "n_jobs": Declared(None, scalars=("int",), nullable=True, least=-maxsize, never=(0,)),
    "verbose": Declared(0, scalars=("int",), least=0),
    "temp_folder": Declared(None, scalars=("str",), nullable=True, is_path=True),
    "max_nbytes": Declared(1048576, scalars=("int", "str"), nullable=True, spelt=True, least=0),
    "mmap_mode": Declared("r", scalars=("str",), nullable=True, words=("r", "r+", "w+", "c")),
    "prefer": Declared(None, scalars=("str",), nullable=True, words=("processes", "threads")),
    "require": Declared(None, scalars=("str",), nullable=True, words=("sharedmem",)),
    "inner_max_num_threads": Declared(None, scalars=("int",), nullable=True, least=1),
    "return_as": Declared("list", scalars=("str",), words=("list", "generator", "generator_unordered")),
    "timeout": Declared(None, scalars=("float",), nullable=True),
    "deadline": Declared(None, scalars=("float",), nullable=True),
    "pre_dispatch": Declared("2 * n_jobs", scalars=("int", "str"), words=("all",), least=1),
    "batch_size": Declared("auto", scalars=("int", "str"), words=("auto",), least=1),
    "max_pending_results": Declared(None, scalars=("int",), nullable=True, least=1),
    "on_error": Declared("raise", scalars=("str",), words=("raise", "return")),
    "retries": Declared(0, scalars=("int",), least=0),
    "progress": Declared(False, scalars=("bool", "str"), boolean=True, function=True, words=("tqdm", "log")),
    "strict": Declared(False, scalars=("bool",), boolean=True),
    "forward_logs": Declared(False, scalars=("bool",), boolean=True),
    "seed": Declared(None, scalars=("int",), nullable=True, least=0),
    "trace": Declared(None, scalars=("str",), nullable=True, is_path=True),
    "max_jobs": Declared(None, scalars=("int",), nullable=True, least=1),
    "backends": Declared({}, is_table=True),
}
