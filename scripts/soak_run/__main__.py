"""Runs the soak and prints its report; the exit code is 1 if a promise is broken."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from soak_run.promises import table
from soak_run.run import Plan, soak


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Kills workers of a real TorchServe under load, and checks the promises."
    )
    parser.add_argument("--minutes", type=float, default=5, help="duration of the load")
    parser.add_argument(
        "--workers", type=int, default=4, help="workers of the monitored model, and of the one without monitoring"
    )
    parser.add_argument("--kills", type=int, default=20, help="number of kills")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        outcome = soak(Plan(arguments.minutes * 60, arguments.workers, arguments.kills), Path(folder))
    if arguments.json:
        print(json.dumps([{**asdict(line), "kept": line.kept} for line in outcome.lines], indent=2))
    else:
        what = f"{arguments.minutes:g} minutes, {arguments.workers} workers, {arguments.kills} kills"
        Console(width=110).print(table(what, outcome.lines), outcome.memory)
    return 0 if all(line.kept for line in outcome.lines) else 1


if __name__ == "__main__":
    sys.exit(main())
