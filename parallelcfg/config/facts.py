"""What can be known of a key without pydantic; `declared` has it for each key."""

from __future__ import annotations

from sys import maxsize
from typing import NamedTuple

__all__ = ["Facts"]


class Facts(NamedTuple):
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
    most : int
        The greatest integer that is sure to be valid.
    never : tuple of int
        Integers between them that are not valid.
    boolean, nullable, is_path, is_table, function : bool
        What else its values may be; functions only in code.
    spelt : bool
        Whether people write its values in another form than the canonical one.
    """

    default: object
    scalars: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    least: int | None = None
    most: int = maxsize
    never: tuple[int, ...] = ()
    boolean: bool = False
    nullable: bool = False
    is_path: bool = False
    is_table: bool = False
    function: bool = False
    spelt: bool = False
