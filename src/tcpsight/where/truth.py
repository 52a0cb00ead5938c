"""Compares columns: for which rows a comparison holds, and for which nobody can tell.

Integer columns are compared with integers: a bound between two of them is moved to the one that gives the same
answer, so that no nanosecond is lost to floating point.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from fractions import Fraction
from ipaddress import IPv4Network
from math import ceil, floor
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tcpsight.tables import IPV4_PREFIX

if TYPE_CHECKING:
    from tcpsight.tables import Column, Table
    from tcpsight.where.literals import Network, Value

Mask = np.ndarray[Any, np.dtype[np.bool_]]

ORDER: dict[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "=": operator.eq,
    "!=": operator.ne,
}

_INT64 = np.iinfo(np.int64)


class Truth(NamedTuple):
    """For which rows a condition holds, and for which nobody can tell; shape (n,) each, never both."""

    holds: Mask
    unknown: Mask


Condition = Callable[["Table"], Truth]


def conjunction(parts: Sequence[Condition]) -> Condition:
    """Hold where all parts hold; fail where one fails."""
    return parts[0] if len(parts) == 1 else negation(disjunction([negation(part) for part in parts]))


def disjunction(parts: Sequence[Condition]) -> Condition:
    """Hold where one part holds; else nobody can tell where one part is unknown."""

    def condition(table: Table) -> Truth:
        holds, unknown = np.zeros(len(table), np.bool_), np.zeros(len(table), np.bool_)
        for part in parts:
            truth = part(table)
            holds |= truth.holds
            unknown |= truth.unknown
        return Truth(holds, unknown & ~holds)

    return parts[0] if len(parts) == 1 else condition


def negation(part: Condition) -> Condition:
    """Hold where the part is known to fail."""

    def condition(table: Table) -> Truth:
        truth = part(table)
        return Truth(~(truth.holds | truth.unknown), truth.unknown)

    return condition


def is_unknown(column: Column) -> Condition:
    """Hold where the column has no value."""
    return lambda table: Truth(unknown_values(column, table), np.zeros(len(table), np.bool_))


def compared(column: Column, sign: str, value: Value, *, has_version: bool) -> Condition:
    """Compare a column with a value.

    Parameters
    ----------
    column : Column
        The column.
    sign : str
        One of `ORDER`; addresses are in a network (``=``) or not (``!=``).
    value : Value
        What it is compared with.
    has_version : bool
        Whether the table says of each row which IP version its addresses are.
    """
    test = _test(column, sign, value, has_version=has_version)

    def condition(table: Table) -> Truth:
        unknown = unknown_values(column, table)
        return Truth(test(table) & ~unknown, unknown)

    return condition


def compared_columns(one: Column, sign: str, other: Column) -> Condition:
    """Compare two columns of the same unit, row by row."""

    def condition(table: Table) -> Truth:
        unknown = unknown_values(one, table) | unknown_values(other, table)
        return Truth(_compare_rows(table.rows[one.name], sign, table.rows[other.name]) & ~unknown, unknown)

    return condition


def unknown_values(column: Column, table: Table) -> Mask:
    """Tell in which rows the column has no value, shape (n,)."""
    values = table.rows[column.name]
    unknown = np.zeros(len(values), np.bool_)
    if column.null is not None:
        equal = values == column.null
        unknown |= equal if equal.ndim == 1 else equal.all(axis=1)
    if values.dtype.kind == "f":
        unknown |= np.isnan(values)
    return unknown


def _test(column: Column, sign: str, value: Value, *, has_version: bool) -> Callable[[Table], Mask]:
    if isinstance(value, bool):
        return lambda table: ORDER[sign](table.rows[column.name] != 0, value)
    if isinstance(value, bytes):
        return lambda table: ORDER[sign](table.rows[column.name], value)
    if not isinstance(value, Fraction):
        return lambda table: _in_network(table, column, value, has_version=has_version) ^ (sign == "!=")
    if np.dtype(column.dtype).kind == "f":
        number = _nearest_float(value)
        return lambda table: ORDER[sign](table.rows[column.name], number)
    sign, bound = _whole_bound(sign, value)
    return lambda table: ORDER[sign](table.rows[column.name].astype(np.int64), bound)


def _nearest_float(value: Fraction) -> float:
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def _whole_bound(sign: str, value: Fraction) -> tuple[str, int]:
    """Give a comparison with an integer of 64 bits that has the same answer for every integer of 64 bits."""
    if sign in ("=", "!="):
        if value.denominator == 1 and _INT64.min <= value <= _INT64.max:
            return sign, int(value)
        # Never equal: no integer is less than the least.
        return ("<" if sign == "=" else ">="), int(_INT64.min)
    if sign in ("<", ">="):
        bound = ceil(value)
        if bound > _INT64.max:
            return ("<=" if sign == "<" else ">"), int(_INT64.max)
    else:
        bound = floor(value)
        if bound < _INT64.min:
            return ("<" if sign == "<=" else ">="), int(_INT64.min)
    return sign, int(min(max(bound, _INT64.min), _INT64.max))


def _compare_rows(one: np.ndarray[Any, Any], sign: str, other: np.ndarray[Any, Any]) -> Mask:
    equal_shape = one.ndim > 1
    if equal_shape:
        equal: Mask = (one == other).all(axis=1)
        return equal if sign == "=" else ~equal
    mask: Mask = ORDER[sign](one, other)
    return mask


def _in_network(table: Table, column: Column, network: Network, *, has_version: bool) -> Mask:
    addresses = table.rows[column.name]
    is_v4 = isinstance(network, IPv4Network)
    packed = (IPV4_PREFIX if is_v4 else b"") + network.network_address.packed
    bits = network.prefixlen + (96 if is_v4 else 0)
    whole, rest = divmod(bits, 8)
    wanted = np.frombuffer(packed, np.uint8)
    inside: Mask = (addresses[:, :whole] == wanted[:whole]).all(axis=1)
    if rest:
        inside &= addresses[:, whole] >> (8 - rest) == wanted[whole] >> (8 - rest)
    if has_version:
        inside &= table.rows["ip_version"] == network.version
    elif not is_v4:
        # ::/0 is not meant to hold the IPv4 addresses that stand behind ::ffff:.
        mapped = np.frombuffer(IPV4_PREFIX, np.uint8)
        inside &= ~(addresses[:, :12] == mapped).all(axis=1)
    return inside
