"""Training data to baseline: Ibis expressions on DuckDB, which never hold the data whole in memory."""

from __future__ import annotations

import os
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from os import PathLike
from typing import TYPE_CHECKING, Any, Optional, Union

import numpy as np
import numpy.typing as npt

from torchserve_drift.baseline.baseline import Baseline
from torchserve_drift.baseline.profile import (
    LARGEST_CATEGORIES,
    LARGEST_SAMPLE,
    MISSING_CODE,
    MOST_SPANS,
    CategoricalBaseline,
    FeatureBaseline,
    NumericBaseline,
)
from torchserve_drift.errors import BaselineError
from torchserve_drift.training.columns import Column, key_of, spelled
from torchserve_drift.training.importance import normalised
from torchserve_drift.training.numeric import Numbers, profiled
from torchserve_drift.training.source import Progress, files, is_beyond, session, staged
from torchserve_drift.training.spans import Spans, of_categories, of_numbers, of_rows
from torchserve_drift.training.spans import cut as cut_into_spans
from torchserve_drift.training.variation import joint

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
        Columns that are no features.
    categorical
        Columns of numbers that are to be categories.
    rows
        Of the sample, 1 to 32,000; all rows where the source has fewer.
    seed
        Of the sample, 0 to 2**63 - 1.
    importance
        Weight by name (see `importance.normalised`); uniform by default.
    created
        ISO 8601 in UTC; now by default, or ``SOURCE_DATE_EPOCH``.
    time
        Columns of numbers or times, no features, that order the rows: by the first, where it is equal by the second,
        and so on. With them every feature gets its ``variation``.
    spans
        Of equal numbers of rows, 2 to 100, into which that order is cut; fewer where there are fewer times.
    progress
        Called with a step's name, how much of it is done, and how much there is.

    Raises
    ------
    BaselineError
        When no baseline can be made of this; one line that says what to do.

    Notes
    -----
    The same files, options and ``created`` give the same baseline, bit by bit, whatever the number of threads.
    """
    time = [time] if isinstance(time, str) else list(dict.fromkeys(time))
    limits = (("rows", rows, 1, LARGEST_SAMPLE), ("seed", seed, 0, 2**63 - 1), ("spans", spans, 2, MOST_SPANS))
    for what, value, low, high in limits:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise BaselineError(f"{what} must be an integer from {low} to {high}, got {value!r}")
    created = _now() if created is None else created
    report = progress or _silent
    paths = files(os.fspath(source))
    with session() as connection:
        table, columns = staged(
            connection, paths, label=label, exclude=exclude, categorical=categorical, time=time, progress=report
        )
        shares = _shares(importance, [column.name for column in columns])
        total = int(table.count().to_pyarrow().as_py())
        if not total:
            raise BaselineError(f"training data must have at least one row, got none in {os.fspath(source)!r}")
        cut = cut_into_spans(table, time, spans) if time else None
        sample = _sample(table, columns, total, rows, seed)
        features = _features(table, columns, total=total, sample=sample, shares=shares, spans=cut, progress=report)
        baseline = Baseline(features, total, created, seed)
        if cut:
            sampled = of_rows(cut, sample["row"].to_numpy())
            baseline = replace(baseline, joint_variation=joint(baseline, sampled, cut.count))
    return baseline


def sample_rows(total: int, rows: int, seed: int) -> npt.NDArray[np.int64]:
    """The numbers of ``min(rows, total)`` of ``total`` rows, sorted, each set of so many as likely as any other.

    Floyd's algorithm on the raw stream of PCG64, which NumPy promises never to change.

    Examples
    --------
    >>> sample_rows(1000, 5, seed=0).tolist()
    [61, 479, 774, 845, 971]
    >>> sample_rows(3, 5, seed=0).tolist()
    [0, 1, 2]
    """
    if rows >= total:
        return np.arange(total, dtype=np.int64)
    stream = np.random.PCG64(seed).random_raw(rows).tolist()
    chosen: set[int] = set()
    for top, raw in zip(range(total - rows, total), stream):
        candidate = raw % (top + 1)
        chosen.add(top if candidate in chosen else candidate)
    return np.array(sorted(chosen), np.int64)


def _silent(step: str, done: int, total: int) -> None:
    """No progress is shown."""


def _now() -> str:
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    try:
        moment = datetime.fromtimestamp(int(epoch), timezone.utc) if epoch else datetime.now(timezone.utc)
    except (ValueError, OverflowError, OSError):
        raise BaselineError(f"SOURCE_DATE_EPOCH must be seconds since 1970, got {epoch!r}") from None
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _shares(importance: Optional[Mapping[str, float]], names: Sequence[str]) -> dict[str, float]:
    return normalised(dict.fromkeys(names, 1.0) if importance is None else importance, names)


def _sample(table: ir.Table, columns: Sequence[Column], total: int, rows: int, seed: int) -> pa.Table:
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
    progress: Progress,
) -> tuple[FeatureBaseline, ...]:
    numeric = [column.place for column in columns if column.kind == "numeric"]
    samples = {place: _finite(sample[place]) for place in numeric}
    numbers = profiled(table, numeric, total, samples, progress)
    variation = of_numbers(spans, list(numbers.values()), total, progress) if spans else {}
    features: list[FeatureBaseline] = []
    for column in columns:
        if column.kind == "numeric":
            known = numbers[column.place]
            made = _number(column.name, known, total, samples[column.place], shares[column.name])
            features.append(replace(made, variation=variation.get(column.place, {})))
        else:
            progress("categories", len(features), len(columns))
            values = sample[column.place].to_pylist()
            features.append(_category(table, column, values, shares[column.name], spans))
    progress("categories", len(columns), len(columns))
    return tuple(features)


def _finite(values: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    array = np.array(values.to_numpy(), np.float64)
    array[~np.isfinite(array)] = np.nan
    return array


def _number(
    name: str, known: Numbers, total: int, sample: npt.NDArray[np.float64], importance: float
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


def _category(
    table: ir.Table, column: Column, sample: list[Any], importance: float, spans: Optional[Spans]
) -> CategoricalBaseline:
    values = table[column.place]
    counted = table.group_by(value=values).aggregate(rows=table.count()).limit(LARGEST_CATEGORIES + 2).to_pyarrow()
    raw = counted["value"].to_pylist()
    if len(raw) > LARGEST_CATEGORIES + 1:
        raise _too_many(table, column)
    keys = dict(zip(map(key_of, raw), spelled(raw, column.text)))
    tally: Counter[Optional[str]] = Counter()
    for value, rows in zip(raw, counted["rows"].to_pylist()):
        tally[keys[key_of(value)]] += rows
    missing = tally.pop(None, 0)
    if len(tally) > LARGEST_CATEGORIES:
        raise _too_many(table, column)
    categories = sorted((key for key in tally if key is not None), key=lambda key: (-tally[key], key))
    codes: dict[Optional[str], int] = {key: code for code, key in enumerate(categories)}
    counts = np.array([tally[key] for key in categories], np.int64)
    places = {value: codes.get(key, len(categories)) for value, key in keys.items()}
    return CategoricalBaseline(
        name=column.name,
        categories=tuple(categories),
        counts=counts,
        missing=missing,
        sample=np.array([codes.get(keys[key_of(value)], MISSING_CODE) for value in sample], np.uint16),
        importance=importance,
        variation=of_categories(spans, column.place, places, counts, missing) if spans else {},
    )


def _too_many(table: ir.Table, column: Column) -> BaselineError:
    advice = f"leave it out with --exclude {shlex.quote(column.name)}"
    if column.text:
        values = table[column.place]
        stray = table.filter(is_beyond(values, "float64")).select(value=values)
        found = stray.aggregate(rows=stray.count(), example=stray.value.min()).to_pyarrow().to_pylist()[0]
        if 0 < found["rows"] < LARGEST_CATEGORIES:
            advice += f", or make it numbers: {found['rows']} values such as {found['example'][:100]!r} are none"
    return BaselineError(
        f"column {column.name!r} must have at most {LARGEST_CATEGORIES} categories, got more; {advice}"
    )
