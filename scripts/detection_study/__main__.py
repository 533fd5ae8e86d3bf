"""Measures, continuing where the last run stopped, and writes docs/detection.md: `scripts/detection --help`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from detection_study import cache, document, limit, onset, quiet, rare, same_rate, simulated
from detection_study.peers import run
from detection_study.peers.windows import DEFAULT_WINDOW, TOOLS

RESULTS = Path(__file__).with_name("results.json")
_NO_RESULTS: dict[str, Any] = {"quiet": {}, "same_rate": {}, "rare": {}, "onset": {}, "limit": {}, "p_values": {}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--training-rows", type=int, default=1_000_000, help="training rows of every baseline")
    parser.add_argument(
        "--streams", type=int, default=300, help="number of streams without drift; 0 keeps the results of the last run"
    )
    parser.add_argument("--rows", type=int, default=100_000, help="rows of each stream without drift")
    parser.add_argument(
        "--repetitions", type=int, default=400, help="repetitions of each shift; 0 keeps the results of the last run"
    )
    parser.add_argument(
        "--p-values", type=int, default=300_000, help="p-values of each simulation; 0 keeps the results of the last run"
    )
    parser.add_argument("--processes", type=int, default=2, help="processes that measure at the same time")
    parser.add_argument("--seed", type=int, default=1, help="random seed of all streams")
    parser.add_argument(
        "--peers", action="store_true", help="also measure the other tools, which takes hours and gigabytes of disk"
    )
    parser.add_argument(
        "--cache", type=Path, default=Path(".cache/detection"), help="folder for finished parts of the work"
    )
    arguments = parser.parse_args()
    results: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else _NO_RESULTS
    _measure(results, arguments)
    RESULTS.write_text(cache.readable(results))
    if arguments.peers:
        run.measure(arguments.cache, say=_say)

    document.write(results, json.loads(run.RESULTS.read_text()))
    _say("docs/detection.md is written")


def _measure(results: dict[str, Any], arguments: argparse.Namespace) -> None:
    training = arguments.training_rows
    name = f"{training}-{arguments.seed}-{cache.fingerprint()}.jsonl"
    common = {"processes": arguments.processes, "say": _say, "training_rows": training, "seed": arguments.seed}
    if arguments.streams:
        path = arguments.cache / f"quiet-{arguments.rows}-{name}"
        found = cache.collected(path, quiet.stream, range(arguments.streams), rows=arguments.rows, **common)
        results["quiet"][str(training)] = quiet.summary(found)
        path = arguments.cache / f"rare-{arguments.rows}-{name}"
        thresholds = json.loads(run.RESULTS.read_text())["windows"]["equal_thresholds"]["f15"][str(DEFAULT_WINDOW)]
        streams = range(max(1, arguments.streams // 10))
        found = cache.collected(
            path, rare.stream, streams, rows=arguments.rows, threshold=thresholds[TOOLS[2]], **common
        )
        results.setdefault("rare", {})[str(training)] = rare.summary(found)
    if arguments.repetitions:
        path = arguments.cache / f"same_rate-{arguments.rows}-{name}"
        streams = range(max(1, arguments.repetitions // 4) * len(same_rate.KINDS))
        found = cache.collected(path, same_rate.stream, streams, rows=arguments.rows, **common)
        results["clumping"] = clumping = same_rate.clumping()
        results.setdefault("same_rate", {})[str(training)] = same_rates = same_rate.summary(found, clumping["power"])
        budget_factors = {kind: round(one["budget_factor"], 2) for kind, one in same_rates.items()}
        path = arguments.cache / f"onset-{'-'.join(map(str, budget_factors.values()))}-{name}"
        found = cache.collected(
            path, onset.repetition, range(arguments.repetitions), budget_factors=budget_factors, **common
        )
        results["onset"][str(training)] = onset.summary(found)
    if arguments.p_values:
        results["p_values"] = simulated.measure(arguments.p_values, seed=arguments.seed, say=_say)
    if not results["limit"]:
        results["limit"] = limit.measure()


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
