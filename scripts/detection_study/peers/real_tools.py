"""Compares Evidently, NannyML and alibi-detect with this study's copies of their rules, on some windows.

This module runs in each tool's own environment. The reference has 10,000 rows, and each window 2,000. There are windows
without drift, and with each shift of the study.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from detection_study.marginals import MODEL, Categories, Floats, rows_of
from detection_study.peers.windows import (
    DEFAULT_WINDOW,
    TOOLS,
    default_thresholds,
    judge_of,
)
from detection_study.shifts import SHIFTS

REFERENCE_ROWS = 10_000
_QUIET_WINDOWS = 7
_CATEGORICAL = [name for name, marginal in MODEL.items() if isinstance(marginal, Categories)]

Found = dict[str, tuple[float, bool]]
"""The tool's score and verdict for each feature."""


def labelled(rows: Floats) -> Any:
    """Rows as a data frame, categories as text."""
    import pandas as pd

    frame = pd.DataFrame(rows, columns=list(MODEL))
    for name in _CATEGORICAL:
        frame[name] = [f"c{int(value)}" for value in frame[name]]
    return frame


def evidently(reference: Floats, windows: Sequence[Floats]) -> list[Found]:
    from evidently import DataDefinition, Dataset, Report
    from evidently.metrics import ValueDrift

    kinds = DataDefinition(
        numerical_columns=[name for name in MODEL if name not in _CATEGORICAL], categorical_columns=_CATEGORICAL
    )
    before = Dataset.from_pandas(labelled(reference), data_definition=kinds)
    found = []
    for rows in windows:
        now = Dataset.from_pandas(labelled(rows), data_definition=kinds)
        metrics = Report([ValueDrift(column=name) for name in MODEL]).run(now, before).dict()["metrics"]
        found.append(
            {
                name: (float(metric["value"]), bool(metric["value"] >= metric["config"]["threshold"]))
                for name, metric in zip(MODEL, metrics, strict=True)
            }
        )
    return found


def nannyml(reference: Floats, windows: Sequence[Floats]) -> list[Found]:
    import nannyml as nml

    calculator = nml.UnivariateDriftCalculator(
        column_names=list(MODEL),
        treat_as_categorical=_CATEGORICAL,
        chunk_size=DEFAULT_WINDOW,
        continuous_methods=["jensen_shannon"],
        categorical_methods=["jensen_shannon"],
    ).fit(labelled(reference))
    found = []
    for rows in windows:
        row = calculator.calculate(labelled(rows)).filter(period="analysis").to_df().iloc[0]
        found.append(
            {
                name: (float(row[name, "jensen_shannon", "value"]), bool(row[name, "jensen_shannon", "alert"]))
                for name in MODEL
            }
        )
    return found


def alibi(reference: Floats, windows: Sequence[Floats]) -> list[Found]:
    from alibi_detect.cd import TabularDrift

    def counted(rows: Floats) -> Floats:  # categories must be integers from 0
        rows = rows.copy()
        for name in _CATEGORICAL:
            place = list(MODEL).index(name)
            rows[rows[:, place] < 0, place] = len(MODEL[name].shares)
        return rows

    places = {list(MODEL).index(name): None for name in _CATEGORICAL}
    detector = TabularDrift(counted(reference), p_val=0.05, categories_per_feature=places)
    found = []
    for rows in windows:
        p_values = detector.predict(counted(rows), drift_type="feature")["data"]["p_val"]
        scores = detector.predict(counted(rows), drift_type="batch", return_distance=True)["data"]
        found.append(
            {
                name: (
                    float(-np.log(p) if name in _CATEGORICAL else distance),
                    bool(p < scores["threshold"]),  # Bonferroni, as its verdict on the batch has it
                )
                for name, p, distance in zip(MODEL, p_values, scores["distance"], strict=True)
            }
        )
    return found


def rules(reference: Floats, windows: Sequence[Floats], tool: str) -> list[Found]:
    """Scores and verdicts by this study's copies of the rules."""
    found: list[Found] = [{} for _ in windows]
    for place, name in enumerate(MODEL):
        judge = judge_of(name, reference[:, place])
        limits = default_thresholds(judge, DEFAULT_WINDOW)
        for number, rows in enumerate(windows):
            values = rows[:, place]
            score = float(judge.scores(values, int((~np.isnan(values)).sum()))[tool][0])
            found[number][name] = (score, score > limits[tool])
    return found


def compared(real: Sequence[Found], ours: Sequence[Found]) -> Mapping[str, Any]:
    """Compare the verdicts and scores of a tool with ours, for each window and feature.

    If a tool has no score because of missing values (NaN), it says "no drift". Our rule says the same, because it
    ignores missing values.
    """
    pairs = [
        (number, name, a[name], b[name]) for number, (a, b) in enumerate(zip(real, ours, strict=True)) for name in a
    ]
    scored = [(a[0], b[0]) for _, _, a, b in pairs if np.isfinite(a[0]) and np.isfinite(b[0])]
    return {
        "same": sum(a[1] == b[1] for _, _, a, b in pairs),
        "of": len(pairs),
        "different": [(number, name, a, b) for number, name, a, b in pairs if a[1] != b[1]],
        "largest_relative_difference": max(abs(a - b) / max(abs(b), 1e-3) for a, b in scored),
    }


def measure() -> dict[str, Any]:
    """Versions of the tool, its agreement with our rule, and which shifts the tool itself finds."""
    warnings.simplefilter("ignore")
    module, run, tool = next(
        row
        for row in (
            ("evidently", evidently, TOOLS[0]),
            ("nannyml", nannyml, TOOLS[1]),
            ("alibi_detect", alibi, TOOLS[2]),
        )
        if find_spec(row[0])
    )
    rng = np.random.default_rng(41)
    reference = rows_of(MODEL, rng, REFERENCE_ROWS)
    quiet = [rows_of(MODEL, rng, DEFAULT_WINDOW) for _ in range(_QUIET_WINDOWS)]
    shifted = [shift.applied(rng, rows_of(MODEL, rng, DEFAULT_WINDOW)) for shift in SHIFTS]
    real = run(reference, [*quiet, *shifted])
    names = (module.replace("_", "-"), "numpy", "pandas", "scipy")
    return {
        "tool": tool,
        "versions": {name: version(name) for name in names},
        **compared(real, rules(reference, [*quiet, *shifted], tool)),
        "sees": {
            shift.name: any(found[feature][1] for feature in shift.features)
            for shift, found in zip(SHIFTS, real[_QUIET_WINDOWS:], strict=True)
        },
    }


def main(arguments: Sequence[str]) -> None:
    Path(arguments[0]).write_text(json.dumps(measure()))


if __name__ == "__main__":
    main(sys.argv[1:])
