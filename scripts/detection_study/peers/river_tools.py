"""river's ADWIN, KSWIN and Page-Hinkley, which get one row at a time. This module runs in river's own environment.

Each detector watches one feature and takes only numbers. A category is passed as its index, as a user would do it, and
an unseen category as the next index. Missing values are not possible.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from detection_study.marginals import MODEL, Categories, Floats
from detection_study.setting import FEATURE_RATE_ROWS, HORIZON_ROWS, WARM_UP_ROWS, delay_at_looks
from detection_study.shifts import SHIFTS, Shift
from detection_study.tails import threshold_for

SEEN = tuple(shift for shift in SHIFTS if not shift.name.startswith(("missing", "correlation")))
_DELTAS = (0.1, 0.03, 0.01, 0.003, 0.001)
_KSWIN_HISTORY, _KSWIN_REPETITIONS = 400, 5


def fed(name: str, values: Floats) -> Floats:
    """The feature's values as they are passed to river."""
    marginal = MODEL[name]
    return np.where(values < 0, len(marginal.shares), values) if isinstance(marginal, Categories) else values


def alarms(detector: Any, values: Iterable[float]) -> Iterator[int]:
    """The rows, from 1, at which ``detector`` reports drift."""
    update = detector.update
    for row, value in enumerate(values, 1):
        update(value)
        if detector.drift_detected:
            yield row


def alarms_per_million(detector: Any, name: str, rng: np.random.Generator, rows: int) -> float:
    """False alarms of ``detector`` per million rows of the feature ``name`` without drift."""
    return sum(1 for _ in alarms(detector, fed(name, MODEL[name].rows(rng, rows)).tolist())) / rows * 1e6


def adwin_rates(name: str, rows: int, seed: int) -> dict[float, float]:
    """False alarms of ADWIN per row of the feature, by delta."""
    from river.drift import ADWIN

    rates = {}
    for delta in _DELTAS:
        rng = np.random.default_rng([seed, round(delta * 1e6)])
        detector, count = ADWIN(delta=delta), 0
        for _ in range(rows // 1_000_000):
            count += sum(1 for _ in alarms(detector, fed(name, MODEL[name].rows(rng, 1_000_000)).tolist()))
        rates[delta] = count / rows
    return rates


def equal_delta(rates: dict[float, float]) -> float:
    """The delta with one alarm in `FEATURE_RATE_ROWS`: ln(rate) is fitted by a line in ln(delta) and extrapolated."""
    seen = {delta: rate for delta, rate in rates.items() if rate > 0}
    if len(seen) < 2:
        return 1 / FEATURE_RATE_ROWS
    slope, start = np.polyfit(np.log(list(seen)), np.log(list(seen.values())), 1)
    return float(np.exp((-math.log(FEATURE_RATE_ROWS) - start) / slope))


class PageHinkleys:
    """The larger of the two statistics of river's Page-Hinkley, for many streams at once and without its reset."""

    def __init__(self, streams: int, delta: float = 0.005, alpha: float = 1 - 0.0001) -> None:
        self._delta, self._alpha, self._n = delta, alpha, 0
        self._mean, self._up, self._down = np.zeros(streams), np.zeros(streams), np.zeros(streams)
        self._least, self._most = np.full(streams, np.inf), np.full(streams, -1.0)

    def update(self, values: Floats) -> Floats:
        """The statistics (streams,) after one more value of each stream."""
        self._n += 1
        self._mean += (values - self._mean) / self._n
        off = values - self._mean
        self._up = self._alpha * self._up + (off - self._delta)
        self._down = self._alpha * self._down + (off + self._delta)
        np.minimum(self._least, self._up, out=self._least)
        np.maximum(self._most, self._down, out=self._most)
        return np.maximum(self._up - self._least, self._most - self._down)


def page_hinkley_threshold(name: str, *, streams: int, rows: int, seed: int) -> float:
    """The threshold that the feature without drift crosses once in `FEATURE_RATE_ROWS`, in its first ``rows`` rows."""
    rng = np.random.default_rng(seed)
    detectors = PageHinkleys(streams)
    block, looks = 1_000, []
    for _ in range(rows // block):
        values = fed(name, MODEL[name].rows(rng, block * streams)).reshape(block, streams)
        most = np.zeros(streams)
        for row in values:
            np.maximum(most, detectors.update(row), out=most)
        looks.append(most)
    return threshold_for(np.array(looks).T, streams * rows / FEATURE_RATE_ROWS, power=2)


def delays(make: Any, shift: Shift, repetitions: int, *, before: int, after: int, seed: int) -> list[int | None]:
    """Rows from the onset to the first alarm after it, at looks; ``make(seed)`` gives a fresh detector."""
    found = []
    name = shift.features[0]
    for repetition in range(repetitions):
        rng = np.random.default_rng([seed, repetition, SHIFTS.index(shift)])
        detector = make(repetition)
        for _ in alarms(detector, fed(name, MODEL[name].rows(rng, before)).tolist()):
            pass
        drifted = shift.change(rng, MODEL[name].rows(rng, after)[:, None])[:, 0]
        found.append(delay_at_looks(next(alarms(detector, fed(name, drifted).tolist()), None)))
    return found


def measure(repetitions: int, scale: float = 1.0) -> dict[str, object]:
    """For all detectors: settings for the same rate, false alarms by feature with the default settings, and delays."""
    from river.drift import ADWIN, KSWIN, PageHinkley

    names = list(dict.fromkeys(shift.features[0] for shift in SEEN))
    rates = {name: adwin_rates(name, int(20_000_000 * scale), 21) for name in names}
    deltas = {name: equal_delta(found) for name, found in rates.items()}
    thresholds = {
        name: page_hinkley_threshold(name, streams=1_000, rows=int(200_000 * scale), seed=22) for name in names
    }
    # of each row's test the p-value is at most alpha with at most this probability: the union bound over the rows
    alpha = 1 / FEATURE_RATE_ROWS
    rng = np.random.default_rng(23)
    result: dict[str, object] = {
        "version": version("river"),
        "adwin_rates": rates,
        "equal": {"ADWIN": deltas, "PageHinkley": thresholds, "KSWIN": dict.fromkeys(names, alpha)},
        "default_alarms_per_million_rows": {
            label: {name: alarms_per_million(make(), name, rng, int(rows * scale)) for name in names}
            for label, make, rows in (
                ("ADWIN", ADWIN, 10_000_000),
                ("PageHinkley", PageHinkley, 1_000_000),
                ("KSWIN", KSWIN, 50_000),
            )
        },
    }
    found: dict[str, dict[str, dict[str, list[int | None]]]] = {}
    long = {"before": WARM_UP_ROWS, "after": HORIZON_ROWS, "seed": 24}
    short = {"before": _KSWIN_HISTORY, "after": HORIZON_ROWS, "seed": 25}
    for shift in SEEN:
        name = shift.features[0]
        found[shift.name] = {
            "ADWIN": {
                "default": delays(lambda _: ADWIN(), shift, repetitions, **long),
                "equal": delays(lambda _, d=deltas[name]: ADWIN(delta=d), shift, repetitions, **long),
            },
            "PageHinkley": {
                "default": delays(lambda _: PageHinkley(), shift, repetitions, **long),
                "equal": delays(lambda _, t=thresholds[name]: PageHinkley(threshold=t), shift, repetitions, **long),
            },
            "KSWIN": {
                "default": delays(lambda seed: KSWIN(seed=seed), shift, _KSWIN_REPETITIONS, **short),
                "equal": delays(lambda seed: KSWIN(alpha=alpha, seed=seed), shift, _KSWIN_REPETITIONS, **short),
            },
        }
    result["delays"] = found
    return result


def main(arguments: Sequence[str]) -> None:
    Path(arguments[0]).write_text(json.dumps(measure(int(arguments[1]))))


if __name__ == "__main__":
    main(sys.argv[1:])
