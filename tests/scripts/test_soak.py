"""A short soak: it runs, and keeps the promises that a short run can check."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.table import Table

pytestmark = [pytest.mark.faults, pytest.mark.server, pytest.mark.slow]

ROOT = Path(__file__).parents[2]


def test_a_short_soak_loses_no_row_and_leaves_nothing_behind():
    paths = os.pathsep.join(str(ROOT / folder) for folder in ("scripts", "tests", "handler"))
    command = [sys.executable, "-m", "soak_run", "--minutes", "0.4", "--workers", "2", "--kills", "2", "--json"]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.stdout, done.stderr
    lines = {line["what"]: line for line in json.loads(done.stdout)}
    broken = {what: line["value"] for what, line in lines.items() if not line["kept"]}
    assert done.returncode == (1 if broken else 0)
    # A few short slices on a busy machine do not measure latency.
    assert {what: value for what, value in broken.items() if not what.startswith("p99")} == {}
    assert lines["workers killed"]["value"] == 2
    assert lines["rows answered"]["value"] > 200
    assert lines["answers checked"]["value"] > 20
    assert lines["garbage sent"]["value"] > 5
    assert lines["scrapes"]["value"] > 5


def test_a_broken_promise_is_shown_and_the_exit_code_is_1(monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import soak_run.__main__ as program
    from soak_run.promises import Measured
    from soak_run.run import SoakResult

    def soak(lost: float) -> int:
        lines = [Measured("rows lost", lost, 0), Measured("rows", 5)]
        monkeypatch.setattr(program, "soak", lambda plan, folder: SoakResult(lines, Table()))
        monkeypatch.setattr(sys, "argv", ["soak"])
        return program.main()

    assert soak(0) == 0
    assert "BROKEN" not in capsys.readouterr().out
    assert soak(1) == 1
    assert "BROKEN" in capsys.readouterr().out
