"""The declaration of each key, read off `settings`: validation, texts, schema.

The half of `keys` that needs pydantic. It is imported when a value has to be validated that is not plainly
right, or somebody asks what a key means.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, time
from functools import cached_property
from types import MappingProxyType, NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge
from pydantic import ConfigDict, TypeAdapter, ValidationError

from parallelcfg.config.settings import Form, ParallelSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["FIELDS", "Field"]

_OPEN = ConfigDict(strict=True, arbitrary_types_allowed=True)
_PLAIN_DATA = (bool, int, float, bytes, list, tuple, dict, set, date, time)


class Field:
    """One key as it is declared.

    Parameters
    ----------
    name : str
        Its name.
    annotation : type
        Its declared type.

    Attributes
    ----------
    help : str
        What it means.
    default : object
        Its default in canonical form.
    nullable : bool
        Whether it may be null.
    is_path : bool
        Whether its value names a file or folder.
    is_table : bool
        Whether it is a table of tables.
    spelt : bool
        Whether people write its values in another form than the canonical one.
    """

    def __init__(self, name: str, annotation: Any) -> None:
        field = ParallelSettings.model_fields[name]
        self.help = field.description or ""
        self.default = field.get_default(call_default_factory=True)
        self._alternatives = tuple(_alternatives(annotation))
        self.nullable = any(one.type is NoneType for one in self._alternatives)
        self.is_path = any(one.form is not None and one.form.is_path for one in self._alternatives)
        self.is_table = self.default == {}
        self.spelt = any(one.form is not None and one.form.spell is not None for one in self._alternatives)
        self._annotation = annotation

    @cached_property
    def _validate(self) -> Callable[[object], object]:
        """Pydantic's validator, built when the key is first said: most of them never are."""
        adapter: TypeAdapter[object] = TypeAdapter(self._annotation, config=_OPEN)
        return adapter.validator.validate_python

    def validate(self, value: object) -> object:
        """The value in its canonical form.

        Raises
        ------
        ValueError
            With a text that says what was expected.
        """
        try:
            return self._validate(value)
        except ValidationError as error:
            own: list[ValueError] = [
                one["ctx"]["error"] for one in error.errors() if one["type"] == "value_error"
            ]
            # A text of ours is about a value of the right type, or about an object, which has none to go by:
            # it says more than the list of types.
            told = own[0] if own and self._accepts_type(value) else ValueError(f"expected {self.expected}")
            raise told from None

    def spell(self, value: object) -> object:
        """A canonical value the way people write it, for example ``"1M"``."""
        spell = next((one.form.spell for one in self._alternatives if one.form and one.form.spell), None)
        return spell(value) if spell is not None and isinstance(value, int) else value

    def _accepts_type(self, value: object) -> bool:
        return type(value) in self.scalars or not isinstance(value, _PLAIN_DATA)

    @cached_property
    def scalars(self) -> frozenset[type]:
        """The types that the text of an environment variable may turn into."""
        return frozenset(scalar for one in self._alternatives for scalar in one.scalars)

    @cached_property
    def expected(self) -> str:
        """What its values are, as a phrase."""
        if self.is_table:
            return "a table of backends' parameters"
        *most, last = [text for one in self._alternatives for text in one.texts]
        return f"{', '.join(most)} or {last}" if most else last

    @cached_property
    def schema(self) -> dict[str, object]:
        """JSON Schema of the values that a file may hold."""
        if self.is_table:
            return {"type": "object", "additionalProperties": {"type": "object"}}
        schemas = [one.schema for one in self._alternatives if one.schema]
        words = [word for one in schemas if "enum" in one for word in one["enum"]]  # type: ignore[attr-defined]  # enum is a list
        merged = [one for one in schemas if "enum" not in one] + ([{"enum": words}] if words else [])
        return merged[0] if len(merged) == 1 else {"anyOf": merged}


@dataclass(frozen=True)
class _Alternative:
    """One member of a key's union of types."""

    type: Any
    texts: tuple[str, ...]
    schema: dict[str, object]
    scalars: tuple[type, ...]
    form: Form | None = None


_PLAIN = {
    bool: _Alternative(bool, ("true", "false"), {"type": "boolean"}, (bool,)),
    NoneType: _Alternative(NoneType, ("none",), {"enum": ["none"]}, ()),
}


def _alternatives(annotation: Any) -> list[_Alternative]:
    origin = get_origin(annotation)
    if origin in {Union, UnionType}:
        return [one for member in get_args(annotation) for one in _alternatives(member)]
    if origin is Literal:
        words = get_args(annotation)
        return [_Alternative(str, tuple(map(repr, words)), {"enum": list(words)}, (str,))]
    if origin is Annotated:
        plain, *metadata = get_args(annotation)
        form = next((one for one in metadata if isinstance(one, Form)), None)
        if form is None:
            least = next(one.ge for one in metadata if isinstance(one, Ge))
            schema: dict[str, object] = {"type": "integer", "minimum": least}
            return [_Alternative(plain, (f"an integer >= {least}",), schema, (int,))]
        return [_Alternative(plain, (form.text,) if form.text else (), form.schema, form.scalars, form)]
    return [_PLAIN[annotation]] if annotation in _PLAIN else []


def _fields() -> Mapping[str, Field]:
    hints = ParallelSettings.__annotations__  # no texts: `settings` does without their postponed evaluation
    return MappingProxyType({name: Field(name, hints[name]) for name in ParallelSettings.model_fields})


#: Every key by its name, in the order of the declaration.
FIELDS = _fields()
