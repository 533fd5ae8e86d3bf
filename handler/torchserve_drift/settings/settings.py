"""The `drift:` section of model-config.yaml and its environment variables, as one frozen object."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Callable, Optional

from torchserve_drift.checks.catalogue import CHECKS, MinEffect, min_effect_settings
from torchserve_drift.errors import ConfigError
from torchserve_drift.settings import values
from torchserve_drift.window.window import Window

__all__ = ["POLICIES", "PREFIX", "Alarms", "Export", "Settings", "Window"]

PREFIX = "TORCHSERVE_DRIFT_"
POLICIES = values.POLICIES


OF_ALL_FEATURES = min_effect_settings(of_all_features=True)
"""Minimum effects in ``alarms.min_effect``, by their keys."""

OF_ONE_FEATURE = min_effect_settings(of_all_features=False)
"""Minimum effects in ``features.<name>``, by their keys."""


@dataclass(frozen=True)
class Alarms:
    """The rule by which checks become verdicts.

    ``false_alarm_interval`` and ``quiet_for`` in seconds, ``alpha`` in (0, 1); ``min_effects`` by the key of the
    setting; ``min_effect_learned``: no minimum effect is below what the baseline's own spans of time differ by.
    """

    policy: str = "budget"
    false_alarm_interval: float = 30 * 86400.0
    alpha: float = 0.05
    quiet_for: float = 300.0
    min_effects: Mapping[str, float] = field(
        default_factory=lambda: {key: setting.default or 0.0 for key, setting in OF_ALL_FEATURES.items()}
    )
    min_effect_learned: bool = False


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
    features: Mapping[str, Mapping[str, Optional[float]]] = field(default_factory=dict)
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
            tree = _section(section, "drift")
            for path, text in _environment(environ or {}):
                _put(tree, path, text)
            return _settings(tree)
        except (ValueError, OverflowError, RecursionError) as error:  # a section within itself, 5,000 digits
            raise ConfigError(f"drift must be a section of plain values, got one with {type(error).__name__}") from None

    def min_effect(self, feature: str, check: str) -> Optional[float]:
        """The minimum effect that the user wants of a check of ``feature``, or its default.

        In the unit of the setting; ``None``: the default follows from the baseline. KeyError for a check without one.

        Examples
        --------
        >>> Settings.from_mapping({"features": {"age": {"std_shift": 0.3}}}).min_effect("age", "std")
        0.3
        """
        setting = CHECKS[check].min_effect
        if setting is None:
            raise KeyError(check)
        if setting.of_all_features:
            return self.alarms.min_effects[setting.key]
        return self.features.get(feature, {}).get(setting.key, setting.default)


def _min_effect_readers(settings: Mapping[str, MinEffect]) -> dict[str, Callable[[object, str], Any]]:
    readers = {key: values.number(0, setting.largest) for key, setting in settings.items()}
    return {key: values.optional(read) if settings[key].default is None else read for key, read in readers.items()}


_OF_ONE_FEATURE = _min_effect_readers(OF_ONE_FEATURE)
_EXPORT: Mapping[str, Callable[[object, str], Any]] = {
    "address": values.address,
    "torchserve_metrics": values.boolean,
    "top_features": values.integer(0, 100_000),
    "max_categories": values.integer(0, 100_000),
    "certfile": values.optional(values.text),
    "keyfile": values.optional(values.text),
    "client_ca": values.optional(values.text),
}
_ALARMS: Mapping[str, Callable[[object, str], Any]] = {
    "policy": values.policy,
    "false_alarm_interval": values.seconds,
    "alpha": values.number(0, 0.5, above=True),
    "quiet_for": values.seconds,
}
_MIN_EFFECT = {**_min_effect_readers(OF_ALL_FEATURES), "learned": values.boolean}
_TOP: Mapping[str, Callable[[object, str], Any]] = {
    "baseline": values.text,
    "inputs": values.inputs,
    "predictions": values.boolean,
    "windows": values.windows,
    "reservoir_rows": values.integer(100, 1_000_000),
    "min_rows": values.integer(1, 1_000_000_000),
    "evaluate_every": values.seconds,
    "state_dir": values.optional(values.text),
}


def _settings(tree: dict[str, Any]) -> Settings:
    section = _section(tree.pop("alarms", None), "alarms")
    effect = section.pop("min_effect", None)
    effect = {"learned": True} if effect == "learned" else effect
    min_effects = _read(_section(effect, "alarms.min_effect"), _MIN_EFFECT, "alarms.min_effect.")
    learned = min_effects.pop("learned", False)
    alarms = _read(section, _ALARMS, "alarms.", "min_effect")
    features = _section(tree.pop("features", None), "features")
    export = _section(tree.pop("export", None), "export")
    return Settings(
        alarms=Alarms(**alarms, min_effects={**Alarms().min_effects, **min_effects}, min_effect_learned=learned),
        features={
            name: _read(_section(own, f"features.{name}"), _OF_ONE_FEATURE, f"features.{name}.")
            for name, own in features.items()
        },
        export=_export(_read(export, _EXPORT, "export.")),
        **_read(tree, _TOP, "", "alarms", "export", "features"),
    )


def _export(found: dict[str, Any]) -> Export:
    export = Export(**found)
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
        raise ConfigError(f"{key} must be a section of settings, got {values.shown(value)}")
    return {str(name): item for name, item in value.items()}


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
        tree[part] = _section(below, part) if isinstance(below, Mapping) else {}  # a copy: the caller's stays as it is
        tree = tree[part]
    tree[path[-1]] = _parsed(text)


def _parsed(text: str) -> Any:
    """Lists and sections may be given as JSON; anything else stays the text it is."""
    if text[:1] in "[{":
        try:
            return json.loads(text)
        except ValueError:
            return text
    return None if text == "null" else text
