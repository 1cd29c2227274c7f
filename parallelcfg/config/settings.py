"""`ParallelSettings`: the one declaration of every key.

Type, bounds, default and help of a key stand here and nowhere else. Validation, error texts, the JSON
Schema, ``parallel.toml.example``, the tables of the documentation and the command's help derive from it (see
`keys` and `generate`).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt
from pydantic import AfterValidator, AllowInfNan, BeforeValidator, Field
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from parallelcfg.config import arithmetic
from parallelcfg.config.machine import NotHere
from parallelcfg.config.suggest import suggest

__all__ = ["Form", "ParallelSettings", "format_size", "parse_size"]

_MOST = 1_000_000  # jobs or threads: more is a slip, and more than tables and C's integers can take
_MANY_JOBS = 64  # "n_jobs - 1" is fine, though it gives 0 for one job: there, one task runs anyway
_SIZE_PATTERN = r"[0-9]{1,300}(\.[0-9]{1,300})?[KMGT]"
_UNITS = {"K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}


@dataclass(frozen=True, eq=False)  # hashed by identity, as typing asks of metadata
class Form:
    """How the values of a type are written, where the type alone does not say it.

    Parameters
    ----------
    text : str
        What an error message says was expected.
    schema : dict
        JSON Schema of the values that a file may hold.
    scalars : tuple of type
        The types that an environment variable's text may turn into.
    is_path : bool
        The value names a file or folder: ``~`` and ``$VAR`` expand, relative to the place that says it.
    spell : callable or None
        Turns a canonical value into the way in which people write it.
    """

    text: str
    schema: dict[str, object]
    scalars: tuple[type, ...]
    is_path: bool = False
    spell: Callable[[int], int | str] | None = None


def parse_size(value: object) -> object:
    """The number of bytes that a text such as ``"1.5M"`` means; anything but text passes through."""
    if not isinstance(value, str):
        return value
    if not re.fullmatch(_SIZE_PATTERN, value):
        raise ValueError(f"expected {_SIZE.text}")
    number, unit = value[:-1], _UNITS[value[-1]]
    size = Fraction(number) * unit
    if size.denominator != 1:
        raise ValueError(f"{value!r} is {Decimal(number) * unit} bytes, no whole number")
    return size.numerator


def format_size(size: int) -> int | str:
    """The shortest way to write a number of bytes, the inverse of `parse_size`."""
    for unit, factor in reversed(_UNITS.items()):
        if size and size % factor == 0:
            return f"{size // factor}{unit}"
    return size


def _not_zero(value: int) -> int:
    if value == 0:
        raise ValueError(f"expected {_JOBS.text}")
    return value


def _not_too_many(value: int) -> int:
    if value > _MOST:
        raise ValueError(f"expected at most {_MOST}")
    return value


def _no_null_text(value: str) -> str:
    if not value or value == "none" or "\0" in value:
        raise ValueError(f"expected {_PATH.text}")
    return value


def _arithmetic(value: str) -> str:
    if arithmetic.evaluate(value, _MANY_JOBS) < 1:
        raise ValueError(f"gives no task to dispatch, even with {_MANY_JOBS} jobs")
    return value


def _backend(value: object) -> object:
    """Check a name against the known backends; of an object, whether it can be one or make one."""
    from parallelcfg.backends.registry import known_backends, means_backend

    if isinstance(value, str):
        known = known_backends()
        if value not in known:
            near = suggest(value, known)
            raise NotHere(f"unknown backend{f', {near}' if near else ';'} known are {', '.join(known)}")
    elif value is not None and not means_backend(value):
        raise ValueError(f"expected {_BACKEND.text}, an instance, a factory or a context of multiprocessing")
    return value


_SIZE = Form(
    "bytes, a size such as '1M' (K, M, G, T of 1024)",
    {
        "anyOf": [
            {"type": "integer", "minimum": 0},
            {"type": "string", "pattern": f"^{_SIZE_PATTERN}$"},
        ]
    },
    (int, str),
    spell=format_size,
)
_JOBS = Form("an integer other than 0", {"type": "integer", "maximum": _MOST, "not": {"const": 0}}, (int,))
_THREADS = Form("an integer >= 1", {"type": "integer", "minimum": 1, "maximum": _MOST}, (int,))
_PATH = Form("a path", {"type": "string", "minLength": 1}, (str,), is_path=True)
_BACKEND = Form("the name of a backend", {"type": "string", "minLength": 1}, (str,))
_ARITHMETIC = Form(
    "arithmetic over n_jobs",
    {"type": "string", "pattern": f"^{arithmetic.PATTERN}$", "maxLength": arithmetic.LONGEST},
    (str,),
)
_SECONDS = Form("seconds > 0", {"type": "number", "exclusiveMinimum": 0}, (float,))
_IN_CODE = Form("", {}, ())  # can't be written in a file

Positive = Annotated[int, Ge(1)]
Natural = Annotated[int, Ge(0)]
Seconds = Annotated[float, Gt(0), AllowInfNan(allow_inf_nan=False), _SECONDS]
Jobs = Annotated[int, AfterValidator(_not_zero), AfterValidator(_not_too_many), _JOBS]
Threads = Annotated[int, Ge(1), AfterValidator(_not_too_many), _THREADS]
Size = Annotated[int, Ge(0), BeforeValidator(parse_size), _SIZE]
Path = Annotated[str, AfterValidator(_no_null_text), _PATH]
Backend = Annotated[Any, AfterValidator(_backend), _BACKEND]
Arithmetic = Annotated[str, AfterValidator(_arithmetic), _ARITHMETIC]
Display = Annotated[Callable[..., object], _IN_CODE]


class InForce(PydanticBaseSettingsSource):
    """What the layers say, as pydantic-settings' one source besides the constructor's arguments."""

    def get_field_value(self, field: object, field_name: str) -> tuple[object, str, bool]:  # noqa: ARG002 - the base class decides on the signature
        """Give one field; unused, `__call__` gives all at once."""
        return None, field_name, False

    def __call__(self) -> dict[str, object]:
        """Every value that some layer says."""
        from parallelcfg.config.context import get_config

        config = get_config()
        said = {key.partition(".")[0] for key in config.sources} & set(ParallelSettings.model_fields)
        values = {key: getattr(config, key) for key in said}
        if "backends" in values:
            values["backends"] = {name: dict(table) for name, table in config.backends.items()}
        return values


class ParallelSettings(BaseSettings):
    """Every key of the configuration: type, bounds, default and help.

    Calling it gives the settings in force as a pydantic model, arguments on top, for programs that embed them
    in settings of their own.

    Examples
    --------
    >>> ParallelSettings(n_jobs=4).n_jobs
    4
    """

    model_config = SettingsConfigDict(
        strict=True,
        extra="forbid",
        frozen=True,
        arbitrary_types_allowed=True,
        defer_build=True,  # most programs never build the model, they use its fields through `keys`
    )

    # Defaults by keyword: without pydantic's plugin, type checkers see no others
    backend: Backend | None = Field(
        default=None,
        description="who runs the tasks; none means loky, or threading where multiprocessing is missing",
    )
    n_jobs: Jobs | None = Field(
        default=None, description="concurrent jobs: -1 all CPUs, -2 all but one, ...; none means 1"
    )
    verbose: Natural = Field(
        default=0, description="progress messages; more than 10 reports every batch, from 50 on stdout"
    )
    temp_folder: Path | None = Field(
        default=None,
        description="arena for large arrays; ~ and $VAR expand, relative to the file that says it; "
        "none means /dev/shm where it has room, else the system's temporary folder",
    )
    max_nbytes: Size | None = Field(
        default=1024**2, description="size from which arrays go through the arena; none turns it off"
    )
    mmap_mode: Literal["r", "r+", "w+", "c"] | None = Field(
        default="r", description="how tasks see such arrays"
    )
    prefer: Literal["processes", "threads"] | None = Field(
        default=None, description="soft hint, ignored where backend is set"
    )
    require: Literal["sharedmem"] | None = Field(
        default=None, description='hard constraint; contradicts prefer="processes"'
    )
    inner_max_num_threads: Threads | None = Field(
        default=None,
        description="threads of BLAS, OpenMP, ... inside a worker; none means its share of the CPUs",
    )
    return_as: Literal["list", "generator", "generator_unordered"] = Field(
        default="list", description="shape of the result"
    )
    timeout: Seconds | None = Field(
        default=None, description="longest time for one task, counted from its start on the worker"
    )
    deadline: Seconds | None = Field(default=None, description="longest time for the whole call")
    pre_dispatch: Literal["all"] | Positive | Arithmetic = Field(
        default="2 * n_jobs", description="batches taken from the iterator ahead of the workers"
    )
    batch_size: Literal["auto"] | Positive = Field(default="auto", description="tasks per dispatch")
    max_pending_results: Positive | None = Field(
        default=None, description="unread results after which a generator stops dispatching"
    )
    on_error: Literal["raise", "return"] = Field(
        default="raise", description='with "return" a failed task yields a TaskError in its place'
    )
    retries: Natural = Field(
        default=0, description="more attempts for a task that failed or whose worker died"
    )
    progress: bool | Literal["tqdm", "log"] | Display = Field(
        default=False, description="progress display, counted in tasks; in code also a callable"
    )
    strict: bool = Field(
        default=False,
        description="a substitution (other backend, clamped jobs, skipped key) is an error, not a warning",
    )
    forward_logs: bool = Field(
        default=False,
        description="log records of workers reach the parent's handlers (not from dask and ray)",
    )
    seed: Natural | None = Field(default=None, description="root of every task's own random stream")
    trace: Path | None = Field(
        default=None, description="Chrome trace of every run of the process; a path like temp_folder"
    )
    max_jobs: Positive | None = Field(
        default=None, description="ceiling on n_jobs; the lowest one of all layers wins"
    )
    backends: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        description="constructor parameters of the named backend; keyword arguments in code add to them",
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the base class decides on the signature
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - as above
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - as above
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Hand over the layers of `resolve`: pydantic-settings' own sources tell no origins."""
        return init_settings, InForce(settings_cls)
