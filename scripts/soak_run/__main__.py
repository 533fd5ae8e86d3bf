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
    parser = argparse.ArgumentParser(description="A real TorchServe under load whose workers die.")
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument(
        "--workers", type=int, default=4, help="of the model that is monitored, and of the one that is not"
    )
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--json", action="store_true", help="the report as JSON")
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
