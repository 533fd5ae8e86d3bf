"""The parts of the study: each measures one thing on one data set or stream, for results.json."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Callable, Optional

import numpy as np

from traffic_study import clock_errors, peers, power, strips
from traffic_study.baselines import baseline_of
from traffic_study.data_sets import DATA_SETS
from traffic_study.outages import known_and_other
from traffic_study.replay import replay
from traffic_study.synthetic import STREAMS
from traffic_study.traffic import DAY, Traffic

FINE_SECONDS = 15.0
FINE_SETS = ("nyc_flights", "bikes", "online_retail", "service", "blocks")
FINE_DAYS = 14
POWER_SETS = ("nyc_flights", "nyc_weather", "bikes", "online_retail", "service", "independent")
CLOCK_SETS = ("nyc_flights", "bikes", "service")

Step = Callable[[str, Traffic, Traffic, Optional[Path]], dict[str, Any]]


def cut(name: str, days: float) -> tuple[Traffic, Traffic]:
    """Training data and the first ``days`` of production of a data set or stream."""
    training, production = DATA_SETS[name].traffic().cut() if name in DATA_SETS else STREAMS[name].cut()
    midnight = float(np.floor(production.times[0] / DAY)) * DAY
    return training, production.between(-np.inf, midnight + days * DAY)


def concerns(step: str, name: str) -> bool:
    """Whether ``step`` measures anything of the set ``name``."""
    if step.startswith("fine"):
        return name in FINE_SETS
    if step.startswith("power"):
        return name in POWER_SETS
    if step.startswith("picture"):
        return name == strips.SET
    if step == "clock":
        return name in CLOCK_SETS
    return step != "peers" or name in DATA_SETS or name == "service"


def _replay(
    name: str, training: Traffic, production: Traffic, events: Optional[Path], *, with_times: bool
) -> dict[str, Any]:
    found = replay(baseline_of(training, with_times=with_times), production)
    if events is not None:
        _keep(events / f"{name}-{'after' if with_times else 'before'}.jsonl", found.events)
    return {**found.summary(), **known_and_other(name, found.events, production)}


def _picture(
    _name: str, training: Traffic, production: Traffic, _events: Optional[Path], *, with_times: bool
) -> dict[str, Any]:
    seen = strips.Strips()
    part = production.between(*strips.seen_between())
    replay(baseline_of(training, with_times=with_times), part, seen=seen)
    return {"begin": strips.BEGIN, "rows": seen.rows(part), "drifted": seen.plain()}


def _fine(
    _name: str, training: Traffic, production: Traffic, _events: Optional[Path], *, with_times: bool
) -> dict[str, Any]:
    baseline = baseline_of(training, with_times=with_times)
    part = production.between(-np.inf, production.times[0] + FINE_DAYS * DAY)
    return replay(baseline, part, every=FINE_SECONDS).summary()


def _power(
    _name: str, training: Traffic, production: Traffic, _events: Optional[Path], *, with_times: bool
) -> dict[str, Any]:
    return power.measure(baseline_of(training, with_times=with_times), training, production)


def _clock(_name: str, training: Traffic, production: Traffic, _events: Optional[Path]) -> dict[str, Any]:
    return clock_errors.measure(baseline_of(training, with_times=True), production)


def _peers(_name: str, training: Traffic, production: Traffic, _events: Optional[Path]) -> dict[str, Any]:
    return peers.measure(training, production)


STEPS: Mapping[str, Step] = {
    "before": partial(_replay, with_times=False),
    "after": partial(_replay, with_times=True),
    "picture_before": partial(_picture, with_times=False),
    "picture": partial(_picture, with_times=True),
    "peers": _peers,
    "power_before": partial(_power, with_times=False),
    "power": partial(_power, with_times=True),
    "clock": _clock,
    "fine_before": partial(_fine, with_times=False),
    "fine": partial(_fine, with_times=True),
}


def _keep(path: Path, events: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({**asdict(event), "at": str(np.datetime64(int(event.time), "s"))}) for event in events]
    path.write_text("".join(line + "\n" for line in lines))


def readable(results: Any) -> str:
    """JSON with a line for each innermost list or object."""
    text = json.dumps(results, indent=1, ensure_ascii=False)
    return re.sub(r"[\[{][^\[\]{}]*[\]}]", lambda found: re.sub(r"\s+", " ", found[0]), text) + "\n"
