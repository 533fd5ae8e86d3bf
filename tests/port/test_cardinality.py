"""The number of series of a model equals that in docs/metrics.md, for any baseline, names and traffic."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as plain

from baselines import baseline
from torchserve_drift import Baseline, Monitor
from torchserve_drift.port.metrics.text import render

DOCUMENT = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
HOSTILE = [
    'say "hi"\n',
    "</script><script>alert(1)</script>",
    "back\\slash\\n",
    "🙂",
    "\ud800",
    "{},=#",
    "\0\r\x1b[2J",
    "a" * 500,
]
SPANS = ["10m", "1h", "24h"]


def columns(numbers: int, categories: int, different: int = 100, rows: int = 200) -> dict[str, Any]:
    """Features with hostile names; the categorical ones have ``different`` categories with hostile names."""
    values = [f"{HOSTILE[i % len(HOSTILE)][:150]}{i}" for i in range(different)]
    made: dict[str, Any] = {f"{HOSTILE[i % len(HOSTILE)]} {i}": np.arange(rows) * 1.5 for i in range(numbers)}
    for i in range(categories):
        made[f"{HOSTILE[i % len(HOSTILE)]} category {i}"] = [values[j % different] for j in range(rows)]
    return made


def shown(of: Baseline, traffic: dict[str, Any], windows: Sequence[str], **export: int) -> bytes:
    settings = {"windows": list(windows), "min_rows": 1, "export": export}
    watching = Monitor(of, settings, model_name=HOSTILE[0], model_version=HOSTILE[1], seed=0)
    watching.observe(traffic)
    watching.evaluate()
    page, _ = render([watching.snapshot()])
    watching.stop()
    return page


def series(page: bytes) -> int:
    lines = [line for line in page.decode().split("\n") if line and not line.startswith("#")]
    assert len({line.rpartition(" ")[0] for line in lines}) == len(lines)
    return len(lines)


(FORMULA,) = re.findall(r"^    series = ([\d +*()JNCWK]+)$", DOCUMENT, re.MULTILINE)


def most(n: int, c: int, w: int, k: int) -> int:
    """The document's limit for n numeric and c categorical features, w windows, and k shown categories in all."""
    return int(eval(FORMULA, {"__builtins__": {}}, {"J": int(n + c > 1), "N": n, "C": c, "W": w, "K": k}))


@pytest.mark.parametrize("windows", [["1h"], SPANS, [f"{i}m" for i in range(1, 17)]], ids=len)
@pytest.mark.parametrize(("numbers", "categories"), [(1, 0), (0, 1), (5, 7)])
def test_the_formula_is_exact(numbers: int, categories: int, windows: list[str]) -> None:
    made = columns(numbers, categories)
    page = shown(baseline(made), made, windows, max_categories=20)
    assert series(page) == most(numbers, categories, len(windows), 20 * categories)


def test_traffic_adds_no_series() -> None:
    of = baseline(columns(3, 4))
    calm = shown(of, columns(3, 4), SPANS)
    wild = {name: [f"{name} {i}" for i in range(3000)] for name in columns(3, 4)}
    assert series(shown(of, wild, SPANS)) <= series(calm) == most(3, 4, 3, 4 * 50)
    for other in ({"no feature": [1]}, {name: [] for name in wild}):
        assert series(shown(of, other, SPANS)) <= series(calm)


def test_a_feature_of_65_000_categories_has_as_many_series_as_one_of_50() -> None:
    many = {"city": [f"city {i}" for i in range(65_000)]}
    page = shown(baseline(many), many, SPANS)
    assert series(page) == most(0, 1, 3, 50)
    assert page.count(b"torchserve_drift_category_total{") == 52
    assert b'category="__other__",feature="city",model_name' in page
    none = shown(baseline(many), many, ["1h"], max_categories=0)
    assert series(none) == most(0, 1, 1, 0)


@pytest.fixture(scope="module")
def thousand() -> tuple[bytes, int]:
    made = columns(600, 400)
    return shown(baseline(made), made, SPANS), most(600, 400, 3, 400 * 50)


def test_a_thousand_features_of_hostile_names_stay_within_it(thousand: tuple[bytes, int]) -> None:
    page, bound = thousand
    assert series(page) == bound


def test_the_examples_of_the_document_are_those_of_its_formula() -> None:
    rows = re.findall(r"^\| (\d+) \| (\d+) \| (\d+) \| (\d+) \| ([\d,]+) \|$", DOCUMENT, re.MULTILINE)
    assert len(rows) == 2
    for row in rows:
        n, c, w, k, series_ = (int(cell.replace(",", "")) for cell in row)
        assert series_ == most(n, c, w, k * c)


def test_the_most_important_features_alone_are_shown_where_that_is_asked() -> None:
    made = columns(20, 20)
    page = shown(baseline(made), made, SPANS, top_features=3, max_categories=10)
    assert series(page) <= most(3, 3, 3, 30)


def test_both_parsers_read_a_thousand_features_of_hostile_names(thousand: tuple[bytes, int]) -> None:
    page, bound = thousand
    samples = [sample for family in plain(page.decode()) for sample in family.samples]
    assert len(samples) == bound
    assert {sample.labels["model_name"] for sample in samples} == {HOSTILE[0]}
    assert len({sample.labels["feature"] for sample in samples if "feature" in sample.labels}) == 1001  # and `_joint`
    small = columns(4, 4)
    watching = Monitor(baseline(small), {"windows": SPANS, "min_rows": 1})
    watching.observe(small)
    watching.evaluate()
    text, _ = render([watching.snapshot()], "application/openmetrics-text")
    assert sum(len(family.samples) for family in openmetrics(text.decode())) == most(4, 4, 3, 200)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_reads_a_thousand_features_of_hostile_names(thousand: tuple[bytes, int]) -> None:
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=thousand[0], capture_output=True, timeout=60, check=False
    )
    complaints = set((done.stdout + done.stderr).decode().splitlines())
    # the gauge has the bounds of a histogram, so that PromQL can compare the two
    assert complaints == {'torchserve_drift_baseline_cdf non-histogram metrics should not have "le" label'}
