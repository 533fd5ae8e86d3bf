"""The `drift:` section of model-config.yaml and its environment variables, as one frozen object."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Callable, Optional

from torchserve_drift.errors import ConfigError

PREFIX = "TORCHSERVE_DRIFT_"
POLICIES = ("budget", "benjamini-hochberg", "bonferroni", "classic")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


@dataclass(frozen=True)
class Window:
    """The newest rows: those of the last ``seconds``, or the last ``rows``; exactly one of the two is set.

    ``label`` is as the user wrote it, and names the window in reports and metrics.
    """

    label: str
    seconds: Optional[float] = None
    rows: Optional[int] = None


@dataclass(frozen=True)
class Alarms:
    """The rule by which checks become verdicts. ``false_alarm_interval`` in seconds, ``alpha`` in (0, 1)."""

    policy: str = "budget"
    false_alarm_interval: float = 30 * 86400.0
    alpha: float = 0.05
    min_effect_ks: float = 0.1
    min_effect_cramers_v: float = 0.1


@dataclass(frozen=True)
class Thresholds:
    """Limits of one feature's threshold checks; a check fails beyond, never at, its limit.

    ``mean_shift`` in the feature's unit (``None``: 0.25 of the baseline's standard deviation), ``std_shift`` as a
    share of the baseline's standard deviation, the others shares of rows.
    """

    mean_shift: Optional[float] = None
    std_shift: float = 0.1
    frequency_shift: float = 0.05
    new_category_ratio: float = 0.0
    missing_shift: float = 0.02
    range_ratio: float = 0.01


@dataclass(frozen=True)
class Export:
    """Where the metrics are served (``host:port``) and how much of them."""

    address: str = "127.0.0.1:8083"
    torchserve_metrics: bool = False
    top_features: int = 0
    max_categories: int = 50
    certfile: Optional[str] = None
    keyfile: Optional[str] = None
    client_ca: Optional[str] = None

    @property
    def host(self) -> str:
        """The address without its port, without the brackets of IPv6."""
        return self.address.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """The port, 0 to 65535 (0: any free one)."""
        return int(self.address.rpartition(":")[2])


@dataclass(frozen=True)
class Settings:
    """Everything a user can set, validated; docs/configuration.md describes each."""

    baseline: str = "baseline.safetensors"
    inputs: str = "tabular"
    predictions: bool = True
    windows: tuple[Window, ...] = (Window("10m", 600.0), Window("1h", 3600.0), Window("24h", 86400.0))
    reservoir_rows: int = 4096
    min_rows: int = 200
    evaluate_every: float = 15.0
    alarms: Alarms = field(default_factory=Alarms)
    features: Mapping[str, Thresholds] = field(default_factory=dict)
    export: Export = field(default_factory=Export)
    state_dir: Optional[str] = None

    @classmethod
    def from_mapping(
        cls, section: Optional[Mapping[str, Any]], environ: Optional[Mapping[str, str]] = None
    ) -> Settings:
        """Settings from a parsed `drift:` section, environment variables winning over it.

        Raises
        ------
        ConfigError
            On an unknown key or a bad value; the message names both.

        Examples
        --------
        >>> Settings.from_mapping({"windows": ["10m", "5000 rows"]}).windows[1]
        Window(label='5000 rows', seconds=None, rows=5000)
        >>> Settings.from_mapping({}, {"TORCHSERVE_DRIFT_ALARMS__POLICY": "classic"}).alarms.policy
        'classic'
        """
        try:
            tree = _plain(section)
            for path, text in _environment(environ or {}):
                _put(tree, path, text)
            return _settings(tree)
        except (ValueError, OverflowError, RecursionError) as error:  # a section within itself, 5,000 digits
            raise ConfigError(f"drift must be a section of plain values, got one with {type(error).__name__}") from None

    def thresholds(self, feature: str) -> Thresholds:
        """The limits of ``feature``: its own, or the defaults."""
        return self.features.get(feature, Thresholds())


def seconds(value: object, key: str) -> float:
    """A span of time as seconds: a positive number of seconds, or a number with ms, s, m, h, d or w.

    Examples
    --------
    >>> seconds("15s", "evaluate_every"), seconds("2h", "windows"), seconds(3, "evaluate_every")
    (15.0, 7200.0, 3.0)
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)?\s*", str(value))
    if (
        isinstance(value, bool)
        or match is None
        or not 0 < (span := float(match[1]) * _UNITS[match[2] or "s"]) < math.inf
    ):
        raise ConfigError(f"{key} must be a positive time such as 15s, 10m, 24h or 7d, got {value!r}")
    return span


def _window(value: object) -> Window:
    match = re.fullmatch(r"\s*(\d+)\s*rows?\s*", str(value))
    if match is None:
        return Window(str(value).strip(), seconds=seconds(value, "windows"))
    if int(match[1]) < 1:
        raise ConfigError(f"windows must be of at least 1 row, got {value!r}")
    return Window(str(value).strip(), rows=int(match[1]))


def _windows(value: object, key: str) -> tuple[Window, ...]:
    items = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, (list, tuple)) or not items:
        raise ConfigError(f"{key} must be a list such as [10m, 1h, 24h], got {value!r}")
    windows = tuple(_window(item) for item in items)
    if len({window.label for window in windows}) < len(windows):
        raise ConfigError(f"{key} must differ from one another, got {value!r}")
    if len(windows) > 16:
        raise ConfigError(f"{key} must be at most 16, got {len(windows)}")
    return windows


def _integer(low: int, high: int) -> Callable[[object, str], int]:
    def read(value: object, key: str) -> int:
        if isinstance(value, str) and re.fullmatch(r"\s*-?\d+\s*", value):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ConfigError(f"{key} must be an integer from {low} to {high}, got {value!r}")
        return value

    return read


def _number(low: float, high: float, *, above: bool = False) -> Callable[[object, str], float]:
    def read(value: object, key: str) -> float:
        try:
            number = math.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type] # its failure is the check
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if not (low < number if above else low <= number) or not number <= high:
            bound = f"above {low:g} and at most {high:g}" if above else f"from {low:g} to {high:g}"
            raise ConfigError(f"{key} must be a number {bound}, got {value!r}")
        return number

    return read


def _boolean(value: object, key: str) -> bool:
    known = {"true": True, "false": False, "1": True, "0": False}
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in known:
        return known[value.lower()]
    raise ConfigError(f"{key} must be true or false, got {value!r}")


def _text(value: object, key: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ConfigError(f"{key} must be a text that is not empty, got {value!r}")
    return value.strip()


def _inputs(value: object, key: str) -> str:
    text = _text(value, key)
    if text != "tabular":
        raise ConfigError(f"{key} must be tabular, got {value!r}")
    return text


def _policy(value: object, key: str) -> str:
    if value not in POLICIES:
        raise ConfigError(f"{key} must be one of {', '.join(POLICIES)}, got {value!r}")
    return str(value)


def _address(value: object, key: str) -> str:
    text = _text(value, key)
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise ConfigError(f"{key} must be host:port, got {value!r}")
    return text


def _optional(read: Callable[[object, str], Any]) -> Callable[[object, str], Any]:
    return lambda value, key: None if value is None or value == "" else read(value, key)


_SHARE = _number(0, 1)
_ANY = _number(0, 1e300)
_THRESHOLDS: Mapping[str, Callable[[object, str], Any]] = {
    "mean_shift": _optional(_ANY),
    "std_shift": _ANY,
    "frequency_shift": _SHARE,
    "new_category_ratio": _SHARE,
    "missing_shift": _SHARE,
    "range_ratio": _SHARE,
}
_EXPORT: Mapping[str, Callable[[object, str], Any]] = {
    "address": _address,
    "torchserve_metrics": _boolean,
    "top_features": _integer(0, 100_000),
    "max_categories": _integer(0, 100_000),
    "certfile": _optional(_text),
    "keyfile": _optional(_text),
    "client_ca": _optional(_text),
}
_ALARMS: Mapping[str, Callable[[object, str], Any]] = {
    "policy": _policy,
    "false_alarm_interval": seconds,
    "alpha": _number(0, 0.5, above=True),
}
_MIN_EFFECT: Mapping[str, Callable[[object, str], Any]] = {"ks": _SHARE, "cramers_v": _SHARE}
_TOP: Mapping[str, Callable[[object, str], Any]] = {
    "baseline": _text,
    "inputs": _inputs,
    "predictions": _boolean,
    "windows": _windows,
    "reservoir_rows": _integer(100, 1_000_000),
    "min_rows": _integer(1, 1_000_000_000),
    "evaluate_every": seconds,
    "state_dir": _optional(_text),
}


def _settings(tree: dict[str, Any]) -> Settings:
    section = _section(tree.pop("alarms", None), "alarms")
    effects = _read(_section(section.pop("min_effect", None), "alarms.min_effect"), _MIN_EFFECT, "alarms.min_effect.")
    alarms = _read(section, _ALARMS, "alarms.", "min_effect")
    features = _section(tree.pop("features", None), "features")
    export = _section(tree.pop("export", None), "export")
    return Settings(
        alarms=Alarms(**alarms, **{f"min_effect_{name}": value for name, value in effects.items()}),
        features={
            name: Thresholds(**_read(_section(limits, f"features.{name}"), _THRESHOLDS, f"features.{name}."))
            for name, limits in features.items()
        },
        export=_export(_read(export, _EXPORT, "export.")),
        **_read(tree, _TOP, "", "alarms", "export", "features"),
    )


def _export(values: dict[str, Any]) -> Export:
    export = Export(**values)
    if (export.keyfile or export.client_ca) and not export.certfile:
        raise ConfigError("export.certfile must be set where export.keyfile or export.client_ca is, got None")
    return export


def _read(
    section: Mapping[str, Any], readers: Mapping[str, Callable[[object, str], Any]], prefix: str, *sections: str
) -> dict[str, Any]:
    """The settings of one section; ``sections`` below it are read by the caller."""
    for key in section:
        if key not in readers:
            known = ", ".join(sorted([*readers, *sections]))
            raise ConfigError(f"unknown setting {prefix}{key}; known here: {known}")
    return {key: readers[key](value, prefix + key) for key, value in section.items()}


def _section(value: object, key: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ConfigError(f"{key} must be a section of settings, got {value!r}")
    return {str(name): item for name, item in value.items()}


def _plain(section: object) -> dict[str, Any]:
    """A deep copy of the sections (mappings), so that environment variables never write into the caller's."""
    return {k: _plain(v) if isinstance(v, Mapping) else v for k, v in _section(section, "drift").items()}


def _environment(environ: Mapping[str, str]) -> Iterator[tuple[list[str], str]]:
    for name in sorted(environ):
        if name.startswith(PREFIX):
            yield _path(name[len(PREFIX) :]), environ[name]


def _path(name: str) -> list[str]:
    """The keys that a variable's name leads to; a feature's name keeps its case and its underscores."""
    section, _, below = name.partition("__")
    feature, _, key = below.rpartition("__")
    if section.lower() == "features" and feature:
        return ["features", feature, key.lower()]
    return name.lower().split("__")


def _put(tree: dict[str, Any], path: list[str], text: str) -> None:
    for part in path[:-1]:
        below = tree.get(part)
        if not isinstance(below, dict):
            below = tree[part] = {}
        tree = below
    tree[path[-1]] = _parsed(text)


def _parsed(text: str) -> Any:
    """Lists and sections may be given as JSON; anything else stays the text it is."""
    if text[:1] in "[{":
        try:
            return json.loads(text)
        except ValueError:
            return text
    return None if text == "null" else text
