"""The catalogue has all that the package needs to know about a check: a new check is a declaration and a class."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from torchserve_drift.checks.catalogue import CHECKS, HEADLINES, checks_of

ROOT = Path(__file__).parents[2]

DECLARATION = """
        Check(
            "half",
            "half.HalfCheck",
            {NUMERIC: 0.0},
            MinEffect("half_shift", 0.1),
            classic=EFFECT,
        ),
        Check(
            "joint","""

FUNCTION = '''"""The check `half`: the share of rows above the middle of the baseline's sample."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from torchserve_drift.checks.evidence import CheckedModel, Evidence, Finding, WindowView
from torchserve_drift.stats.proportions import two_proportions_p
from torchserve_drift.window.coding import NumericCodes


class HalfCheck:
    """Of every numeric feature."""

    def __init__(self, model: CheckedModel) -> None:
        self._model = model

    def findings(self, window: WindowView) -> Iterator[Finding]:
        for i, codes in enumerate(window.paced(self._model.codes)):
            if isinstance(codes, NumericCodes):
                middle = len(codes.distinct)
                rows, above = window.rows.codes.shape[1], np.count_nonzero(window.rows.codes[i] > middle)
                change = above / rows - 0.5
                counts = (codes.sample_count // 2, codes.sample_count, above, rows)
                p = float(two_proportions_p(*(np.array([count], float) for count in counts))[0])
                yield Finding(i, "half", Evidence(p, change, abs(change), self._model.min_effects[i]["half"]))
'''

USE = """
import json
import numpy as np
from baselines import baseline
from torchserve_drift import Monitor
from torchserve_drift.port.metrics.text import render

known = baseline({"x": np.arange(1000.0)})
settings = {"windows": ["1h"], "alarms": {"policy": "classic"}, "features": {"x": {"half_shift": 0.2}}}
monitor = Monitor(known, settings, seed=0)
monitor.observe({"x": np.linspace(400, 999, 1000)})
check = monitor.evaluate().feature("x").windows["1h"].checks["half"]
text = render([monitor.snapshot()])[0].decode()
print(json.dumps([check._asdict(), [line for line in text.splitlines() if 'check="half"' in line]]))
"""


def test_a_new_check_touches_two_files(tmp_path: Path) -> None:
    """It has a setting, a verdict, a place in the report and its metrics: nothing else in the package names it."""
    shutil.copytree(ROOT / "handler", tmp_path / "handler", ignore=shutil.ignore_patterns("__pycache__"))
    checks = tmp_path / "handler" / "torchserve_drift" / "checks"
    catalogue = checks / "catalogue.py"
    before = catalogue.read_text()
    after = before.replace('\n        Check(\n            "joint",', DECLARATION)
    assert after != before
    catalogue.write_text(after)
    (checks / "half.py").write_text(FUNCTION)
    check, lines = used(tmp_path)
    assert check["failed"]
    assert check["min_effect"] == 0.2
    assert 0.3 < check["statistic"] < 0.35
    for metric in ("statistic", "effect", "check_failed"):
        assert any(line.startswith(f"torchserve_drift_{metric}{{") for line in lines), metric


def used(folder: Path) -> Any:
    path = os.pathsep.join(str(each) for each in (folder / "handler", ROOT / "tests"))
    done = subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", "-c", USE],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("kind", ["numeric", "categorical", "joint"])
def test_every_kind_has_one_headline_check(kind: str) -> None:
    assert sum(check.name in HEADLINES for check in checks_of(kind)) == 1


def test_names_of_settings_are_unique() -> None:
    keys = [check.min_effect.key for check in CHECKS.values() if check.min_effect is not None]
    assert len(set(keys)) == len(keys)
    assert all(name == check.name for name, check in CHECKS.items())
