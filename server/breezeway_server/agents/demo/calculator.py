"""The demo's calculator: arithmetic, by the syntax tree, never by `eval`."""

import ast
import operator
import re
from collections.abc import Callable

_CHARACTERS = re.compile(r"[\d(+\-.][\d\s.+\-*/%^()×÷]*[\d)]")  # noqa: RUF001 - people write these signs
_SIGNS = str.maketrans({"×": "*", "÷": "/"})  # noqa: RUF001 - people write these signs
_BINARY: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_UNARY: dict[type[ast.unaryop], Callable[[float], float]] = {ast.UAdd: operator.pos, ast.USub: operator.neg}
_MAX_LENGTH = 200
_MAX_EXPONENT = 1000


class CalculatorError(Exception):
    """The expression has no value; the text says why."""


def find_expression(text: str) -> str | None:
    """The first piece of `text` that is arithmetic with at least one operator, or None."""
    for match in _CHARACTERS.finditer(text):
        candidate = match.group().strip()
        try:
            tree = _parse(candidate)
        except CalculatorError:
            continue
        if any(isinstance(node, ast.BinOp) for node in ast.walk(tree)):
            return candidate
    return None


def calculate(expression: str) -> str:
    """The value, as a person would write it. Raises `CalculatorError`."""
    try:
        value = _value(_parse(expression).body)
        return str(int(value)) if value == int(value) and abs(value) < 1e15 else str(value)
    except ZeroDivisionError:
        raise CalculatorError("division by zero") from None
    except (OverflowError, ValueError):
        raise CalculatorError("the result is too large") from None


def _parse(expression: str) -> ast.Expression:
    if len(expression) > _MAX_LENGTH:
        raise CalculatorError("the expression is too long")
    try:
        return ast.parse(expression.translate(_SIGNS).replace("^", "**").strip(), mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise CalculatorError("that is no arithmetic") from None


def _value(node: ast.expr) -> float:
    match node:
        case ast.Constant(value=int() | float() as value):
            return value
        case ast.UnaryOp(op=sign, operand=operand) if type(sign) in _UNARY:
            return _UNARY[type(sign)](_value(operand))
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            return _power(_value(left), _value(right))
        case ast.BinOp(left=left, op=sign, right=right) if type(sign) in _BINARY:
            return _BINARY[type(sign)](_value(left), _value(right))
        case _:
            raise CalculatorError("that is no arithmetic")


def _power(base: float, exponent: float) -> float:
    # Large powers of integers would take the time and memory of everybody.
    if abs(exponent) > _MAX_EXPONENT or abs(base) > 10**100:
        raise CalculatorError("the result is too large")
    value: float | complex = base**exponent
    if isinstance(value, complex):
        raise CalculatorError("the result is no real number")
    return value
