"""Streams in which nothing ever changes, though their rows are not independent; and streams of small true effects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Callable

import numpy as np
import numpy.typing as npt
from scipy.signal import lfilter

from traffic_study.traffic import DAY, Floats, Traffic

WEEK = 7 * DAY
BEGIN = float(np.floor(1.7e9 / WEEK) * WEEK)
"""Begin of a week of the epoch, a Thursday."""

_WEEKEND = (2, 3)
_REGIONS, _REGION_SHARES = list("ABCDEF"), (0.3, 0.25, 0.2, 0.15, 0.07, 0.03)
_CUTS = (-0.5, 0.2, 0.8, 1.4)
_CLIENT_ROWS, _CLIENTS_AT_ONCE = 50, 10

MEAN_EFFECT, STD_EFFECT, SHARE_EFFECT, MISSING_EFFECT = 0.25, 0.1, 0.05, 0.02
"""The default minimum effects: a mean in standard deviations, a standard deviation's ratio less 1, shares."""

Part = tuple[Any, ...]


def service(weeks: int, seed: int, per_minute: float = 20.0) -> Traffic:
    """A service with days, weekends, a job at night, a large client's sessions, and days that differ a little."""
    rng, parts = np.random.default_rng(seed), []
    for day in range(7 * weeks):
        scale = per_minute * (0.6 if day % 7 in _WEEKEND else 1.0)
        for times, *columns in (_visitors(rng, scale), _sessions(rng, scale), _nightly_job(rng)):
            parts.append((day * DAY + times, *columns))
    times, *columns = (np.concatenate([part[place] for part in parts]) for place in range(6))
    names = ("amount", "age", "score", "channel", "region")
    columns = [column.astype(object) if column.dtype.kind == "U" else column for column in columns]
    return Traffic.sorted(BEGIN + times, dict(zip(names, columns))).between(BEGIN, BEGIN + weeks * WEEK)


def _visitors(rng: np.random.Generator, per_minute: float) -> Part:
    """Visitors, most of them in the afternoon; in the evening more of them with mobile devices."""
    of_day, minutes = rng.normal(0, 0.05), np.arange(1440.0)
    rows = rng.poisson(per_minute * (0.15 + 1.3 * np.exp(-0.5 * ((minutes / 60 - 14) / 4) ** 2)))
    times = np.repeat(60 * minutes, rows) + 60 * rng.random(rows.sum())
    hours, n = times / 3600, len(times)
    evening, chance = np.exp(-0.5 * ((hours - 20) / 2.5) ** 2), rng.random(n)
    channel = np.where(chance < 0.2 + 0.4 * evening, "mobile", np.where(chance < 0.9 + 0.1 * evening, "web", "partner"))
    amount = 0.4 * np.sin(2 * np.pi * (hours - 9) / 24) + rng.normal(size=n) + of_day
    score = rng.normal(size=n) + 0.5 * (channel == "mobile")
    return times, amount, 40 + 12 * rng.normal(size=n), score, channel, _regions(rng, n)


def _sessions(rng: np.random.Generator, per_minute: float) -> Part:
    """Sessions of 50 rows that are alike, in about five minutes each."""
    sessions = rng.poisson(0.25 * per_minute * 720 / _CLIENT_ROWS)
    begins = 3600 * rng.normal(14, 4, sessions).clip(0, 23.5)
    shape = (sessions, _CLIENT_ROWS)
    times = np.repeat(begins, _CLIENT_ROWS) + np.cumsum(rng.exponential(6, shape), axis=1).ravel()
    alike, n = np.repeat(rng.normal(0, 0.7, sessions), _CLIENT_ROWS), sessions * _CLIENT_ROWS
    age = 40 + 12 * (0.5 * alike + rng.normal(0, 0.8, n))
    region = np.repeat(_regions(rng, sessions), _CLIENT_ROWS)
    return times, alike + rng.normal(0, 0.7, n), age, rng.normal(size=n), np.repeat("partner", n), region


def _nightly_job(rng: np.random.Generator, n: int = 1500) -> Part:
    """Twenty minutes from two o'clock on, with other amounts and many missing ages."""
    age = np.where(rng.random(n) < 0.3, np.nan, 40 + 12 * rng.normal(size=n))
    times = 2 * 3600 + 1200 * np.sort(rng.random(n))
    return times, rng.normal(-1, 0.6, n), age, rng.normal(size=n), np.repeat("batch", n), _regions(rng, n)


def _regions(rng: np.random.Generator, n: int) -> npt.NDArray[Any]:
    return rng.choice(_REGIONS, n, p=_REGION_SHARES)


def correlated(kind: str, days: int, seed: int, per_minute: float = 30.0) -> Traffic:
    """Three numeric features and a categorical one, each with the same distribution at all times.

    ``kind`` is ``independent``, ``ar 0.5`` (each row's value depends on the one before), ``blocks`` (50 rows of one
    client after another, of which half of the variance is the client's) or ``interleaved`` (10 such clients at once).
    """
    n, rng = int(days * 1440 * per_minute), np.random.default_rng(seed)
    values = [_values(kind, rng, n) for _ in range(4)]
    letters = np.array(list("abcde"), object)[np.searchsorted(_CUTS, values[3])]
    columns = {**{f"n{i}": values[i] for i in range(3)}, "c": letters}
    return Traffic.sorted(_evenly(n, per_minute), columns)


def _values(kind: str, rng: np.random.Generator, n: int) -> Floats:
    if kind == "independent":
        return rng.normal(size=n)
    if kind.startswith("ar "):
        rho = float(kind.removeprefix("ar "))
        noise = rng.normal(size=n) * np.sqrt(1 - rho**2)
        noise[0] /= np.sqrt(1 - rho**2)
        return np.asarray(lfilter([1], [1, -rho], noise))
    client = np.arange(n) // _CLIENT_ROWS
    if kind == "interleaved":
        group = np.arange(n) // (_CLIENT_ROWS * _CLIENTS_AT_ONCE)
        one = np.repeat(np.arange(_CLIENTS_AT_ONCE), _CLIENT_ROWS)
        # the clients' order is the same for all features, so it has a generator of its own
        order = np.random.default_rng(n).permuted(np.tile(one, (group[-1] + 1, 1)), axis=1).ravel()[:n]
        client = group * _CLIENTS_AT_ONCE + order
    return np.sqrt(0.5) * (rng.normal(size=client.max() + 1)[client] + rng.normal(size=n))


def small_effects(times_min_effect: float, days: int, seed: int, per_minute: float = 30.0) -> Traffic:
    """Independent rows; each feature but one differs from training by a part of its default minimum effect."""
    n, rng, k = int(days * 1440 * per_minute), np.random.default_rng(seed), times_min_effect
    other = rng.choice(np.array(list("bcd"), object), n)
    columns = {
        "mean": rng.normal(size=n) + MEAN_EFFECT * k,
        "std": rng.normal(size=n) * (1 + STD_EFFECT * k),
        "none": rng.normal(size=n),
        "share": np.where(rng.random(n) < 0.3 + SHARE_EFFECT * k, "a", other),
        "missing": np.where(rng.random(n) < 0.05 + MISSING_EFFECT * k, np.nan, rng.normal(size=n)),
    }
    return Traffic.sorted(_evenly(n, per_minute), columns)


def _evenly(n: int, per_minute: float) -> Floats:
    return np.asarray(BEGIN + np.arange(n) * 60 / per_minute)


@dataclass(frozen=True)
class Stream:
    """``training`` and ``production`` have seeds of their own; production begins at the same hour of the week."""

    name: str
    training: Callable[[], Traffic]
    production: Callable[[], Traffic]

    def cut(self) -> tuple[Traffic, Traffic]:
        training, production = self.training(), self.production()
        weeks = np.ceil((training.times[-1] - BEGIN) / WEEK)
        return training, Traffic(production.times + weeks * WEEK, production.columns)


def _pair(name: str, make: Callable[..., Traffic], *arguments: Any, days: Sequence[int]) -> Stream:
    return Stream(name, partial(make, *arguments, days[0], 1), partial(make, *arguments, days[1], 2))


STREAMS = {
    one.name: one
    for one in (
        _pair("service", service, days=(8, 8)),  # weeks
        *(
            _pair(kind, correlated, kind, days=(28, 30))
            for kind in ("independent", "ar 0.5", "ar 0.9", "blocks", "interleaved")
        ),
        *(
            Stream(
                f"{part:g} of the minimum effects, {rate} rows a minute",
                partial(small_effects, 0.0, 28, 1, rate),
                partial(small_effects, part, 30, 2, rate),
            )
            for part in (0.16, 0.38, 0.95)
            for rate in (10, 30)
        ),
    )
}
