"""The source text of `declared`: plain facts of the declaration, for code that does without pydantic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from parallelcfg.config.fields import FIELDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from parallelcfg.config.fields import Field

__all__ = ["declared_text"]

_HEAD = '''"""Facts of the declaration in `settings`, written by ``python -m parallelcfg.config.generate``."""

from __future__ import annotations

from sys import maxsize

from parallelcfg.config.facts import Facts

DECLARED = {
'''


def declared_text() -> str:
    """The module as text."""
    return (
        _HEAD + "".join(f'    "{name}": {_facts(name, field)},\n' for name, field in FIELDS.items()) + "}\n"
    )


def _facts(name: str, field: Field) -> str:
    said: dict[str, Any] = {
        "scalars": tuple(sorted(scalar.__name__ for scalar in field.scalars)),
        "boolean": bool in field.scalars,
        "nullable": field.nullable,
        "is_path": field.is_path,
        "is_table": field.is_table,
        "function": _takes_functions(field),
        "spelt": field.spelt,
        "words": _built_in_backends() if name == "backend" else (),
    }
    for schema in _parts(field.schema):
        if "enum" in schema:
            said["words"] += tuple(word for word in schema["enum"] if word != "none")
        elif schema.get("type") == "integer":
            said["least"] = schema.get("minimum", "-maxsize")
            if "maximum" in schema:
                said["most"] = schema["maximum"]
            said["never"] = (schema["not"]["const"],) if "not" in schema else ()
    rest = "".join(
        f", {key}={_source(value)}" for key, value in said.items() if value is not False and value != ()
    )
    return f"Facts({_source(field.default)}{rest})"


def _takes_functions(field: Field) -> bool:
    try:
        return field.validate(_parts) is _parts
    except ValueError:
        return False


def _parts(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for part in schema.get("anyOf", [schema]):
        if "anyOf" in part:
            yield from _parts(part)
        else:
            yield part


def _built_in_backends() -> tuple[str, ...]:
    from parallelcfg.backends.registry import BUILT_IN

    return tuple(BUILT_IN)


def _source(value: object) -> str:
    """Python's source for a value, in the formatter's style."""
    if isinstance(value, tuple):
        return f"({', '.join(map(_source, value))}{',' * (len(value) == 1)})"
    if isinstance(value, str) and value != "-maxsize":
        return f'"{value}"'
    return str(value)
