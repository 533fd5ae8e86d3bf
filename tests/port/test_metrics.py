"""The page of metrics, against prometheus_client's parsers, promtool, and numbers computed by hand."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from snapshots import categorical, check, found, hostile, numeric, report, snapshot, usual, window
from torchserve_drift.port.metrics.families import METRICS, PREFIX
from torchserve_drift.port.metrics.labels import bound_label
from torchserve_drift.port.metrics.text import content_type_for, render

OPENMETRICS = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
CONTENT_TYPES = {
    True: "application/openmetrics-text; version=1.0.0; charset=utf-8",
    False: "text/plain; version=0.0.4; charset=utf-8",
}
FORMATS = {"": parse_text, OPENMETRICS: parse_openmetrics}
DOCUMENT = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()


def samples(*snapshots, accept=""):
    """Series (short name and labels without the model's) to value; fails if a series occurs twice."""
    values = {}
    for family in FORMATS[accept](render(snapshots, accept)[0].decode()):
        for sample in family.samples:
            labels = {k: v for k, v in sample.labels.items() if k not in ("model_name", "model_version")}
            if len(snapshots) > 1:
                labels["model"] = sample.labels["model_name"] + ":" + sample.labels["model_version"]
            key = (sample.name.removeprefix(PREFIX), *sorted(labels.items()))
            assert key not in values
            values[key] = sample.value
    return values


def of(values, name, **labels):
    return {
        tuple(value for label, value in key[1:] if label not in labels): number
        for key, number in values.items()
        if key[0] == name and labels.items() <= dict(key[1:]).items()
    }


@pytest.mark.parametrize("accept", FORMATS)
def test_all_metrics_of_a_usual_model(accept):
    values = samples(usual(), accept=accept)
    assert of(values, "p_value", window="1h") == {("ks", "age"): 1e-46, ("chi2", "device"): 0.4}
    assert of(values, "statistic", feature="age", window="1h") == {("ks",): 0.31, ("std",): -0.2}
    assert of(values, "check_failed", feature="age", window="1h") == {("ks",): 1, ("mean",): 1, ("std",): 0}
    assert of(values, "feature_drifted") == {("age", "1h"): 1, ("device", "1h"): 0}
    assert of(values, "feature_importance") == {("age",): 0.75, ("device",): 0.25}
    assert of(values, "score") == {("1h",): 0.75}
    assert of(values, "window_rows") == {("10m",): 12, ("1h",): 5120}
    assert of(values, "window_sample_rows") == {("10m",): 12, ("1h",): 4096}
    assert of(values, "rows_total") == {(): 20}
    assert of(values, "rows_rejected_total") == {("malformed",): 3}
    assert of(values, "values_rejected_total") == {("age", "mistyped"): 2, ("device", "mistyped"): 2}
    assert of(values, "values_unknown_total") == {(): 6}
    assert of(values, "feature_value_bucket", feature="age") == {("1.0",): 3, ("2.5",): 5, ("+Inf",): 9}
    counts = {("a",): 7, ("b",): 2, ("__other__",): 4, ("__unseen__",): 1}
    assert of(values, "category_total", feature="device") == counts
    shares = {("a",): 1 / 3, ("b",): 1 / 3, ("__other__",): 0.25, ("__unseen__",): 0}
    assert of(values, "baseline_frequency", feature="device") == shares
    assert of(values, "baseline_cdf", feature="age") == {("1.0",): 1 / 3, ("2.5",): 2 / 3, ("+Inf",): 1}
    assert of(values, "errors_total") == {("fold",): 1}
    assert of(values, "observe_seconds_bucket") == {("1e-05",): 5, ("0.001",): 9, ("+Inf",): 10}
    assert (of(values, "observe_seconds_sum"), of(values, "observe_seconds_count")) == ({(): 0.0012}, {(): 10})
    assert of(values, "evaluation_seconds") == {(): 0.0125}
    assert of(values, "last_evaluation_timestamp_seconds") == {(): 1795402323.0}
    assert of(values, "baseline_info") == {("2026-01-01T00:00:00Z", "2", "10000", "ab" * 32, "unknown"): 1}


def test_before_the_first_evaluation_the_counters_are_there():
    values = samples(snapshot([numeric("age")]))
    assert of(values, "feature_value_bucket") == {("age", "1.0"): 3, ("age", "2.5"): 5, ("age", "+Inf"): 9}
    assert not of(values, "p_value")
    assert not of(values, "window_rows")


def test_a_window_with_too_few_rows_has_rows_but_no_verdict():
    per_window = {"10m": found(ks=check(0.001, 0.5))}
    values = samples(snapshot([numeric("age")], report({"10m": window("too_few_rows", rows=3)}, {"age": per_window})))
    assert of(values, "window_rows") == {("10m",): 3}
    assert not of(values, "p_value")
    assert not of(values, "feature_drifted")
    assert not of(values, "score")


def test_a_category_called_like_our_own_labels_stays_apart():
    values = samples(
        snapshot([categorical("f", categories=["__other__", "__unseen__", "__other___"], counts=[7, 8, 9])])
    )
    counts = {"__other___": 7, "__unseen___": 8, "__other____": 9, "__other__": 4, "__unseen__": 1}
    assert of(values, "category_total", feature="f") == {(name,): count for name, count in counts.items()}


def test_names_that_become_equal_labels_stay_apart_and_join_over_metrics():
    one, two = "\ud800", "\udbff"
    made = snapshot(
        [numeric(one, 0.1), numeric(two, 0.9)],
        report({"1h": window()}, {two: {"1h": found(ks=check(0.25))}, one: {"1h": found(ks=check(0.5))}}),
    )
    values = samples(made)
    assert of(values, "feature_importance") == {("\ufffd",): 0.1, ("\ufffd_",): 0.9}
    assert of(values, "p_value") == {("ks", "\ufffd", "1h"): 0.5, ("ks", "\ufffd_", "1h"): 0.25}


def test_top_features_are_the_most_important_and_the_drifted():
    features = [numeric("low", 0.1), numeric("middle", 0.2), numeric("high", 0.7)]
    windows = {name: {"1h": found(name == "low", ks=check())} for name in ("low", "middle", "high")}
    values = samples(snapshot(features, report({"1h": window()}, windows), top_features=1))
    assert of(values, "feature_importance") == {("low",): 0.1, ("high",): 0.7}
    assert {key[0] for key in of(values, "feature_drifted")} == {"low", "high"}
    assert {key[0] for key in of(values, "feature_value_bucket")} == {"low", "high"}


def test_models_share_each_metric_and_the_newest_snapshot_of_a_version_wins():
    old, new = usual(), usual(rows_total=99, last_evaluation_timestamp_seconds=1895402323.0)
    values = samples(new, old, usual(model_name="n"), usual(model_version="2.0"))
    assert of(values, "rows_total") == {("m:1.0",): 99, ("n:1.0",): 20, ("m:2.0",): 20}


def test_no_models_is_a_page_without_samples():
    assert samples() == {}
    assert samples(accept=OPENMETRICS) == {}


@settings(deadline=None, max_examples=60)
@given(st.lists(hostile(), max_size=3), st.sampled_from(sorted(FORMATS)))
def test_no_series_is_there_twice_whatever_the_names(snapshots, accept):
    page = render(snapshots, accept)[0].decode()
    series = [line.rpartition(" ")[0] for line in page.split("\n") if line and not line.startswith("#")]
    assert len(series) == len(set(series))
    families = [family.name for family in FORMATS[accept](page)]
    assert len(families) == len(set(families)) == len(METRICS)


@settings(deadline=None, max_examples=60)
@given(hostile(), st.sampled_from(sorted(FORMATS)))
def test_le_of_the_baseline_joins_with_the_buckets(made, accept):
    values = samples(made, accept=accept)
    assert of(values, "baseline_cdf").keys() == of(values, "feature_value_bucket").keys()
    assert of(values, "baseline_frequency").keys() == of(values, "category_total").keys()


def test_label_values_come_back_as_they_were():
    name = 'quote " newline \n backslash \\ emoji 🙂 braces {},= \\n'
    for accept in FORMATS:
        assert of(samples(snapshot([numeric(name)]), accept=accept), "feature_importance") == {(name,): 0.5}


def test_the_loop_over_samples_is_paced():
    paced = []

    def pace(items):
        for item in items:
            paced.append(item)
            yield item

    page, _ = render([usual()], "", pace)
    assert page == render([usual()])[0]
    assert len(paced) == sum(not line.startswith("#") for line in page.decode().splitlines())


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_finds_nothing_but_the_le_of_the_baseline():
    hostile_name = 'a"b\\c\nd 🙂 \ud800 \x00 \r \x1b'
    page = render([usual(), snapshot([numeric(hostile_name), categorical(hostile_name + "2")], model_name="n")])[0]
    done = subprocess.run(["promtool", "check", "metrics"], input=page, capture_output=True, timeout=30, check=False)
    complaints = set((done.stdout + done.stderr).decode().splitlines())
    # the gauge has the bounds of a histogram, so that PromQL can compare the two
    assert complaints == {PREFIX + 'baseline_cdf non-histogram metrics should not have "le" label'}


@pytest.mark.parametrize(
    ("value", "text"),
    [(1, "1.0"), (0.5, "0.5"), (1e6, "1e+06"), (123456.7, "123456.7"), (-1234567.25, "-1.23456725e+06"), (-3, "-3.0"),
     (1e-5, "1e-05"), (-0.0, "0.0"), (1e21, "1e+21"), (float("inf"), "+Inf"), (float("-inf"), "-Inf")],
)  # fmt: skip
def test_bounds_are_spelled_as_prometheus_does(value, text):
    assert bound_label(value) == text


@given(st.floats(allow_nan=False))
def test_bounds_keep_their_value(value):
    assert float(bound_label(value)) == value


@pytest.mark.parametrize(
    ("accept", "openmetrics"),
    [
        ("", False),
        ("*/*", False),
        ("application/openmetrics-text", True),
        ("application/openmetrics-text; version=1.x", False),
        ("application/openmetrics-text; version=0.0.1, text/plain", False),
        ("application/openmetrics-text;q=0.2,text/plain;q=0.3", False),
        ("application/openmetrics-text;q=0", False),
        ("application/openmetrics-text;q=nan", False),
        ("APPLICATION/OpenMetrics-Text;Version=1.0.0;escaping=values", True),
    ],
)
def test_format_by_accept_header(accept, openmetrics):
    page, content_type = render([usual()], accept)
    assert page.endswith(b"# EOF\n") == openmetrics
    assert content_type == CONTENT_TYPES[openmetrics]


@given(st.text(max_size=60))
def test_any_accept_header_gets_one_of_two_formats(accept):
    assert content_type_for(accept) in CONTENT_TYPES.values()


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_is_documented(name):
    family = METRICS[name]
    shown = name + "_bucket" if family.type == "histogram" else name
    match = re.search(rf"^### `{PREFIX}{shown}`\n\n(.*?)(?=^##|\Z)", DOCUMENT, re.MULTILINE | re.DOTALL)
    assert match is not None
    labels = ", ".join(f"`{label}`" for label in (*family.labels, *(["le"] if family.type == "histogram" else [])))
    assert match[1].startswith(f"{family.type.capitalize()}, labels: {labels or 'none'}.\n")
    assert re.search(rf"```promql\n[^`]*{PREFIX}{name}", match[1])


def test_nothing_else_is_documented():
    names = set(re.findall(rf"^### `{PREFIX}(\w+)`$", DOCUMENT, re.MULTILINE))
    assert names == {name + "_bucket" if family.type == "histogram" else name for name, family in METRICS.items()}
