"""The flights: the columns that the model gets, and how the rows are divided."""

from __future__ import annotations

import csv
import gzip
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Union

CATEGORICAL = ("carrier", "origin", "dest")
LABEL = "late"
LATE_MINUTES = 15
# Columns that are known only after the flight, and the year, which the model must not use.
_HIDDEN = ("year", "dep_delay", "arr_delay", "air_time")

Flight = dict[str, Union[float, int, str, None]]


def load(path: Path) -> tuple[list[Flight], list[Flight]]:
    """The flights of 2013 and of 2023, each in a random order that is the same in every run."""
    by_year: dict[str, list[Flight]] = {"2013": [], "2023": []}
    with gzip.open(path, "rt", newline="") as file:
        for row in csv.DictReader(file):
            if row["arr_delay"]:
                by_year[row["year"]].append(_flight(row))
    for flights in by_year.values():
        random.Random(2013).shuffle(flights)
    return by_year["2013"], by_year["2023"]


def features(flight: Flight) -> Flight:
    """The features of the flight as the body of a request."""
    return {name: value for name, value in flight.items() if name != LABEL}


def write_csv(path: Path, flights: Sequence[Flight]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(flights[0]))
        writer.writeheader()
        writer.writerows(flights)


def _flight(row: dict[str, str]) -> Flight:
    flight: Flight = {name: _value(name, text) for name, text in row.items() if name not in _HIDDEN}
    flight[LABEL] = int(float(row["arr_delay"]) > LATE_MINUTES)
    return flight


def _value(name: str, text: str) -> Union[float, int, str, None]:
    if not text:
        return None
    if name in CATEGORICAL:
        return text
    return int(text) if text.isdecimal() else float(text)
