"""The same checks, offline: a file or table of production rows against a baseline, as one window."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from os import PathLike
from typing import Any, Union

import numpy as np

from torchserve_drift.baseline.baseline import Baseline
from torchserve_drift.baseline.profile import CategoricalBaseline
from torchserve_drift.errors import DriftError, FeatureError
from torchserve_drift.features.schema import category_key
from torchserve_drift.monitoring.monitor import Monitor
from torchserve_drift.settings.settings import Settings, Window
from torchserve_drift.verdicts.report import Report

ALL_ROWS = "all"
"""The label of the one window of an offline check."""

_NAMED_UNSEEN = 20
_MOST_ROWS = 1 << 40

Columns = Mapping[str, Any]


def check(
    baseline: Baseline,
    rows: Union[Columns, Iterable[Columns], str, PathLike[str]],
    settings: Any = None,
) -> Report:
    """All checks of ``rows`` against ``baseline``, as one window called "all".

    Parameters
    ----------
    rows
        Columns (feature name to array (m,)), an iterable of such pieces, or the path of a csv, csv.gz or parquet file,
        or a folder or glob of them.
    settings
        `Settings` or a mapping as in the ``drift:`` section; windows, state and export do not matter here.

    Raises
    ------
    FeatureError
        When the rows lack a feature of the baseline, or its columns have different lengths.
    DriftError
        When the file cannot be read, or there are no rows.

    Examples
    --------
    >>> from torchserve_drift import Baseline                                               # doctest: +SKIP
    >>> check(Baseline.load("baseline.safetensors"), {"age": np.arange(100.0)}).drifted    # doctest: +SKIP
    False
    """
    given = settings if isinstance(settings, Settings) else Settings.from_mapping(settings)
    window = Window(ALL_ROWS, rows=_MOST_ROWS)
    monitor = Monitor(baseline, replace(given, windows=(window,), state_dir=None), model_name="offline", seed=0)
    unseen = {f.name: Counter[str]() for f in baseline.features if isinstance(f, CategoricalBaseline)}
    count = 0
    for columns in _pieces(baseline, rows):
        _require_features(baseline, columns)
        encoded = monitor.encoder.columns(columns)
        monitor.record(encoded)
        count += len(encoded)
        _count_unseen(baseline, columns, unseen)
    if count == 0:
        raise DriftError(f"the rows to check must be at least one, got none in {str(rows)[:200]!r}")
    report = monitor.evaluate()
    named = {
        name: {category: hits / count for category, hits in counter.most_common(_NAMED_UNSEEN)}
        for name, counter in unseen.items()
    }
    return replace(report, features=tuple(replace(f, unseen=named.get(f.name, {})) for f in report.features))


def _pieces(baseline: Baseline, rows: Any) -> Iterator[Columns]:
    if isinstance(rows, (str, PathLike)):
        from torchserve_drift.offline.rows import pieces

        yield from pieces(rows, baseline.schema)
    elif isinstance(rows, Mapping):
        yield rows
    else:
        yield from rows


def _require_features(baseline: Baseline, columns: Columns) -> None:
    absent = [feature.name for feature in baseline.features if feature.name not in columns]
    if absent:
        raise FeatureError(f"the rows must have every feature of the baseline, got none called {absent[0]!r}")


def _count_unseen(baseline: Baseline, columns: Columns, unseen: Mapping[str, Counter[str]]) -> None:
    for feature in baseline.features:
        if isinstance(feature, CategoricalBaseline):
            values = columns[feature.name]
            keys = map(category_key, values.tolist() if isinstance(values, np.ndarray) else values)
            known = set(feature.categories)
            unseen[feature.name].update(key for key in keys if isinstance(key, str) and key not in known)
