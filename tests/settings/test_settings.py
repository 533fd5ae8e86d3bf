"""Settings: every key, the text of every error, environment variables, and arbitrary values."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from torchserve_drift import ConfigError, Settings
from torchserve_drift.settings.settings import Alarms, Export, Window
from torchserve_drift.settings.values import seconds

CONTRACT = """
baseline: baseline.safetensors
inputs: tabular
predictions: true
windows: [10m, 1h, 24h]
reservoir_rows: 4096
min_rows: 200
evaluate_every: 15s
alarms:
  policy: budget
  false_alarm_interval: 30d
  alpha: 0.05
  min_effect: {ks: 0.1, cramers_v: 0.1}
features:
  user_age: {mean_shift: 5, std_shift: 0.1}
  device_type: {frequency_shift: 0.05, new_category_ratio: 0}
export: {address: "127.0.0.1:8083", torchserve_metrics: false, top_features: 0, max_categories: 50, certfile: null,
         keyfile: null, client_ca: null}
state_dir: null
"""
"""The section as the contract has it: the defaults written out, and two features."""


def test_the_contract_s_example_is_the_defaults_and_its_features() -> None:
    settings = Settings.from_mapping(yaml.safe_load(CONTRACT))
    assert settings.features == {
        "user_age": {"mean_shift": 5.0, "std_shift": 0.1},
        "device_type": {"frequency_shift": 0.05, "new_category_ratio": 0.0},
    }
    assert settings.min_effect("user_age", "mean") == 5
    assert settings.min_effect("another", "mean") is None
    assert settings.min_effect("another", "std") == settings.min_effect("another", "ks") == 0.1
    with pytest.raises(KeyError):
        settings.min_effect("another", "cusum")  # it has those of other checks
    section = {key: value for key, value in yaml.safe_load(CONTRACT).items() if key != "features"}
    assert Settings.from_mapping(section) == Settings() == Settings.from_mapping(None) == Settings.from_mapping({})


def test_every_key_has_its_effect() -> None:
    settings = Settings.from_mapping(
        {
            "baseline": " b.safetensors ",
            "predictions": False,
            "windows": ["90s", "5000 rows", "1 row"],
            "reservoir_rows": "100",
            "min_rows": 1,
            "evaluate_every": "250ms",
            "alarms": {
                "policy": "bonferroni",
                "false_alarm_interval": "2w",
                "alpha": "0.01",
                "quiet_for": "1h",
                "min_effect": {"ks": 0, "cramers_v": 1, "joint": 0.2, "learned": "true"},
            },
            "features": {
                "x": {
                    "mean_shift": 1,
                    "std_shift": 2,
                    "frequency_shift": 0.3,
                    "new_category_ratio": 0.4,
                    "missing_shift": 0.5,
                    "range_ratio": 0.6,
                    "wrong_type_ratio": 0.7,
                },
                7: None,
            },
            "export": {
                "address": "[::1]:0",
                "torchserve_metrics": "TRUE",
                "top_features": 3,
                "max_categories": 4,
                "certfile": "c",
                "keyfile": "k",
                "client_ca": "a",
            },
            "state_dir": "/var/lib/drift",
        }
    )
    assert settings == Settings(
        baseline="b.safetensors",
        predictions=False,
        windows=(Window("90s", 90.0), Window("5000 rows", rows=5000), Window("1 row", rows=1)),
        reservoir_rows=100,
        min_rows=1,
        evaluate_every=0.25,
        alarms=Alarms("bonferroni", 14 * 86400.0, 0.01, 3600.0, {"ks": 0.0, "cramers_v": 1.0, "joint": 0.2}, True),
        features={
            "x": {
                "mean_shift": 1.0,
                "std_shift": 2.0,
                "frequency_shift": 0.3,
                "new_category_ratio": 0.4,
                "missing_shift": 0.5,
                "range_ratio": 0.6,
                "wrong_type_ratio": 0.7,
            },
            "7": {},
        },
        export=Export("[::1]:0", True, 3, 4, "c", "k", "a"),
        state_dir="/var/lib/drift",
    )
    assert (settings.export.host, settings.export.port) == ("::1", 0)


def test_learned_minimum_effects_have_a_short_form() -> None:
    for section in ("learned", {"learned": True}):
        assert Settings.from_mapping({"alarms": {"min_effect": section}}).alarms == Alarms(min_effect_learned=True)
    variables = {"TORCHSERVE_DRIFT_ALARMS__MIN_EFFECT": "learned"}
    assert Settings.from_mapping({}, variables).alarms.min_effect_learned


KNOWN = (
    "alarms, baseline, evaluate_every, export, features, inputs, min_rows, predictions, reservoir_rows, state_dir, "
    "windows"
)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ([], "drift must be a section of settings, got []"),
        ("x", "drift must be a section of settings, got 'x'"),
        ({"window": 1}, f"unknown setting window; known here: {KNOWN}"),
        (
            {"alarms": {"p": 1}},
            "unknown setting alarms.p; known here: alpha, false_alarm_interval, min_effect, policy, quiet_for",
        ),
        (
            {"alarms": {"min_effect": {"psi": 1}}},
            "unknown setting alarms.min_effect.psi; known here: cramers_v, joint, ks, learned",
        ),
        (
            {"export": {"port": 1}},
            "unknown setting export.port; known here: "
            "address, certfile, client_ca, keyfile, max_categories, top_features, torchserve_metrics",
        ),
        (
            {"features": {"age": {"mean": 1}}},
            "unknown setting features.age.mean; known here: "
            "frequency_shift, mean_shift, missing_shift, new_category_ratio, range_ratio, std_shift, wrong_type_ratio",
        ),
        ({"alarms": 3}, "alarms must be a section of settings, got 3"),
        ({"alarms": {"min_effect": 0.1}}, "alarms.min_effect must be a section of settings, got 0.1"),
        ({"features": ["age"]}, "features must be a section of settings, got ['age']"),
        ({"features": {"age": 5}}, "features.age must be a section of settings, got 5"),
        ({"export": "x"}, "export must be a section of settings, got 'x'"),
        ({"baseline": ""}, "baseline must be a text that is not empty, got ''"),
        ({"baseline": 3}, "baseline must be a text that is not empty, got 3"),
        ({"inputs": "video"}, "inputs must be tabular, got 'video'"),
        ({"predictions": "yes"}, "predictions must be true or false, got 'yes'"),
        ({"predictions": 1}, "predictions must be true or false, got 1"),
        ({"windows": []}, "windows must be a list such as [10m, 1h, 24h], got []"),
        ({"windows": 5}, "windows must be a list such as [10m, 1h, 24h], got 5"),
        ({"windows": ["1 y"]}, "windows must be a positive time such as 15s, 10m, 24h or 7d, got '1 y'"),
        ({"windows": ["0 rows"]}, "windows must be of at least 1 row, got '0 rows'"),
        ({"windows": ["1h", "1h"]}, "windows must differ from one another, got ['1h', '1h']"),
        ({"windows": [f"{i}m" for i in range(1, 18)]}, "windows must be at most 16, got 17"),
        ({"reservoir_rows": 99}, "reservoir_rows must be an integer from 100 to 1000000, got 99"),
        ({"reservoir_rows": True}, "reservoir_rows must be an integer from 100 to 1000000, got True"),
        ({"min_rows": 1.5}, "min_rows must be an integer from 1 to 1000000000, got 1.5"),
        ({"evaluate_every": "0s"}, "evaluate_every must be a positive time such as 15s, 10m, 24h or 7d, got '0s'"),
        ({"evaluate_every": True}, "evaluate_every must be a positive time such as 15s, 10m, 24h or 7d, got True"),
        ({"evaluate_every": None}, "evaluate_every must be a positive time such as 15s, 10m, 24h or 7d, got None"),
        (
            {"alarms": {"policy": "fdr"}},
            "alarms.policy must be one of budget, benjamini-hochberg, bonferroni, classic, got 'fdr'",
        ),
        (
            {"alarms": {"false_alarm_interval": "-1d"}},
            "alarms.false_alarm_interval must be a positive time such as 15s, 10m, 24h or 7d, got '-1d'",
        ),
        ({"alarms": {"alpha": 0}}, "alarms.alpha must be a number above 0 and at most 0.5, got 0"),
        ({"alarms": {"alpha": "nan"}}, "alarms.alpha must be a number above 0 and at most 0.5, got 'nan'"),
        ({"alarms": {"alpha": None}}, "alarms.alpha must be a number above 0 and at most 0.5, got None"),
        ({"alarms": {"min_effect": {"ks": 1.1}}}, "alarms.min_effect.ks must be a number from 0 to 1, got 1.1"),
        ({"features": {"a": {"mean_shift": -1}}}, "features.a.mean_shift must be a number from 0 to 1e+300, got -1"),
        ({"features": {"a": {"std_shift": []}}}, "features.a.std_shift must be a number from 0 to 1e+300, got []"),
        ({"export": {"address": "8083"}}, "export.address must be host:port, got '8083'"),
        ({"export": {"address": "h:65536"}}, "export.address must be host:port, got 'h:65536'"),
        ({"export": {"address": ":8083"}}, "export.address must be host:port, got ':8083'"),
        ({"export": {"top_features": -1}}, "export.top_features must be an integer from 0 to 100000, got -1"),
        ({"export": {"certfile": 5}}, "export.certfile must be a text that is not empty, got 5"),
        (
            {"export": {"keyfile": "k"}},
            "export.certfile must be set where export.keyfile or export.client_ca is, got None",
        ),
        ({"features": {"a\nb": 5}}, "features.a b must be a section of settings, got 5"),
        ({"state_dir": 4}, "state_dir must be a text that is not empty, got 4"),
    ],
)
def test_errors_name_the_key_and_the_value(section: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        Settings.from_mapping(section)


def test_environment_variables_win_over_the_section_and_leave_it_alone() -> None:
    section = {"min_rows": 5, "alarms": {"policy": "classic", "min_effect": {"ks": 0.2}}, "features": {"a": None}}
    before = copy.deepcopy(section)
    settings = Settings.from_mapping(
        section,
        {
            "TORCHSERVE_DRIFT_MIN_ROWS": "7",
            "TORCHSERVE_DRIFT_PREDICTIONS": "False",
            "TORCHSERVE_DRIFT_WINDOWS": "5m, 100 rows",
            "TORCHSERVE_DRIFT_ALARMS__ALPHA": "0.2",
            "TORCHSERVE_DRIFT_ALARMS__MIN_EFFECT__CRAMERS_V": "0.3",
            "TORCHSERVE_DRIFT_FEATURES__a__MEAN_SHIFT": "2",
            "TORCHSERVE_DRIFT_FEATURES__User__Age_of__STD_SHIFT": "0.5",
            "TORCHSERVE_DRIFT_FEATURES___x___RANGE_RATIO": "0.25",
            "TORCHSERVE_DRIFT_EXPORT": '{"address": "0.0.0.0:9"}',
            "TORCHSERVE_DRIFT_EXPORT__TOP_FEATURES": "4",
            "TORCHSERVE_DRIFT_STATE_DIR": "null",
            "TORCHSERVE_OTHER": "x",
            "torchserve_drift_min_rows": "x",
        },
    )
    assert section == before
    assert settings.min_rows == 7
    assert not settings.predictions
    assert settings.windows == (Window("5m", 300.0), Window("100 rows", rows=100))
    assert settings.alarms == Alarms("classic", alpha=0.2, min_effects={"ks": 0.2, "cramers_v": 0.3, "joint": 0.1})
    assert settings.features == {
        "a": {"mean_shift": 2.0},
        "User__Age_of": {"std_shift": 0.5},
        "_x_": {"range_ratio": 0.25},
    }
    assert settings.export == Export(address="0.0.0.0:9", top_features=4)
    assert settings.state_dir is None


def test_windows_in_the_environment_may_be_a_list_of_json() -> None:
    given_as_json = Settings.from_mapping(None, {"TORCHSERVE_DRIFT_WINDOWS": '["5m", "100 rows"]'})
    assert [window.label for window in given_as_json.windows] == ["5m", "100 rows"]
    with pytest.raises(ConfigError, match=r"^windows must be a positive time such as .*, got '\[5m'$"):
        Settings.from_mapping(None, {"TORCHSERVE_DRIFT_WINDOWS": "[5m]"[:-1]})


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("MIN_ROW", "5", f"unknown setting min_row; known here: {KNOWN}"),
        ("", "5", f"unknown setting ; known here: {KNOWN}"),
        ("MIN_ROWS", "many", "min_rows must be an integer from 1 to 1000000000, got 'many'"),
        ("FEATURES__AGE", "3", "features.age must be a section of settings, got '3'"),
        ("ALARMS", "classic", "alarms must be a section of settings, got 'classic'"),
    ],
)
def test_errors_in_environment_variables_are_those_of_their_keys(name: str, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        Settings.from_mapping(None, {f"TORCHSERVE_DRIFT_{name}": text})


def test_times_have_units() -> None:
    assert [seconds(text, "t") for text in ("1ms", "1 s", " 2m ", "3h", "1.5d", "1w", 4, 0.5)] == [
        0.001,
        1.0,
        120.0,
        10800.0,
        129600.0,
        604800.0,
        4.0,
        0.5,
    ]


def within_itself() -> dict[str, Any]:
    section: dict[str, Any] = {}
    section["alarms"] = section
    return section


@pytest.mark.parametrize(
    "section",
    [
        {"alarms": {"alpha": 10**400}},
        {"alarms": {"alpha": 10**5000}},
        {"min_rows": 10**5000},
        {"min_rows": "9" * 5000},
        {"evaluate_every": "9" * 5000},
        {"windows": ["9" * 5000 + " rows"]},
        {"export": {"address": "h:" + "9" * 5000}},
        {"baseline": [10**5000]},
        within_itself(),
    ],
    ids=range(9),
)
def test_values_beyond_reason_are_errors_like_others(section: Any) -> None:
    with pytest.raises(ConfigError):
        Settings.from_mapping(section)


KEYS = (
    "baseline inputs predictions windows reservoir_rows min_rows evaluate_every alarms features export state_dir policy"
)
KEYS += " false_alarm_interval alpha min_effect ks cramers_v mean_shift std_shift address top_features certfile keyfile"
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.dates(),
    st.sampled_from(["1h", "5 rows", "classic", "tabular", "1.5s", "a:1", "::1:²", "٣", 1, 200, 0.05, "1e400"]),
)
NAMES = st.one_of(st.sampled_from(KEYS.split()), st.text(max_size=3), st.integers())
ANYTHING = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4), max_leaves=12
)
VARIABLES = st.lists(st.sampled_from([*KEYS.upper().split(), "", "x"]), max_size=3).map("__".join)


@given(
    section=st.dictionaries(st.sampled_from(KEYS.split()[:11]), ANYTHING, max_size=4) | ANYTHING,
    environ=st.dictionaries(VARIABLES.map("TORCHSERVE_DRIFT_".__add__), st.text(max_size=8), max_size=2),
)
def test_anything_gives_settings_or_an_error_of_one_line(section: Any, environ: dict[str, str]) -> None:
    try:
        settings = Settings.from_mapping(section, environ)
    except ConfigError as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017 - that it raises is one of two right outcomes
    else:
        assert 1 <= len(settings.windows) <= 16
        assert all((window.seconds or window.rows or 0) > 0 for window in settings.windows)
        assert settings.reservoir_rows >= 100
        assert 0 < settings.alarms.alpha <= 0.5
        assert 0 <= settings.export.port <= 65535
