"""What the training rows' times say of a feature: its time profile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from torchserve_drift.baseline.profile import FeatureBaseline, NumericBaseline, Profile
from torchserve_drift.baseline.time_profile import TimeProfile
from torchserve_drift.errors import BaselineError
from torchserve_drift.features.schema import category_key
from torchserve_drift.stats.arrays import Floats, Indices
from torchserve_drift.training.time_channels import FeatureRows, channels_of, feature_rows
from torchserve_drift.training.time_correlation import Correlation, Dispersion, correlation_by_length, deviations_of
from torchserve_drift.training.time_distribution import distribution_channel
from torchserve_drift.training.time_grid import TimeGrid, time_grid, unfit
from torchserve_drift.training.time_requests import clustering_of
from torchserve_drift.training.time_tail import tail_exponents

AnyProfile = TypeVar("AnyProfile", bound=Profile)


def learn_time_profile(feature: FeatureBaseline, times: Floats, values: Floats) -> TimeProfile:
    """The time profile of ``feature``, from the training rows that have a time.

    Parameters
    ----------
    times
        (n,) epoch seconds of the rows, in rising order; rows of the same time arrived in one request.
    values
        (n,) numbers, or indices of categories (-1 for one that the feature does not have); NaN where missing.

    Raises
    ------
    BaselineError
        When the times span less than two weeks, or do not tell hours apart.

    Notes
    -----
    Linear in the rows. The memory is about 50 bytes a row, and 100 bytes for each 150 seconds of training time.
    """
    reason = unfit(times)
    if reason:
        raise BaselineError(f"feature {feature.name!r} can have no time profile: {reason}")
    return profile_on_grid(feature, time_grid(times), values)


def profile_on_grid(feature: FeatureBaseline, grid: TimeGrid, values: Floats) -> TimeProfile:
    """As `learn_time_profile`, for rows whose ``grid`` is known: all features share it."""
    rows = feature_rows(feature, grid, values)
    clustering = clustering_of(rows)
    group = _groups(rows, grid, clustering)
    correlations: list[Correlation] = []
    tails: list[Floats] = []
    for channel, alike in zip(channels_of(rows), clustering.tolist()):
        found = [(windows, deviations_of(channel, windows, alike)) for windows in grid.windows]
        correlations.append(correlation_by_length(found, group, grid))
        tails.append(tail_exponents(channel, found, correlations[-1], group, grid))
    if rows.is_numeric:
        correlation, tail = distribution_channel(rows.values, float(clustering[0]), correlations[0].freedom)
        correlations.append(correlation)
        tails.append(tail)
        clustering = np.append(clustering, clustering[0])
    return TimeProfile(
        counts=rows.values.table.sum(axis=0)[:, : rows.bins],
        missing=rows.missing.table.sum(axis=0)[:, 1],
        unfamiliar=rows.unfamiliar.table.sum(axis=0)[:, 1],
        groups=group.astype(np.int64),
        correlation=_as_stored(np.stack([each.by_group for each in correlations], axis=-1)),
        steps=_as_stored(np.stack([each.steps for each in correlations], axis=-1)),
        freedom=_as_stored(np.stack([each.freedom for each in correlations], axis=-1)),
        tail=_as_stored(np.stack(tails, axis=-1)),
        clustering=_as_stored(clustering),
    )


def _groups(rows: FeatureRows, grid: TimeGrid, clustering: Floats) -> Indices:
    dispersion = Dispersion(grid)
    for channel, alike in zip(channels_of(rows), clustering.tolist()):
        dispersion.add(channel, alike)
    return dispersion.groups(rows.missing.table.sum(axis=(0, 2)).astype(np.float64))


def _as_stored(values: Floats) -> Floats:
    """``values`` as the artifact holds them, so that a profile does not change when it is saved."""
    return values.astype(np.float32).astype(np.float64)


def with_time_profiles(baseline: AnyProfile, columns: Mapping[str, Sequence[Any]], times: Floats) -> AnyProfile:
    """``baseline`` with the time profile of each feature, from its training data in memory.

    Parameters
    ----------
    columns
        Feature name to values (n,), as `Baseline.from_columns` takes them.
    times
        (n,) epoch seconds, in any order; rows that are NaN here teach nothing of time.

    Raises
    ------
    BaselineError
        As `learn_time_profile`.
    """
    known = np.flatnonzero(np.isfinite(times))
    order = known[np.argsort(times[known], kind="stable")]
    reason = unfit(times[order])
    if reason:
        raise BaselineError(f"a baseline can have no time profiles: {reason}")
    grid = time_grid(times[order])
    features = tuple(
        replace(feature, time=profile_on_grid(feature, grid, encoded(feature, columns[feature.name])[order]))
        for feature in baseline.features
    )
    return replace(baseline, features=features)


def encoded(feature: FeatureBaseline, values: Sequence[Any]) -> Floats:
    """Training values (n,) as numbers, or as indices of categories; NaN where missing."""
    if isinstance(feature, NumericBaseline):
        column = values.tolist() if isinstance(values, np.ndarray) and values.dtype == object else values
        return np.array([np.nan if value is None else value for value in column], np.float64)
    places: dict[Any, float] = {category: float(i) for i, category in enumerate(feature.categories)}
    places[None] = np.nan
    plain = values.tolist() if isinstance(values, np.ndarray) else values
    return np.array([places.get(category_key(value), -1.0) for value in plain], np.float64)
