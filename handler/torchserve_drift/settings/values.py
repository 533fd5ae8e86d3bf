"""Readers of single values, which come from YAML or from the text of an environment variable.

A reader gets a value and the name of its key. It returns the value as the settings hold it, or raises `ConfigError`.
"""

from __future__ import annotations

import math
import re
import reprlib
from typing import Any, Callable

from torchserve_drift.errors import ConfigError
from torchserve_drift.window.window import Window

POLICIES = ("budget", "benjamini-hochberg", "bonferroni", "classic")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


# The limits of `shortened`.
_repr = reprlib.Repr()
_repr.maxlevel, _repr.maxlist, _repr.maxtuple, _repr.maxdict = 3, 20, 20, 20
_repr.maxstring = _repr.maxlong = _repr.maxother = 200


def shortened(value: object) -> str:
    """A refused value as error messages show it, cut to a few hundred characters.

    The cut is needed: a YAML file of 1 KB can define lists of lists that would take gigabytes to write out.

    Examples
    --------
    >>> shortened("1 y"), shortened([[[[["deep"]]]]]), len(shortened("x" * 10_000))
    ("'1 y'", '[[[[...]]]]', 200)
    """
    return _repr.repr(value)


def _scalar_text(value: object) -> str:
    """A text or a number as text; the empty text for other values."""
    return str(value) if isinstance(value, (str, int, float)) else ""


def seconds(value: object, key: str) -> float:
    """A length of time in seconds: a positive number of seconds, or a number with the unit ms, s, m, h, d or w.

    Examples
    --------
    >>> seconds("15s", "evaluate_every"), seconds("2h", "windows"), seconds(3, "evaluate_every")
    (15.0, 7200.0, 3.0)
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)?\s*", _scalar_text(value))
    if (
        isinstance(value, bool)
        or match is None
        or not 0 < (span := float(match[1]) * _UNITS[match[2] or "s"]) < math.inf
    ):
        raise ConfigError(f"{key} must be a positive time such as 15s, 10m, 24h or 7d, got {shortened(value)}")
    return span


def window(value: object) -> Window:
    """A window: a length of time, or ``N rows``."""
    match = re.fullmatch(r"\s*(\d+)\s*rows?\s*", _scalar_text(value))
    if match is None:
        return Window(_scalar_text(value).strip(), seconds=seconds(value, "windows"))
    if int(match[1]) < 1:
        raise ConfigError(f"windows must be of at least 1 row, got {shortened(value)}")
    return Window(_scalar_text(value).strip(), rows=int(match[1]))


def windows(value: object, key: str) -> tuple[Window, ...]:
    """1 to 16 different windows, as a list or, in an environment variable, separated by commas."""
    items = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, (list, tuple)) or not items:
        raise ConfigError(f"{key} must be a list such as [10m, 1h, 24h], got {shortened(value)}")
    found = tuple(window(item) for item in items)
    if len({each.label for each in found}) < len(found):
        raise ConfigError(f"{key} must differ from one another, got {shortened(value)}")
    if len(found) > 16:
        raise ConfigError(f"{key} must be at most 16, got {len(found)}")
    return found


def integer(low: int, high: int) -> Callable[[object, str], int]:
    """A reader of integers from ``low`` to ``high``."""

    def read(value: object, key: str) -> int:
        if isinstance(value, str) and re.fullmatch(r"\s*-?\d+\s*", value):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ConfigError(f"{key} must be an integer from {low} to {high}, got {shortened(value)}")
        return value

    return read


def number(low: float, high: float, *, above: bool = False) -> Callable[[object, str], float]:
    """A reader of numbers from ``low`` to ``high``; with ``above``, ``low`` itself is refused."""

    def read(value: object, key: str) -> float:
        try:
            found = math.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type] # its failure is the check
        except (TypeError, ValueError, OverflowError):
            found = math.nan
        if not (low < found if above else low <= found) or not found <= high:
            bound = f"above {low:g} and at most {high:g}" if above else f"from {low:g} to {high:g}"
            raise ConfigError(f"{key} must be a number {bound}, got {shortened(value)}")
        return found

    return read


def boolean(value: object, key: str) -> bool:
    """True or false, also as text and as the texts 1 and 0."""
    known = {"true": True, "false": False, "1": True, "0": False}
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in known:
        return known[value.lower()]
    raise ConfigError(f"{key} must be true or false, got {shortened(value)}")


def text(value: object, key: str) -> str:
    """A text that is not empty, without the spaces around it."""
    if not isinstance(value, str) or not value.strip():
        raise ConfigError(f"{key} must be a text that is not empty, got {shortened(value)}")
    return value.strip()


def inputs(value: object, key: str) -> str:
    """What the model's inputs are; only tabular so far."""
    kind = text(value, key)
    if kind != "tabular":
        raise ConfigError(f"{key} must be tabular, got {shortened(value)}")
    return kind


def policy(value: object, key: str) -> str:
    """One of `POLICIES`."""
    if value not in POLICIES:
        raise ConfigError(f"{key} must be one of {', '.join(POLICIES)}, got {shortened(value)}")
    return str(value)


def address(value: object, key: str) -> str:
    """``host:port`` with a port from 0 to 65535."""
    whole = text(value, key)
    host, _, port = whole.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise ConfigError(f"{key} must be host:port, got {shortened(value)}")
    return whole


def optional(read: Callable[[object, str], Any]) -> Callable[[object, str], Any]:
    """A reader like ``read`` that also takes null and an empty text, for ``None``."""
    return lambda value, key: None if value is None or value == "" else read(value, key)
