"""Reports as plain data."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torchserve_drift import Report
from torchserve_drift.verdicts.report import STATES, CheckResult, FeatureReport, FeatureWindow, WindowReport

FAILED = CheckResult(1e-9, -0.5, 0.5, 1e-7, 0.1, True)
REPORT = Report(
    "m",
    "1.0",
    1_700_000_000.0,
    "ab" * 32,
    {"1h": WindowReport(500, 400, "drifted", 0.75), "24h": WindowReport(3, 3, "too_few_rows", 0.0)},
    (
        FeatureReport("x", "numeric", 0.75, {"1h": FeatureWindow(True, 1.6e9, {"ks": FAILED}, 1.7e9, 3.5)}),
        FeatureReport("c", "categorical", 0.25, {"1h": FeatureWindow(False, None, {})}, {"new": 0.5}),
    ),
)


def test_the_shape_is_that_of_the_contract() -> None:
    assert REPORT.to_dict() == {
        "model_name": "m",
        "model_version": "1.0",
        "evaluated_at": 1_700_000_000.0,
        "baseline_sha256": "ab" * 32,
        "windows": {
            "1h": {"rows": 500, "sample_rows": 400, "state": "drifted", "score": 0.75},
            "24h": {"rows": 3, "sample_rows": 3, "state": "too_few_rows", "score": 0.0},
        },
        "features": [
            {
                "name": "x",
                "kind": "numeric",
                "importance": 0.75,
                "windows": {
                    "1h": {
                        "drifted": True,
                        "since": 1.6e9,
                        "last_failed": 1.7e9,
                        "design_effect": 3.5,
                        "checks": {
                            "ks": {
                                "p_value": 1e-9,
                                "statistic": -0.5,
                                "effect": 0.5,
                                "alpha": 1e-7,
                                "min_effect": 0.1,
                                "failed": True,
                            }
                        },
                    }
                },
            },
            {
                "name": "c",
                "kind": "categorical",
                "importance": 0.25,
                "windows": {
                    "1h": {"drifted": False, "since": None, "last_failed": None, "design_effect": 1.0, "checks": {}}
                },
                "unseen": {"new": 0.5},
            },
        ],
    }


def test_a_feature_is_found_by_name() -> None:
    assert REPORT.feature("c").kind == "categorical"
    with pytest.raises(KeyError, match=r"^'y'$"):
        REPORT.feature("y")


def test_drifted_is_any_feature_in_any_window() -> None:
    assert REPORT.drifted
    calm = Report("m", "1", 0.0, "", {}, (REPORT.features[1],))
    assert not calm.drifted


NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
OPTIONAL = st.none() | NUMBERS
RESULTS = st.builds(
    CheckResult, OPTIONAL, st.floats(allow_nan=False), st.floats(allow_nan=False), OPTIONAL, OPTIONAL, st.booleans()
)
FEATURE_WINDOWS = st.builds(
    FeatureWindow,
    st.booleans(),
    OPTIONAL,
    st.dictionaries(st.text(), RESULTS, max_size=2),
    OPTIONAL,
    st.floats(1, 1e6),
    st.just(()) | st.tuples(st.text(), st.text()),
)
REPORTS = st.builds(
    Report,
    st.text(),
    st.text(),
    NUMBERS,
    st.text(),
    st.dictionaries(
        st.text(), st.builds(WindowReport, st.integers(), st.integers(), st.sampled_from(STATES), NUMBERS), max_size=2
    ),
    st.lists(
        st.builds(
            FeatureReport,
            st.text(),
            st.sampled_from(["numeric", "categorical"]),
            NUMBERS,
            st.dictionaries(st.text(), FEATURE_WINDOWS, max_size=2),
            st.dictionaries(st.text(), NUMBERS, max_size=2),
        ),
        max_size=2,
    ).map(tuple),
)


@given(REPORTS)
def test_json_gives_the_report_back(report: Report) -> None:
    text = json.dumps(report.to_dict(), allow_nan=False)
    again = Report.from_dict(json.loads(text))
    assert again.drifted == report.drifted
    assert json.dumps(again.to_dict(), allow_nan=False) == text
    if "null" not in text:
        assert again == report


def test_what_json_cannot_hold_comes_back_as_nan() -> None:
    endless = CheckResult(None, math.inf, math.inf, None, None, True)
    report = Report(
        "m", "1", 0.0, "", {}, (FeatureReport("x", "numeric", 1.0, {"1h": FeatureWindow(True, 0.0, {"std": endless})}),)
    )
    check = Report.from_dict(json.loads(json.dumps(report.to_dict()))).feature("x").windows["1h"].checks["std"]
    assert math.isnan(check.statistic)
    assert math.isnan(check.effect)
    assert check.p_value is None
    assert check.failed


@pytest.mark.parametrize(
    "plain",
    [
        {},
        {"model_name": "m"},
        {**REPORT.to_dict(), "windows": {"1h": {"rows": 1}}},
        {**REPORT.to_dict(), "features": [{}]},
    ],
    ids=range(4),
)
def test_an_answer_that_is_not_a_report_is_an_error(plain: Any) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        Report.from_dict(plain)
