"""Arithmetic over ``n_jobs``, the language of ``pre_dispatch``: numbers, ``+ - * / // % **`` and parentheses.

The expression may come from a file, so it is parsed and walked, never evaluated as Python.
"""

from __future__ import annotations

import ast
import math
import operator
import re
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["LONGEST", "PATTERN", "batches_ahead", "evaluate"]

#: What the language is written with, for the JSON Schema too: no other names, no comments, no other digits.
PATTERN = r"(n_jobs|[-+*/%().0-9_\s])+"
LONGEST = 100
_MAX_VALUE = 10**9
_MAX_POWER = 10**6  # joblib's bound


def _power(base: float, exponent: float) -> float:
    """In floating point, where what is too large takes no time; exact as far as it goes here."""
    try:
        return math.pow(base, exponent)
    except (OverflowError, ValueError):
        return math.inf


_OPERATORS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: _power,
}


@lru_cache(maxsize=256)
def evaluate(expression: str, n_jobs: int) -> int:
    """How many batches an expression such as ``"2 * n_jobs"`` means.

    Parameters
    ----------
    expression : str
        At most 100 characters.
    n_jobs : int
        What the name ``n_jobs`` stands for.

    Returns
    -------
    int
        The value without its fraction, as in joblib: ``"1.5 * n_jobs"`` with 3 jobs gives 4.

    Raises
    ------
    ValueError
        The expression holds anything else than arithmetic, or a value out of bounds.

    Examples
    --------
    >>> evaluate("2 * n_jobs", 4)
    8
    >>> evaluate("1.5*n_jobs + 1", 3)
    5
    >>> evaluate("n_jobs ** 2", 3)
    9
    """
    if len(expression) > LONGEST:
        raise ValueError(f"an expression has at most {LONGEST} characters, this one {len(expression)}")
    if expression.strip() and not re.fullmatch(PATTERN, expression):
        raise ValueError(_refusal(expression))
    try:
        tree = ast.parse(expression.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ValueError("expected 'all', an integer >= 1 or arithmetic over n_jobs") from None
    try:
        return int(_value(tree, n_jobs))
    except ZeroDivisionError:
        raise ValueError(f"divides by zero when n_jobs is {n_jobs}") from None


def batches_ahead(pre_dispatch: int | str, n_jobs: int) -> int | None:
    """How many batches a valid ``pre_dispatch`` lets run ahead of the workers.

    Parameters
    ----------
    pre_dispatch : int or str
        ``"all"``, a number or an expression.
    n_jobs : int
        Jobs of the call.

    Returns
    -------
    int or None
        At least 1; None for no bound.

    Examples
    --------
    >>> batches_ahead("n_jobs - 1", 1), batches_ahead("all", 4)
    (1, None)
    """
    if pre_dispatch == "all":
        return None
    return pre_dispatch if isinstance(pre_dispatch, int) else max(1, evaluate(pre_dispatch, n_jobs))


def _value(node: ast.expr, n_jobs: int) -> float:
    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            result: float = number
        case ast.Name(id="n_jobs"):
            result = n_jobs
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            result = -_value(operand, n_jobs)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            result = _OPERATORS[type(op)](_value(left, n_jobs), _value(right, n_jobs))
            if isinstance(op, ast.Pow) and abs(result) > _MAX_POWER:
                raise ValueError(_refusal(ast.unparse(node)))
        case _:
            raise ValueError(_refusal(ast.unparse(node)))
    if not math.isfinite(result) or abs(result) > _MAX_VALUE:
        raise ValueError(f"a part of it exceeds {_MAX_VALUE:,}")
    return result


def _refusal(text: str) -> str:
    return (
        f"{text!r} is no arithmetic over n_jobs: numbers, n_jobs, + - * / // % and ( ) are, "
        f"and ** up to {_MAX_POWER:,}"
    )
