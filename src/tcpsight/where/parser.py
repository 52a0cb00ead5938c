"""Reads a condition by recursive descent: ``or`` binds least, then ``and``, ``not``, and comparisons most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tcpsight.tables import ConnectionAccounts
from tcpsight.where.literals import is_bare_number, is_unit, value_for
from tcpsight.where.tokens import Token, failure, nearest, tokens
from tcpsight.where.truth import (
    ORDER,
    Condition,
    compared,
    compared_columns,
    conjunction,
    disjunction,
    is_unknown,
    negation,
)

if TYPE_CHECKING:
    from tcpsight.tables import Column, Table

DEEPEST = 100
"""Parentheses and negations inside each other: nobody writes more, and each takes a few frames of Python's stack."""

_SAME = {"==": "=", "<>": "!="}
_TURNED = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
_KEYWORDS = ("and", "or", "not", "in", "is", "null")


@dataclass(frozen=True, slots=True)
class Named:
    """A column, and how the condition names it."""

    column: Column
    token: Token
    has_whole_name: bool


Operand = Named | Token


def parse(text: str, table_type: type[Table], *, is_accounted: bool = True) -> Condition:
    """Read a condition on the rows of a table.

    Without an account of time, what it tells may not be asked for.

    Raises
    ------
    UsageError
        If it makes no sense.
    """
    return _Parser(text, table_type, is_accounted=is_accounted).whole()


class _Parser:
    def __init__(self, text: str, table_type: type[Table], *, is_accounted: bool) -> None:
        self._unknown = frozenset() if is_accounted else frozenset(c.name for c in ConnectionAccounts.columns[1:])
        self._columns = {c.name: c for c in table_type.columns if not c.internal and (c.width == 1 or c.is_address)}
        self._has_version = "ip_version" in (table_type.dtype.names or ())
        self._tokens = tokens(text)
        self._at = 0
        self._depth = 0

    def whole(self) -> Condition:
        condition = self._either()
        if self._peek().kind != "end":
            raise failure(self._peek().start, f"'and', 'or' or the end was expected, not {self._peek().shown}")
        return condition

    def _peek(self) -> Token:
        return self._tokens[self._at]

    def _next(self) -> Token:
        token = self._tokens[self._at]
        self._at += token.kind != "end"
        return token

    def _takes(self, *keys: str) -> Token | None:
        token = self._peek()
        return self._next() if token.kind in ("word", "sign") and token.key in keys else None

    def _closes(self, opening: Token) -> None:
        if not self._takes(")"):
            message = f"')' was expected for the '(' at character {opening.start + 1}, not {self._peek().shown}"
            raise failure(self._peek().start, message)

    def _either(self) -> Condition:
        parts = [self._both()]
        while self._takes("or"):
            parts.append(self._both())
        return disjunction(parts)

    def _both(self) -> Condition:
        parts = [self._one()]
        while self._takes("and"):
            parts.append(self._one())
        return conjunction(parts)

    def _one(self) -> Condition:
        self._depth += 1
        if self._depth > DEEPEST:
            raise failure(self._peek().start, f"more than {DEEPEST} parentheses or negations inside each other")
        if self._takes("not"):
            condition = negation(self._one())
        elif opening := self._takes("("):
            condition = self._either()
            self._closes(opening)
        else:
            condition = self._comparison()
        self._depth -= 1
        return condition

    def _comparison(self) -> Condition:
        left = self._operand()
        if self._takes("is"):
            return self._null_test(self._named(left))
        if negated := self._takes("not"):
            if not self._takes("in"):
                raise failure(self._peek().start, f"'in' was expected after 'not', not {self._peek().shown}")
        elif not self._takes("in"):
            return self._ordered(left)
        condition = self._membership(self._named(left))
        return negation(condition) if negated else condition

    def _operand(self) -> Operand:
        token = self._next()
        if token.kind in ("end", "sign") or (token.kind == "word" and token.key in _KEYWORDS):
            raise failure(token.start, f"a column or a value was expected, not {token.shown}")
        for ending in ("", "_ns"):
            if token.kind == "word" and (column := self._columns.get(token.text + ending)):
                return Named(column, token, has_whole_name=not ending)
        # A number and its unit may stand apart: 400 ms.
        unit = self._peek()
        if token.kind == unit.kind == "word" and is_bare_number(token.text) and is_unit(unit.text):
            return Token("word", token.text + self._next().text, token.start)
        return token

    def _named(self, operand: Operand) -> Named:
        if isinstance(operand, Named):
            if operand.column.name in self._unknown:
                hint = "no account of time is made here: 'tcpsight connections' makes it"
                raise failure(operand.token.start, f"{operand.token.shown} is not known; {hint}")
            return operand
        if not operand.is_name:
            raise failure(operand.start, f"a column was expected, not {operand.shown}")
        raise failure(operand.start, f"no column {operand.shown}; {nearest(operand.text, self._columns)}")

    def _null_test(self, named: Named) -> Condition:
        is_negated = self._takes("not")
        if not self._takes("null"):
            raise failure(self._peek().start, f"'null' was expected, not {self._peek().shown}")
        condition = is_unknown(named.column)
        return negation(condition) if is_negated else condition

    def _membership(self, named: Named) -> Condition:
        opening = self._takes("(")
        conditions = [self._valued(named, "=", _word_for(named, self._operand()))]
        while opening and self._takes(","):
            conditions.append(self._valued(named, "=", _word_for(named, self._operand())))
        if opening:
            self._closes(opening)
        return disjunction(conditions)

    def _ordered(self, left: Operand) -> Condition:
        token = self._peek()
        sign = _SAME.get(token.text, token.text)
        if token.kind != "sign" or sign not in ORDER:
            named = self._named(left)
            if not named.column.is_boolean:
                raise failure(token.start, f"a comparison was expected after {named.token.shown}, not {token.shown}")
            return compared(named.column, "=", True, has_version=self._has_version)
        self._next()
        right = _word_for(left, self._operand())
        if isinstance(right, Named) and not isinstance(left, Named) and not left.is_name:
            left, right, sign = right, left, _TURNED.get(sign, sign)
        named = self._named(left)
        if isinstance(right, Named):
            return self._two_columns(named, sign, self._named(right))
        return self._valued(named, sign, right)

    def _two_columns(self, left: Named, sign: str, right: Named) -> Condition:
        self._check_order(left, sign)
        if _nature(left.column) != _nature(right.column):
            message = f"{left.token.shown} and {right.token.shown} are not the same kind of thing"
            raise failure(right.token.start, message)
        return compared_columns(left.column, sign, right.column)

    def _valued(self, named: Named, sign: str, operand: Operand) -> Condition:
        if isinstance(operand, Named):
            raise failure(operand.token.start, f"a value was expected, not the column {operand.token.shown}")
        self._check_order(named, sign)
        if operand.is_name and _nature(named.column)[0] in "iuf" and operand.key not in ("inf", "nan"):
            raise failure(operand.start, f"no column {operand.shown}; {nearest(operand.text, self._columns)}")
        value = value_for(named.column, operand, has_whole_name=named.has_whole_name)
        return compared(named.column, sign, value, has_version=self._has_version)

    def _check_order(self, named: Named, sign: str) -> None:
        if sign not in ("=", "!=") and _nature(named.column)[0] not in "iuf":
            raise failure(named.token.start, f"{named.token.shown} has no order; use =, != or in")


def _word_for(other: Operand, operand: Operand) -> Operand:
    """Take a name without its unit for a word where the column beside it knows that word: ``limited_by = server``."""
    if not isinstance(other, Named) or not isinstance(operand, Named) or operand.has_whole_name:
        return operand
    return operand.token if operand.token.key in (other.column.names or ()) else operand


def _nature(column: Column) -> str:
    """Tell what kind of thing a column holds: only the same kinds can be compared."""
    if column.is_address or column.is_boolean:
        return column.unit
    if column.names is not None:
        return "word " + " ".join(column.names)
    kind = np.dtype(column.dtype).kind
    return "text" if kind == "S" else f"i {column.unit}"
