"""The settings of a model as one frozen object, from model-config.yaml's `drift:` section and environment variables."""

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
"""The prefix of the names of environment variables."""

POLICIES = values.POLICIES

OF_ALL_FEATURES = min_effect_settings(of_all_features=True)
"""Minimum effects in ``alarms.min_effect``, by their keys."""

OF_ONE_FEATURE = min_effect_settings(of_all_features=False)
"""Minimum effects in ``features.<name>``, by their keys."""


@dataclass(frozen=True)
class Alarms:
    """How results of checks become verdicts.

    ``false_alarm_interval`` and ``quiet_for`` are in seconds; ``alpha`` is in (0, 0.5]. ``min_effects`` are in [0, 1],
    by the keys of their settings. With ``min_effect_learned`` no minimum effect is smaller than the differences between
    spans of the training data.
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
    """The settings of the port: the address ``host:port``, limits on the number of series, and the files for TLS."""

    address: str = "127.0.0.1:8083"
    torchserve_metrics: bool = False
    top_features: int = 0
    max_categories: int = 50
    certfile: Optional[str] = None
    keyfile: Optional[str] = None
    client_ca: Optional[str] = None

    @property
    def host(self) -> str:
        """The address without the port, and without the brackets of an IPv6 address."""
        return self.address.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """The port, 0 to 65535; 0 stands for any free port."""
        return int(self.address.rpartition(":")[2])


@dataclass(frozen=True)
class Settings:
    """All settings, validated. docs/configuration.md describes each of them."""

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
        """Settings from a parsed `drift:` section, in which environment variables replace values.

        Raises
        ------
        ConfigError
            If a key is unknown or a value is not allowed. The message names the key and the value.

        Examples
        --------
        >>> Settings.from_mapping({"windows": ["10m", "5000 rows"]}).windows[1]
        Window(label='5000 rows', seconds=None, rows=5000)
        >>> Settings.from_mapping({}, {"TORCHSERVE_DRIFT_ALARMS__POLICY": "classic"}).alarms.policy
        'classic'
        """
        try:
            tree = _as_section(section, "drift")
            for path, text in _environment_settings(environ or {}):
                _replace(tree, path, text)
            return _settings_of(tree)
        except (
            ValueError,
            OverflowError,
            RecursionError,
        ) as error:  # such as a section that contains itself, or a number of 5,000 digits
            raise ConfigError(f"drift must be a section of plain values, got one with {type(error).__name__}") from None

    def min_effect(self, feature: str, check: str) -> Optional[float]:
        """The minimum effect that is set for a check of ``feature``, or its default, in the unit of the setting.

        ``None`` if it is not set and the default follows from the baseline.

        Raises
        ------
        KeyError
            When the check has no minimum effect of its own.

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


# The readers of each section, by the keys of its settings.
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


def _settings_of(tree: dict[str, Any]) -> Settings:
    section = _as_section(tree.pop("alarms", None), "alarms")
    effect = section.pop("min_effect", None)
    effect = {"learned": True} if effect == "learned" else effect
    min_effects = _read(_as_section(effect, "alarms.min_effect"), _MIN_EFFECT, "alarms.min_effect.")
    learned = min_effects.pop("learned", False)
    alarms = _read(section, _ALARMS, "alarms.", "min_effect")
    features = _as_section(tree.pop("features", None), "features")
    export = _as_section(tree.pop("export", None), "export")
    return Settings(
        alarms=Alarms(**alarms, min_effects={**Alarms().min_effects, **min_effects}, min_effect_learned=learned),
        features={
            name: _read(_as_section(own, f"features.{name}"), _OF_ONE_FEATURE, f"features.{name}.")
            for name, own in features.items()
        },
        export=_checked_export(_read(export, _EXPORT, "export.")),
        **_read(tree, _TOP, "", "alarms", "export", "features"),
    )


def _checked_export(values_by_key: dict[str, Any]) -> Export:
    export = Export(**values_by_key)
    if (export.keyfile or export.client_ca) and not export.certfile:
        raise ConfigError("export.certfile must be set where export.keyfile or export.client_ca is, got None")
    return export


def _read(
    section: Mapping[str, Any], readers: Mapping[str, Callable[[object, str], Any]], prefix: str, *subsections: str
) -> dict[str, Any]:
    """The validated values of one section, by key. The caller reads its ``subsections``."""
    for key in section:
        if key not in readers:
            known = ", ".join(sorted([*readers, *subsections]))
            raise ConfigError(f"unknown setting {prefix}{key}; known here: {known}")
    return {key: readers[key](value, prefix + key) for key, value in section.items()}


def _as_section(value: object, key: str) -> dict[str, Any]:
    """A copy of the section ``value``; an empty one if it is not set."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ConfigError(f"{key} must be a section of settings, got {values.shortened(value)}")
    return {str(name): item for name, item in value.items()}


def _environment_settings(environ: Mapping[str, str]) -> Iterator[tuple[list[str], str]]:
    """The path of keys and the text of each setting in ``environ``.

    Sorted by name, so that a variable of a whole section comes before those of its keys and does not undo them.
    """
    for name in sorted(environ):
        if name.startswith(PREFIX):
            yield _key_path(name[len(PREFIX) :]), environ[name]


def _key_path(name: str) -> list[str]:
    """The keys that a variable's name, without its prefix, stands for: one for each part between ``__``.

    The name of a feature keeps its upper-case letters, and may have ``__`` in it.
    """
    section, _, below = name.partition("__")
    feature, _, key = below.rpartition("__")
    if section.lower() == "features" and feature:
        return ["features", feature, key.lower()]
    return name.lower().split("__")


def _replace(tree: dict[str, Any], path: list[str], text: str) -> None:
    """Set the value at ``path`` in ``tree`` to what ``text`` stands for."""
    for key in path[:-1]:
        below = tree.get(key)
        tree[key] = _as_section(below, key) if isinstance(below, Mapping) else {}  # a copy: the caller keeps its own
        tree = tree[key]
    tree[path[-1]] = _parsed_variable(text)


def _parsed_variable(text: str) -> Any:
    """The value of an environment variable: JSON for lists and sections, ``null``, or the text itself."""
    if text[:1] in "[{":
        try:
            return json.loads(text)
        except ValueError:
            return text
    return None if text == "null" else text
