"""Replays public data in time order, continuing where the last run stopped, and writes docs/traffic.md."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from traffic_study import document, steps
from traffic_study.data_sets import DATA_SETS
from traffic_study.synthetic import STREAMS

RESULTS = Path(__file__).with_name("results.json")


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/detection traffic", description=__doc__)
    every = [*DATA_SETS, *STREAMS]
    parser.add_argument("--sets", default=",".join(every), help="data sets and streams, with commas; default: all")
    parser.add_argument("--steps", default=",".join(steps.STEPS), help="what to measure, with commas; default: all")
    parser.add_argument("--days", type=float, default=150, help="most days of production of each set")
    parser.add_argument("--again", action="store_true", help="measure also what results.json holds already")
    parser.add_argument("--events", type=Path, help="folder for a file with every event of every replay")
    arguments = parser.parse_args()
    results: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name in arguments.sets.split(","):
        wanted = [
            step
            for step in arguments.steps.split(",")
            if (arguments.again or name not in results.get(step, {})) and steps.concerns(step, name)
        ]
        if not wanted:
            continue
        training, production = steps.cut(name, arguments.days)
        for step in wanted:
            began = time.perf_counter()
            found = steps.STEPS[step](name, training, production, arguments.events)
            results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}  # other runs may have added to it
            results.setdefault(step, {})[name] = found
            RESULTS.write_text(steps.readable(results))
            _say(f"{step} {name}: {time.perf_counter() - began:.0f} s {json.dumps(found)[:400]}")
    document.write(results)
    _say("docs/traffic.md is written")


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
