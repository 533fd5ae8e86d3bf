"""The checks of the server, offline: production rows from a file or from memory, as one window."""

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
"""How many unseen categories of a feature a report names: the most frequent ones."""

_ENDLESS = 1 << 40
"""The rows of the window: more than any check has, so that no row drops out of it."""

Columns = Mapping[str, Any]
"""Feature name to values (m,)."""


def check(
    baseline: Baseline,
    rows: Union[Columns, Iterable[Columns], str, PathLike[str]],
    settings: Any = None,
) -> Report:
    """Compare ``rows`` with ``baseline`` by all checks, as one window with the label "all".

    Parameters
    ----------
    rows
        Columns (feature name to values (m,), an array or a list), an iterable of such mappings, or the path of a csv,
        csv.gz or parquet file, or of a folder or glob of them.
    settings
        `Settings` or a mapping as in the ``drift:`` section. The settings of windows, state and export have no effect.

    Returns
    -------
    Report
        The same as from the server, and in addition the names of the categories that the baseline does not have.

    Raises
    ------
    FeatureError
        When the rows lack a feature of the baseline, or their columns have different lengths.
    DriftError
        When the file cannot be read, or there are no rows.

    Examples
    --------
    >>> from torchserve_drift import Baseline
    >>> training = {"age": range(18, 68), "city": ["Ulm", "Bonn"] * 25}
    >>> baseline = Baseline.from_columns({name: list(values) * 40 for name, values in training.items()})
    >>> older = {"age": list(range(38, 88)) * 10, "city": ["Ulm", "Bonn"] * 250}
    >>> report = check(baseline, older)
    >>> report.drifted, [feature.name for feature in report.features if feature.windows["all"].drifted]
    (True, ['age'])

    200 rows or more are needed for a verdict (``min_rows``):

    >>> few = check(baseline, {"age": [99] * 50, "city": ["Paris"] * 50})
    >>> few.drifted, few.windows["all"].state, few.feature("city").unseen
    (False, 'too_few_rows', {'Paris': 1.0})
    """
    given = settings if isinstance(settings, Settings) else Settings.from_mapping(settings)
    window = Window(ALL_ROWS, rows=_ENDLESS)
    # a fixed seed, so that the same rows give the same report
    monitor = Monitor(baseline, replace(given, windows=(window,), state_dir=None), model_name="offline", seed=0)
    # counted here from the rows themselves: a monitor never keeps values that the baseline does not have
    unseen = {f.name: Counter[str]() for f in baseline.features if isinstance(f, CategoricalBaseline)}
    count = 0
    for columns in _in_pieces(baseline, rows):
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


def _in_pieces(baseline: Baseline, rows: Any) -> Iterator[Columns]:
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
    """Add to ``unseen`` the categories that the baseline does not have. The server never keeps them."""
    for feature in baseline.features:
        if isinstance(feature, CategoricalBaseline):
            values = columns[feature.name]
            keys = map(category_key, values.tolist() if isinstance(values, np.ndarray) else values)
            known = set(feature.categories)
            unseen[feature.name].update(key for key in keys if isinstance(key, str) and key not in known)
