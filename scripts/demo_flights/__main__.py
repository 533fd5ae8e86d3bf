"""Train, pack, serve, replay, report."""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console

from demo_flights import flights, model, report
from demo_flights.flights import Flight
from demo_flights.replay import replay
from demo_flights.series import FromPort, FromPrometheus, Series, only
from servers import TorchServe, free_ports, has_prometheus, prometheus, torchserve, wait_for
from torchserve_drift import Baseline

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data" / "flights.csv.gz"
TRAINING, FIRST, SECOND = 3500, 1500, 3000
NAME = "late_flights"
WINDOW, ALL = "2000 rows", "10m"
CONFIG = """\
minWorkers: 2
maxWorkers: 2
drift:
  baseline: baseline.safetensors
  windows: ["{window}", {all}]
  min_rows: 200
  evaluate_every: 2s
  export:
    address: "127.0.0.1:{port}"
"""

# When the output is piped, rich would cut the tables to 80 columns.
console = Console(highlight=False, width=None if sys.stdout.isatty() else 110)


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/demo", description=flights.__doc__)
    parser.add_argument("--keep", action="store_true", help="leave the servers running until Ctrl-C")
    keep = parser.parse_args().keep
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # an exception, so that the servers are ended
    with tempfile.TemporaryDirectory(prefix="demo-") as folder:
        return run(Path(folder), keep)


def run(folder: Path, keep: bool) -> int:
    old, new = flights.load(DATA)
    training, same_year, decade_later = old[:TRAINING], old[TRAINING : TRAINING + FIRST], new[:SECOND]
    (port,) = free_ports(1)
    prepare(folder, training, port)
    with serving(folder, port) as (server, series):
        console.print(f"  the tables below are from {series.source}\n")
        first = act(server, series, same_year, 0, f"{FIRST:,} flights of 2013 that the model has not seen")
        second = act(server, series, decade_later, FIRST, f"{SECOND:,} flights of 2023")
        name_unseen(folder, decade_later)
        if keep:
            look(server, series, port)
            with contextlib.suppress(KeyboardInterrupt):
                threading.Event().wait()
        else:
            step("To look at the page, the metrics and the JSON, leave the servers running: scripts/demo --keep")
    if first or "carrier" not in second:
        console.print(f"[bold red]expected no drift in 2013 and the carrier in 2023, got {first} and {second}[/]")
        return 1
    return 0


def prepare(folder: Path, training: Sequence[Flight], port: int) -> None:
    """Make an archive from the flights, with the commands that a user would run."""
    step(f"Training on {len(training):,} flights of 2013: late by more than {flights.LATE_MINUTES} minutes or not?")
    flights.write_csv(folder / "training.csv", training)
    (folder / "model-config.yaml").write_text(CONFIG.format(port=port, window=WINDOW, all=ALL))
    build = ("baseline", "training.csv", "-o", "flights.safetensors", "--label", flights.LABEL)
    # The model needs the order and the categories of the features, and the importance of features needs the model: so
    # the baseline is built twice.
    command(folder, *build, quiet=True)
    baseline = Baseline.load(folder / "flights.safetensors")
    trained = model.train(training, baseline, folder / "model.pt")
    model.write_importance(folder / "importance.json", trained, training, baseline.schema)
    step("Building the baseline and the archive")
    command(folder, *build, "--importance", "importance.json")
    (folder / "model_store").mkdir()
    command(
        *(folder, "archive", "--model-name", NAME, "--version", "1.0", "--serialized-file", "model.pt"),
        *("--baseline", "flights.safetensors", "--config-file", "model-config.yaml", "--export-path", "model_store"),
    )


@contextlib.contextmanager
def serving(folder: Path, port: int) -> Iterator[tuple[TorchServe, Series]]:
    step("Starting TorchServe with two workers")
    with contextlib.ExitStack() as running:
        config = dict(
            line.split("=", 1)
            for line in (ROOT / "config.properties").read_text().splitlines()
            if line[:1] not in ("", "#")
        )
        ours = {
            key: value for key, value in config.items() if not key.endswith("_address") and not key.startswith("grpc_")
        }
        server = running.enter_context(torchserve(folder / "model_store", {NAME: f"{NAME}.mar"}, ours))
        if has_prometheus():
            step("Starting Prometheus, which scrapes every second")
            yield server, FromPrometheus(running.enter_context(prometheus([f"127.0.0.1:{port}"])))
        else:
            step("No Prometheus on this machine: the demo scrapes by itself")
            yield server, FromPort(f"http://127.0.0.1:{port}/metrics")


def act(server: TorchServe, series: Series, rows: Sequence[Flight], before: int, title: str) -> set[str]:
    """Replay flights, wait until an evaluation covers all of them, show it, and return the features that drifted."""
    step(f"Replaying {title}")
    probabilities, median_seconds = replay(server.inference, NAME, rows)
    expected = before + len(rows)
    wait_for("an evaluation of all rows", lambda: only(series, "window_rows", window=ALL) == expected, 60, 0.2)
    late = [bool(flight[flights.LABEL]) for flight in rows]
    quality = f"AUC of the model on these flights: {model.auc(probabilities, late):.2f}"
    caption = f"{quality}; median request {median_seconds * 1000:.1f} ms"
    report.show(console, series, WINDOW, title, caption)
    return report.drifted(series, WINDOW)


def name_unseen(folder: Path, rows: Sequence[Flight]) -> None:
    """Name the unknown categories with an offline check of the rows: the port never shows categories of requests."""
    step("Which carriers are new? The same checks, offline, on the rows just sent:")
    flights.write_csv(folder / "rows.csv", [flights.features(flight) for flight in rows])
    answer = json.loads(command(folder, "check", "flights.safetensors", "rows.csv", "--json", quiet=True, codes=(0, 1)))
    for feature in answer["features"]:
        if feature.get("unseen"):
            named = ", ".join(f"{name} {share:.1%}" for name, share in list(feature["unseen"].items())[:8])
            console.print(f"  {feature['name']}: not in the baseline: {named}")
    console.print()


def look(server: TorchServe, series: Series, port: int) -> None:
    step("The servers are running. Open these addresses; Ctrl-C stops everything")
    console.print(f"  the page                http://127.0.0.1:{port}/")
    console.print(f"  metrics                 http://127.0.0.1:{port}/metrics")
    console.print(f"  the report as JSON      http://127.0.0.1:{port}/api/v1/models")
    console.print(f"  in the terminal         .venv/bin/torchserve-drift status http://127.0.0.1:{port}")
    console.print(f"  the tables' source      {series.source}, metrics torchserve_drift_*")
    console.print(f"  TorchServe              {server.inference}/predictions/{NAME}, log in {server.log}")


def step(text: str) -> None:
    console.print(f"[bold cyan]==>[/] {text}")


def command(folder: Path, *arguments: str, quiet: bool = False, codes: Sequence[int] = (0,)) -> str:
    """Run `torchserve-drift` in ``folder`` and return what it prints."""
    if not quiet:
        console.print(f"  $ torchserve-drift {' '.join(arguments)}", soft_wrap=True)
    program = [sys.executable, "-c", "from torchserve_drift.cli import main; main()", *arguments]
    done = subprocess.run(program, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode not in codes:
        raise RuntimeError(f"torchserve-drift {arguments[0]} ended with {done.returncode}: {done.stderr}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
