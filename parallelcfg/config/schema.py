"""The declaration in other forms: JSON Schema, table of variables, commented example, table of the docs."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from parallelcfg.config.environ import RESERVED, variable_name
from parallelcfg.config.keys import KEYS
from parallelcfg.config.spelling import to_text, to_toml

if TYPE_CHECKING:
    from parallelcfg.config.keys import Key

__all__ = ["environment_table", "example", "file_schema", "markdown_table"]

_DRAFT = "https://json-schema.org/draft/2020-12/schema"


def file_schema() -> dict[str, object]:
    """JSON Schema, draft 2020-12, of ``parallel.toml`` and of ``[tool.parallelcfg]``."""
    return {
        "$schema": _DRAFT,
        "title": "parallelcfg",
        "description": "Settings of parallel loops: parallel.toml, or [tool.parallelcfg] of pyproject.toml.",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            **{name: {"$ref": f"#/$defs/keys/properties/{name}"} for name in KEYS},
            "profiles": {
                "description": "Named groups of keys; PARALLEL_PROFILE=NAME lays one over this file.",
                "type": "object",
                "additionalProperties": {"$ref": "#/$defs/keys"},
            },
            "locked": {
                "description": "Values that no other layer changes. In the system's file only.",
                "$ref": "#/$defs/keys",
            },
        },
        "$defs": {
            "keys": {
                "type": "object",
                "additionalProperties": False,
                "properties": {name: _key_schema(key) for name, key in KEYS.items()},
            }
        },
    }


def _key_schema(key: Key) -> dict[str, object]:
    default = "none" if key.default is None else key.spell(key.default)
    return {"description": _sentence(key.help), **key.schema, "default": default}


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def environment_table() -> list[dict[str, object]]:
    """Every environment variable: name, key, type, default and help."""
    rows: list[dict[str, object]] = [
        {
            "name": variable_name((name,)),
            "key": name,
            "type": key.expected,
            "default": key.spell(key.default),
            "help": _sentence(key.help),
        }
        for name, key in KEYS.items()
    ]
    rows.append(
        {
            "name": "JOBLIB_TEMP_FOLDER",
            "key": "temp_folder",
            "type": KEYS["temp_folder"].expected,
            "default": None,
            "help": "Joblib's name for temp_folder, below PARALLEL_TEMP_FOLDER.",
        }
    )
    rows += [
        {"name": name, "key": None, "type": "text", "default": None, "help": _sentence(text)}
        for name, text in RESERVED.items()
    ]
    return rows


def example(schema: str, *, table: str = "") -> str:
    """A file that shows every key, commented, with its default and help.

    Parameters
    ----------
    schema : str
        Where editors find the JSON Schema, relative to the file; empty for none.
    table : str
        The table that the keys stand in, for ``pyproject.toml``.
    """
    lines = [f"#:schema {schema}", ""] if schema else []
    lines += [
        "# Settings of parallel loops. What stands here are the defaults; take the # away to change one.",
        "# Higher layers win: the environment (PARALLEL_N_JOBS=4), the code. See `parallelcfg explain KEY`.",
        "",
    ]
    lines += [f"[{table}]", ""] if table else []
    for name, key in KEYS.items():
        if not key.is_table:
            lines += _commented(f"{_sentence(key.help)} Takes {key.expected}.")
            lines += [f"# {name} = {to_toml(key.spell(key.default))}", ""]
    prefix = f"{table}." if table else ""
    lines += _commented("Constructor parameters of a backend, by the backend's name.")
    lines += [f"# [{prefix}backends.loky]", "# idle_worker_timeout = 300", ""]
    lines += _commented("A profile lays its keys over those above when PARALLEL_PROFILE=night selects it.")
    lines += [f"# [{prefix}profiles.night]", "# n_jobs = -1", ""]
    if not table:
        lines += _commented("Only in the system's file: values that no other layer changes.")
        lines += ["# [locked]", '# temp_folder = "/scratch"', ""]
    return "\n".join(lines)


def _commented(text: str) -> list[str]:
    return textwrap.wrap(text, 100, initial_indent="## ", subsequent_indent="## ")


def markdown_table() -> str:
    """The table of keys for the documentation."""
    rows = ["| key | values | default | meaning |", "|---|---|---|---|"]
    for name, key in KEYS.items():
        default = "{}" if key.is_table else to_text(key.spell(key.default))
        rows.append(f"| `{name}` | {key.expected} | `{default}` | {key.help} |")
    return "\n".join(rows)
