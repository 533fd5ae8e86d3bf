"""A baseline from half of a year's flights, and what drifts in the other half and in another year, month by month."""

from __future__ import annotations

import csv
import gzip
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from torchserve_drift import Baseline, check
from torchserve_drift.training.build import build

TIME = ("month", "day")
UNKNOWN_AT_DEPARTURE = ("year", "dep_delay", "arr_delay", "air_time")
KNOWN_YEAR, OTHER_YEAR = 2013, 2023

Flight = Mapping[str, str]


@dataclass(frozen=True)
class Drifted:
    """The features that drifted in a month (0: the whole year), under default and under learned minimum effects."""

    year: int
    month: int
    default: tuple[str, ...]
    learned: tuple[str, ...]


def load(path: Path) -> list[Flight]:
    with gzip.open(path, "rt", newline="") as file:
        return list(csv.DictReader(file))


def halves(flights: Sequence[Flight], first: int = 0) -> tuple[list[Flight], list[Flight]]:
    """Every second flight of `KNOWN_YEAR`, beginning with number ``first`` (0 or 1), and all other flights."""
    of_year = [flight for flight in flights if int(flight["year"]) == KNOWN_YEAR]
    later = [flight for flight in flights if int(flight["year"]) != KNOWN_YEAR]
    return of_year[first::2], of_year[1 - first :: 2] + later


def known(training: Sequence[Flight]) -> Baseline:
    """The baseline of ``training``, built with its times."""
    with tempfile.TemporaryDirectory(prefix="seasons-") as folder:
        path = Path(folder) / "training.csv"
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(training[0]))
            writer.writeheader()
            writer.writerows(training)
        return build(path, exclude=UNKNOWN_AT_DEPARTURE, time=TIME, created="2024-01-01T00:00:00Z")


def drifted(baseline: Baseline, flights: Sequence[Flight]) -> list[Drifted]:
    """The verdicts on each month of ``flights``; the verdict on a whole year comes after its months."""
    found = []
    for year in sorted({int(flight["year"]) for flight in flights}):
        for month in (*range(1, 13), 0):
            rows = [f for f in flights if int(f["year"]) == year and month in (0, int(f["month"]))]
            default, learned = (_names(baseline, rows, effect) for effect in ({}, "learned"))
            found.append(Drifted(year, month, default, learned))
    return found


def _names(baseline: Baseline, flights: Sequence[Flight], min_effect: object) -> tuple[str, ...]:
    columns = {
        feature.name: [_value(flight[feature.name], feature.kind) for flight in flights] for feature in baseline.schema
    }
    report = check(baseline, columns, {"alarms": {"min_effect": min_effect}})
    return tuple(sorted(f.name for f in report.features if any(window.drifted for window in f.windows.values())))


def _value(text: str, kind: str) -> object:
    if kind == "numeric":
        return float(text) if text else np.nan
    return text or None
