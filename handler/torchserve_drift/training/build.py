"""Training data to a baseline: Ibis expressions on DuckDB, which never hold all of the data in memory."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from os import PathLike
from typing import TYPE_CHECKING, Optional, Union

import numpy as np

from torchserve_drift.baseline.baseline import Baseline, creation_time
from torchserve_drift.baseline.profile import LARGEST_SAMPLE, MOST_SPANS, FeatureBaseline, NumericBaseline
from torchserve_drift.baseline.sampling import sample_rows
from torchserve_drift.errors import BaselineError
from torchserve_drift.stats.arrays import Floats
from torchserve_drift.training.categorical import categorical_feature
from torchserve_drift.training.columns import Column
from torchserve_drift.training.importance import normalised
from torchserve_drift.training.numeric import numeric_statistics
from torchserve_drift.training.numeric_statistics import NumericStatistics
from torchserve_drift.training.progress import Progress, no_progress
from torchserve_drift.training.session import session
from torchserve_drift.training.source_files import source_files
from torchserve_drift.training.span_tallies import numeric_variation
from torchserve_drift.training.spans import Spans, cut_into_spans, spans_of_rows
from torchserve_drift.training.staging import staged_rows
from torchserve_drift.training.timed_rows import TimedRows, timed_rows
from torchserve_drift.training.variation import joint_effects

if TYPE_CHECKING:
    import ibis.expr.types as ir
    import pyarrow as pa


def build(
    source: Union[str, PathLike[str]],
    *,
    label: Optional[str] = None,
    exclude: Sequence[str] = (),
    categorical: Sequence[str] = (),
    rows: int = 10_000,
    seed: int = 0,
    importance: Optional[Mapping[str, float]] = None,
    created: Optional[str] = None,
    time: Union[str, Sequence[str]] = (),
    spans: int = 12,
    progress: Optional[Progress] = None,
) -> Baseline:
    """The baseline of the training data in ``source``: a csv, csv.gz or parquet file, a folder or a glob of them.

    Parameters
    ----------
    label, exclude
        Columns that are not features.
    categorical
        Columns of numbers that are categories.
    rows
        Rows in the sample, 1 to 32,000; all rows when the source has fewer.
    seed
        Random seed for drawing the sample, 0 to 2**63 - 1.
    importance
        Weight of each feature by name (see `importance.normalised`); all features have the same weight by default.
    created
        Time of creation, ISO 8601 in UTC; by default now, or ``SOURCE_DATE_EPOCH``.
    time
        Columns of numbers or times that order the rows: the first orders them, the second those that are equal in the
        first, and so on. These columns are not features. With them every feature gets its ``variation``, and its time
        profile where the first column holds dates, times or seconds (or milliseconds, ...) since 1970 that span two
        weeks or more.
    spans
        Number of spans, 2 to 100, into which the ordered rows are cut; fewer when there are fewer times.
    progress
        Called with the name of a step, how much of it is done, and how much there is to do.

    Raises
    ------
    BaselineError
        When no baseline can be built from this; one line that says what to do.

    Notes
    -----
    The same files, options and ``created`` give the same baseline, bit by bit, for any number of threads.
    """
    # a column named twice orders nothing more the second time
    time_columns = [time] if isinstance(time, str) else list(dict.fromkeys(time))
    _check_limits(rows=rows, seed=seed, spans=spans)
    created = creation_time() if created is None else created
    report = progress or no_progress
    paths = source_files(os.fspath(source))
    # the database is deleted with the session, so everything that reads the table happens inside
    with session() as connection:
        table, columns = staged_rows(
            connection,
            paths,
            label=label,
            exclude=exclude,
            categorical=categorical,
            time=time_columns,
            progress=report,
        )
        names = [column.name for column in columns]
        shares = normalised(dict.fromkeys(names, 1.0) if importance is None else importance, names)
        total = int(table.count().to_pyarrow().as_py())
        if not total:
            raise BaselineError(f"training data must have at least one row, got none in {os.fspath(source)!r}")
        cut = cut_into_spans(table, time_columns, spans) if time_columns else None
        timed, reason = timed_rows(cut) if cut else (None, "")
        if reason:
            report(f"no time profiles: {reason}", 0, 0)
        sample = _sampled_table(table, columns, total, rows, seed)
        features = _features(
            table, columns, total=total, sample=sample, shares=shares, spans=cut, timed=timed, progress=report
        )
        baseline = Baseline(features, total, created, seed)
        if cut:
            # the joint check needs whole rows, which only the sample has
            sampled_spans = spans_of_rows(cut, sample["row"].to_numpy())
            baseline = replace(baseline, joint_variation=joint_effects(baseline, sampled_spans, cut.count))
    return baseline


def _check_limits(*, rows: int, seed: int, spans: int) -> None:
    limits = (("rows", rows, 1, LARGEST_SAMPLE), ("seed", seed, 0, 2**63 - 1), ("spans", spans, 2, MOST_SPANS))
    for what, value, low, high in limits:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise BaselineError(f"{what} must be an integer from {low} to {high}, got {value!r}")


def _sampled_table(table: ir.Table, columns: Sequence[Column], total: int, rows: int, seed: int) -> pa.Table:
    """The sampled rows of the features, with their numbers in the column ``row``."""
    import ibis
    import pyarrow as pa

    numbered = table.select(*(column.place for column in columns), row=table.rowid())
    if rows < total:
        chosen = ibis.memtable(pa.table({"row": sample_rows(total, rows, seed)}))
        numbered = numbered.semi_join(chosen, "row")
    return numbered.order_by("row").to_pyarrow()


def _features(
    table: ir.Table,
    columns: Sequence[Column],
    *,
    total: int,
    sample: pa.Table,
    shares: Mapping[str, float],
    spans: Optional[Spans],
    timed: Optional[TimedRows],
    progress: Progress,
) -> tuple[FeatureBaseline, ...]:
    # columns of numbers share their queries, so all of them come first; the features keep the order of the columns
    numeric = [column.place for column in columns if column.kind == "numeric"]
    samples = {place: _nan_unless_finite(sample[place]) for place in numeric}
    statistics = numeric_statistics(table, numeric, total, samples, progress)
    variation = numeric_variation(spans, list(statistics.values()), total, progress) if spans else {}
    features: list[FeatureBaseline] = []
    for column in columns:
        place, share = column.place, shares[column.name]
        progress("time profiles" if timed else "categories", len(features), len(columns))
        if column.kind == "numeric":
            known = statistics[place]
            feature = _numeric_feature(column.name, known, total, samples[place], share)
            profile = timed.numeric_profile(feature, place) if timed else None
            features.append(replace(feature, variation=variation.get(place, {}), time=profile))
        else:
            raw = sample[place].to_pylist()
            features.append(categorical_feature(table, column, raw, share, spans=spans, timed=timed))
    progress("categories", len(columns), len(columns))
    return tuple(features)


def _nan_unless_finite(values: pa.ChunkedArray) -> Floats:
    array = np.array(values.to_numpy(), np.float64)
    array[~np.isfinite(array)] = np.nan
    return array


def _numeric_feature(
    name: str,
    known: NumericStatistics,
    total: int,
    sample: Floats,
    importance: float,
) -> NumericBaseline:
    return NumericBaseline(
        name=name,
        count=known.count,
        missing=total - known.present,
        invalid=known.present - known.count,
        mean=known.mean,
        std=known.std,
        minimum=known.minimum,
        maximum=known.maximum,
        quantiles=known.quantiles,
        edges=known.edges,
        edge_counts=known.edge_counts,
        sample=sample,
        importance=importance,
    )
