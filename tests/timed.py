"""Baselines with time profiles, hand-made or learnt, and streams of rows over days through a real monitor."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from baselines import baseline
from torchserve_drift import Monitor
from torchserve_drift.baseline.baseline import Baseline
from torchserve_drift.baseline.channels import names_of, own_categories
from torchserve_drift.baseline.profile import FeatureBaseline, NumericBaseline
from torchserve_drift.baseline.time_profile import GROUPS, HOURS, LENGTHS, TESTED_LENGTHS, TimeProfile
from torchserve_drift.training.time_learning import encoded, with_time_profiles
from torchserve_drift.verdicts.report import Report
from torchserve_drift.window.hours import hour_of

DAY = 86400.0
START = 1_699_488_000.0
"""A Thursday, at 00:00 UTC."""


def hand_made(
    feature: FeatureBaseline, values: np.ndarray, times: np.ndarray, rho: float = 0.0, freedom: float = 1e9
) -> TimeProfile:
    """Of training rows, whose correlation ``rho`` is the same at all lengths and known with ``freedom``."""
    channels, hours = len(names_of(feature)), hour_of(times)
    known = np.isfinite(values)
    if isinstance(feature, NumericBaseline):
        bins = len(feature.edges)
        place = np.searchsorted(feature.edges, np.where(known, values, 0))
    else:
        bins = own_categories(feature) + 1
        place = np.minimum(np.where(known, values, 0), bins - 1).astype(int)
    counts = np.zeros((HOURS, bins), np.int64)
    np.add.at(counts, (hours[known], place[known]), 1)
    steps = np.zeros((len(LENGTHS), channels))
    steps[-1] = rho
    return TimeProfile(
        counts=counts,
        missing=np.bincount(hours[~known], minlength=HOURS),
        unfamiliar=np.zeros(HOURS, np.int64),
        groups=np.zeros(HOURS, np.int64),
        correlation=np.full((len(TESTED_LENGTHS), GROUPS, channels), rho),
        steps=steps,
        freedom=np.full((len(LENGTHS), channels), freedom),
        tail=np.ones((len(TESTED_LENGTHS), channels)),
        clustering=np.zeros(channels),
    )


def with_hand_made(
    columns: Mapping[str, Sequence[Any]], times: np.ndarray, rho: float = 0.0, freedom: float = 1e9
) -> Baseline:
    """A baseline of ``columns`` whose features all have hand-made time profiles."""
    plain = baseline(columns)
    features = tuple(
        replace(f, time=hand_made(f, encoded(f, columns[f.name]), times, rho, freedom)) for f in plain.features
    )
    return replace(plain, features=features)


def learnt(columns: Mapping[str, Sequence[Any]], times: np.ndarray) -> Baseline:
    """A baseline of ``columns`` with the time profiles that training learns."""
    return with_time_profiles(baseline(columns), columns, times)


Draw = Callable[[np.random.Generator, np.ndarray], Mapping[str, np.ndarray]]
"""Columns of the rows at times (n,)."""


@dataclass
class Stream:
    """Production rows, ``rate`` a minute, through a monitor that looks every ``every`` seconds."""

    known: Baseline
    draw: Draw
    rate: float = 2.0
    every: float = 1800.0
    settings: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 1
    now: float = START + 70 * DAY

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        section = {"evaluate_every": f"{int(self.every)}s", **self.settings}
        self.monitor = Monitor(self.known, section, clock=lambda: self.now, seed=0)

    def look(self) -> Report:
        """The report after the next rows, which come in ten batches."""
        for _ in range(10):
            self.now += self.every / 10
            count = self.rng.poisson(self.rate * self.every / 600)
            if count:
                times = np.full(count, self.now)
                self.monitor.observe(dict(self.draw(self.rng, times)))
        return self.monitor.evaluate()

    def alarms(self, days: float) -> list[tuple[str, str, str]]:
        """The checks that fail in ``days``, as (feature, window, check)."""
        return [
            (feature.name, label, name)
            for _ in range(int(days * DAY / self.every))
            for feature in self.look().features
            for label, window in feature.windows.items()
            for name, check in window.checks.items()
            if check.failed
        ]
