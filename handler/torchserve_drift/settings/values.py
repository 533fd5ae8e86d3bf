"""One setting's value each: read from YAML or from the text of an environment variable, or refused with its name."""

from __future__ import annotations

import math
import re
import reprlib
from typing import Any, Callable

from torchserve_drift.errors import ConfigError
from torchserve_drift.window.window import Window

POLICIES = ("budget", "benjamini-hochberg", "bonferroni", "classic")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


_repr = reprlib.Repr()
_repr.maxlevel, _repr.maxlist, _repr.maxtuple, _repr.maxdict = 3, 20, 20, 20
_repr.maxstring = _repr.maxlong = _repr.maxother = 200


def shown(value: object) -> str:
    """A bad value as errors show it. A YAML file of 1 KB can name a list within lists that would be written in GB.

    Examples
    --------
    >>> shown("1 y"), shown([[[[["deep"]]]]]), len(shown("x" * 10_000))
    ("'1 y'", '[[[[...]]]]', 200)
    """
    return _repr.repr(value)


def _written(value: object) -> str:
    """A scalar as text; empty for what is none."""
    return str(value) if isinstance(value, (str, int, float)) else ""


def seconds(value: object, key: str) -> float:
    """A span of time as seconds: a positive number of seconds, or a number with ms, s, m, h, d or w.

    Examples
    --------
    >>> seconds("15s", "evaluate_every"), seconds("2h", "windows"), seconds(3, "evaluate_every")
    (15.0, 7200.0, 3.0)
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)?\s*", _written(value))
    if (
        isinstance(value, bool)
        or match is None
        or not 0 < (span := float(match[1]) * _UNITS[match[2] or "s"]) < math.inf
    ):
        raise ConfigError(f"{key} must be a positive time such as 15s, 10m, 24h or 7d, got {shown(value)}")
    return span


def window(value: object) -> Window:
    """A window: a span of time, or ``N rows``."""
    match = re.fullmatch(r"\s*(\d+)\s*rows?\s*", _written(value))
    if match is None:
        return Window(_written(value).strip(), seconds=seconds(value, "windows"))
    if int(match[1]) < 1:
        raise ConfigError(f"windows must be of at least 1 row, got {shown(value)}")
    return Window(_written(value).strip(), rows=int(match[1]))


def windows(value: object, key: str) -> tuple[Window, ...]:
    """1 to 16 different windows, as a list or, in an environment variable, joined by commas."""
    items = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, (list, tuple)) or not items:
        raise ConfigError(f"{key} must be a list such as [10m, 1h, 24h], got {shown(value)}")
    found = tuple(window(item) for item in items)
    if len({each.label for each in found}) < len(found):
        raise ConfigError(f"{key} must differ from one another, got {shown(value)}")
    if len(found) > 16:
        raise ConfigError(f"{key} must be at most 16, got {len(found)}")
    return found


def integer(low: int, high: int) -> Callable[[object, str], int]:
    """A reader of integers from ``low`` to ``high``."""

    def read(value: object, key: str) -> int:
        if isinstance(value, str) and re.fullmatch(r"\s*-?\d+\s*", value):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ConfigError(f"{key} must be an integer from {low} to {high}, got {shown(value)}")
        return value

    return read


def number(low: float, high: float, *, above: bool = False) -> Callable[[object, str], float]:
    """A reader of numbers from ``low`` (or only ``above`` it) to ``high``."""

    def read(value: object, key: str) -> float:
        try:
            found = math.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type] # its failure is the check
        except (TypeError, ValueError, OverflowError):
            found = math.nan
        if not (low < found if above else low <= found) or not found <= high:
            bound = f"above {low:g} and at most {high:g}" if above else f"from {low:g} to {high:g}"
            raise ConfigError(f"{key} must be a number {bound}, got {shown(value)}")
        return found

    return read


def boolean(value: object, key: str) -> bool:
    known = {"true": True, "false": False, "1": True, "0": False}
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in known:
        return known[value.lower()]
    raise ConfigError(f"{key} must be true or false, got {shown(value)}")


def text(value: object, key: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ConfigError(f"{key} must be a text that is not empty, got {shown(value)}")
    return value.strip()


def inputs(value: object, key: str) -> str:
    kind = text(value, key)
    if kind != "tabular":
        raise ConfigError(f"{key} must be tabular, got {shown(value)}")
    return kind


def policy(value: object, key: str) -> str:
    if value not in POLICIES:
        raise ConfigError(f"{key} must be one of {', '.join(POLICIES)}, got {shown(value)}")
    return str(value)


def address(value: object, key: str) -> str:
    whole = text(value, key)
    host, _, port = whole.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise ConfigError(f"{key} must be host:port, got {shown(value)}")
    return whole


def optional(read: Callable[[object, str], Any]) -> Callable[[object, str], Any]:
    """``read``, or ``None`` for null and an empty text."""
    return lambda value, key: None if value is None or value == "" else read(value, key)
