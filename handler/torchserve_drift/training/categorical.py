"""Columns of categories to the features of a baseline."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Optional

import numpy as np

from torchserve_drift.baseline.profile import LARGEST_CATEGORIES, MISSING_CODE, CategoricalBaseline
from torchserve_drift.errors import BaselineError
from torchserve_drift.training.columns import Column
from torchserve_drift.training.expressions import is_unreadable_as
from torchserve_drift.training.span_tallies import categorical_variation
from torchserve_drift.training.spans import Spans
from torchserve_drift.training.spelling import hashable, spelled
from torchserve_drift.training.timed_rows import TimedRows

if TYPE_CHECKING:
    import ibis.expr.types as ir


def categorical_feature(
    table: ir.Table,
    column: Column,
    sample: Sequence[Any],
    importance: float,
    *,
    spans: Optional[Spans],
    timed: Optional[TimedRows] = None,
) -> CategoricalBaseline:
    """The feature of ``column``; ``sample`` holds the raw values of the sampled rows.

    It has its ``variation`` when there are ``spans``, and its time profile when there are ``timed`` rows.

    Raises
    ------
    BaselineError
        When the column has more than `LARGEST_CATEGORIES` categories; the error says what to do.
    """
    values = table[column.place]
    # two more than are allowed, one of which may be the null: enough to see that there are too many
    counted = table.group_by(value=values).aggregate(rows=table.count()).limit(LARGEST_CATEGORIES + 2).to_pyarrow()
    raw = counted["value"].to_pylist()
    if len(raw) > LARGEST_CATEGORIES + 1:
        raise _too_many_categories(table, column)
    # all distinct values at once: whether "1" is a number depends on the other cells of the column
    spellings = dict(zip(map(hashable, raw), spelled(raw, column.is_text)))
    tally: Counter[Optional[str]] = Counter()
    for value, rows in zip(raw, counted["rows"].to_pylist()):
        tally[spellings[hashable(value)]] += rows  # raw values such as 1 and 1.0 are one category
    missing = tally.pop(None, 0)
    if len(tally) > LARGEST_CATEGORIES:
        raise _too_many_categories(table, column)
    # equal counts are ordered by name, so that the order of the rows does not matter
    categories = sorted((key for key in tally if key is not None), key=lambda key: (-tally[key], key))
    codes: dict[Optional[str], int] = {key: code for code, key in enumerate(categories)}
    counts = np.array([tally[key] for key in categories], np.int64)
    codes_of_raw = {value: codes.get(key, len(categories)) for value, key in spellings.items()}
    feature = CategoricalBaseline(
        name=column.name,
        categories=tuple(categories),
        counts=counts,
        missing=missing,
        sample=np.array([codes.get(spellings[hashable(value)], MISSING_CODE) for value in sample], np.uint16),
        importance=importance,
        variation=categorical_variation(spans, column.place, codes_of_raw, counts, missing) if spans else {},
    )
    if timed is None:
        return feature
    return replace(feature, time=timed.categorical_profile(feature, column.place, codes_of_raw))


def _too_many_categories(table: ir.Table, column: Column) -> BaselineError:
    advice = f"leave it out with --exclude {shlex.quote(column.name)}"
    if column.is_text:
        # often this is a column of numbers with a few other cells, which made all of it text: name one of them
        values = table[column.place]
        odd = table.filter(is_unreadable_as(values, "float64")).select(value=values)
        found = odd.aggregate(rows=odd.count(), example=odd.value.min()).to_pyarrow().to_pylist()[0]
        if 0 < found["rows"] < LARGEST_CATEGORIES:
            example = found["example"][:100]
            advice += f", or make it numbers: {found['rows']} of its values, such as {example!r}, are not numbers"
    return BaselineError(
        f"column {column.name!r} must have at most {LARGEST_CATEGORIES} categories, got more; {advice}"
    )
