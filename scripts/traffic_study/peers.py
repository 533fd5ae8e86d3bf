"""The rules of other tools on the same production, cut into hours or days: the share of batches that alarm."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Union

import numpy as np
import numpy.typing as npt
from scipy import stats

from detection_study.peers.rules import NumericReference, chi2_p, jensen_shannon
from traffic_study.traffic import DAY, Floats, Traffic

BATCHES = {"hour": 3600.0, "day": DAY}
FEWEST_ROWS = 30
"""Smaller batches are not compared."""

LEVEL = 0.05
EVIDENTLY_THRESHOLD, NANNYML_THRESHOLD, NANNYML_SIGMAS = 0.1, 0.1, 3.0
TOOLS = (
    "Evidently, a column",
    "Evidently, half of the columns",
    "NannyML, constant threshold",
    "NannyML, three standard deviations of the training chunks",
    "alibi-detect TabularDrift",
)


@dataclass(frozen=True, eq=False)
class Scores:
    """Of one column of one batch: Evidently's distance, NannyML's distance, alibi-detect's p-value."""

    evidently: float
    nannyml: float
    p_value: float


class Numeric:
    """By Wasserstein's distance / std, Jensen-Shannon over Doane's bins, and Kolmogorov-Smirnov."""

    def __init__(self, column: Floats) -> None:
        self._reference = NumericReference.of(column[np.isfinite(column)])

    def scores(self, batch: Floats) -> Scores:
        present = batch[np.isfinite(batch)]
        if len(present) < 2:
            return Scores(0.0, 0.0, 1.0)
        reference, m = self._reference, len(present)
        (wasserstein,) = reference.distances(present, m, m)[1]
        counts = np.bincount(reference.bin_of(present), minlength=len(reference.bin_shares))
        nannyml = float(jensen_shannon(reference.bin_shares, counts / m, 2.0))
        n, d = len(reference.values), _distance(reference.values, np.sort(present))
        return Scores(float(wasserstein), nannyml, float(stats.kstwo.sf(d, round(n * m / (n + m)))))


def _distance(reference: Floats, batch: Floats) -> float:
    """Kolmogorov-Smirnov's D of two sorted samples, which may have ties."""
    sides = [
        abs(reference.searchsorted(batch, side) / len(reference) - batch.searchsorted(batch, side) / len(batch)).max()
        for side in ("left", "right")
    ]
    return float(max(sides))


class Categorical:
    """By Jensen-Shannon (Evidently: to base e, NannyML: to base 2) and chi-squared. A missing value is a category."""

    def __init__(self, column: npt.NDArray[Any]) -> None:
        names, counts = np.unique(column.astype(str), return_counts=True)
        self._places, self._counts = {name: place for place, name in enumerate(names)}, np.append(counts, 0)
        self._shares = self._counts / len(column)

    def scores(self, batch: npt.NDArray[Any]) -> Scores:
        places = [self._places.get(name, len(self._places)) for name in batch.astype(str).tolist()]
        counts = np.bincount(places, minlength=len(self._counts))
        shares = counts / len(batch)
        natural, binary = (float(jensen_shannon(self._shares, shares, base)) for base in (None, 2.0))
        return Scores(natural, binary, float(chi2_p(self._counts, counts[None])[0]))


Reference = Union[Numeric, Categorical]


def measure(training: Traffic, production: Traffic) -> dict[str, dict[str, float]]:
    """For each length of batch and each tool, the share of production's batches that alarm."""
    references: Mapping[str, Reference] = {
        name: Numeric(column) if column.dtype.kind == "f" else Categorical(column)
        for name, column in training.columns.items()
    }
    found = {}
    for label, seconds in BATCHES.items():
        known = defaultdict(list)
        for scores in _scores(references, training, seconds):
            for name, score in scores.items():
                known[name].append(score.nannyml)
        limits = {name: np.mean(chunks) + NANNYML_SIGMAS * np.std(chunks) for name, chunks in known.items()}
        alarms = np.array([_alarms(scores, limits) for scores in _scores(references, production, seconds)])
        if len(alarms):
            found[label] = {"batches": len(alarms), **dict(zip(TOOLS, np.round(alarms.mean(axis=0), 4).tolist()))}
    return found


def _scores(references: Mapping[str, Reference], traffic: Traffic, seconds: float) -> Iterator[dict[str, Scores]]:
    edges = np.flatnonzero(np.diff(traffic.times // seconds, prepend=-np.inf) > 0).tolist()
    for begin, end in zip(edges, [*edges[1:], len(traffic)]):
        if end - begin >= FEWEST_ROWS:
            yield {name: one.scores(traffic.columns[name][begin:end]) for name, one in references.items()}


def _alarms(scores: Mapping[str, Scores], limits: Mapping[str, float]) -> tuple[bool, ...]:
    drifted = [score.evidently >= EVIDENTLY_THRESHOLD for score in scores.values()]
    return (
        any(drifted),
        sum(drifted) >= len(scores) / 2,
        any(score.nannyml > NANNYML_THRESHOLD for score in scores.values()),
        any(score.nannyml > limits.get(name, np.inf) for name, score in scores.items()),
        any(score.p_value < LEVEL / len(scores) for score in scores.values()),
    )
