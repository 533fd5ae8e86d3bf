"""Composing a snapshot of plain data, against counts made by hand."""

from __future__ import annotations

import numpy as np

from baselines import baseline
from torchserve_drift.port.compose import compose_snapshot
from torchserve_drift.port.snapshot import Snapshot
from torchserve_drift.settings.settings import Export
from torchserve_drift.window import fields
from torchserve_drift.window.counters import LENGTH, Counters
from torchserve_drift.window.layout import layout_for

PROFILE = baseline({"age": [1.0, 1.0, 2.0, 3.0], "city": ["Rome", "Rome", "Oslo", "Bonn"]})
LAYOUT = layout_for(PROFILE, windows=1, reservoir_rows=100)


def composed(max_categories: int = 50) -> Snapshot:
    totals, counters = np.zeros(LAYOUT.length), np.zeros(LENGTH)
    totals[fields.ROWS] = 20
    age, city = LAYOUT.part(totals, 0), LAYOUT.part(totals, 1)
    age[[fields.MISSING, fields.MISTYPED, fields.INFINITE]] = 4, 3, 2
    age[fields.BINS :] = 1  # one value in each bin
    city[fields.UNSEEN] = 7
    city[fields.CATEGORIES :] = 5, 6, 8
    Counters(counters).count_rejected("wrong_length", 9)
    Counters(counters).count_error("fold")
    return compose_snapshot(
        model_name="m",
        model_version="2",
        profile=PROFILE,
        report=None,
        layout=LAYOUT,
        totals=totals,
        counters=counters,
        evaluation_seconds=0.5,
        export=Export(max_categories=max_categories, top_features=3),
    )


def test_counts_of_a_numeric_feature() -> None:
    age = composed()["features"][0]
    edges = len(PROFILE.features[0].edges)  # type: ignore[union-attr] # a numeric feature
    assert age["bucket"] == list(range(1, edges + 2))
    assert (len(age["le"]), age["le"][-1], age["baseline_cdf"][-1]) == (edges, 3.0, 1.0)
    assert age["rejected"] == {"missing": 4, "mistyped": 3, "infinite": 2}


def test_counts_of_a_categorical_feature() -> None:
    city = composed()["features"][1]
    assert (city["categories"], city["counts"], city["unseen"]) == (["Rome", "Bonn", "Oslo"], [5, 6, 8], 7)
    assert city["baseline_frequency"] == [0.5, 0.25, 0.25]
    assert (city["other"], city["other_baseline_frequency"]) == (0, 0.0)


def test_categories_beyond_the_limit_are_counted_together() -> None:
    city = composed(max_categories=1)["features"][1]
    assert (city["categories"], city["counts"], city["baseline_frequency"]) == (["Rome"], [5], [0.5])
    assert (city["other"], city["other_baseline_frequency"], city["unseen"]) == (14, 0.5, 7)


def test_facts_of_the_model() -> None:
    made = composed()
    assert made.keys() == Snapshot.__annotations__.keys()
    assert (made["model_name"], made["model_version"], made["report"]) == ("m", "2", None)
    assert (made["rows_total"], made["rows_rejected"]["wrong_length"], made["errors"]["fold"]) == (20, 9, 1)
    assert (made["evaluation_seconds"], made["last_evaluation_timestamp_seconds"], made["top_features"]) == (0.5, 0, 3)
    assert made["baseline"] == {
        "sha256": "0" * 64,
        "created": PROFILE.created,
        "rows": 4,
        "features": 2,
        "time_variation": "unknown",
    }
