"""Measures the other tools in parts. Each part is kept in the cache folder; all of them are written to results.json."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from detection_study.cache import readable

RESULTS = Path(__file__).with_name("results.json")
_SCRIPTS = Path(__file__).parents[2]

_ENVIRON = {"OMP_NUM_THREADS": "1", "DO_NOT_TRACK": "1", "NML_DISABLE_USAGE_LOGGING": "1"}
"""The tools compute with one thread, and do not send usage data."""

PINS: Mapping[str, tuple[str, ...]] = {
    "river": ("river==0.26.1",),
    "evidently": ("evidently==0.7.23", "pandas==2.3.3"),
    "nannyml": ("nannyml==0.13.1", "statsmodels", "pandas==2.3.3", "numpy==1.26.4"),
    "alibi": ("alibi-detect==0.13.0", "numba==0.59.1", "numpy==1.26.4", "pandas==2.3.3", "torch==2.13.0"),
}
"""The packages of each virtual environment. Their requirements conflict, so each tool has its own."""

INSIDE: Mapping[str, tuple[str, str]] = {
    "river": ("river", "river_tools"),
    "online": ("alibi", "online_tools"),
    "real_evidently": ("evidently", "real_tools"),
    "real_nannyml": ("nannyml", "real_tools"),
    "real_alibi": ("alibi", "real_tools"),
}
"""Parts that run in a tool's own environment: the environment, and the module of this folder that runs in it."""


REPETITIONS, REPETITIONS_BY_OUR_CODE = 50, 400
"""Repetitions of each shift with the tools' own code, and with ours, which is faster."""


def python_of(cache: Path, tool: str) -> Path:
    """The Python of the tool's virtual environment in ``cache``, which is made if it is missing."""
    folder = cache / f"venv-{tool}"
    done = folder / "installed"
    if not done.exists():
        subprocess.run(["python3.11", "-m", "venv", folder], check=True)
        subprocess.run([folder / "bin" / "pip", "install", "-q", *PINS[tool]], check=True)
        done.write_text("\n".join(PINS[tool]))
    return folder / "bin" / "python"


def part(name: str, cache: Path, *, say: Callable[[str], None]) -> dict[str, object]:
    """The results of one part, from the cache if possible."""
    path = cache / f"peers-{name}.json"
    if not path.exists():
        if name in INSIDE:
            tool, module = INSIDE[name]
            command = [python_of(cache, tool), "-m", f"detection_study.peers.{module}", str(path), str(REPETITIONS)]
            environ = {**os.environ, **_ENVIRON, "PYTHONPATH": str(_SCRIPTS)}
            subprocess.run(command, check=True, env=environ)
        else:
            from detection_study.peers import windows

            path.write_text(json.dumps(windows.measure(repetitions=REPETITIONS_BY_OUR_CODE, say=say)))
    found: dict[str, object] = json.loads(path.read_text())
    return found


def measure(cache: Path, *, say: Callable[[str], None]) -> None:
    """Measure what is not in the cache, and write `RESULTS`."""
    names = ("windows", *INSIDE)
    RESULTS.write_text(readable({name: part(name, cache, say=say) for name in names}))
