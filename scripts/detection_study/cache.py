"""Keeps results of many independent pieces of work as lines of JSON, so that a stopped run can continue."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PRODUCT = HERE.parents[1] / "handler" / "torchserve_drift"

MEASURING = (
    "baselines",
    "calibration",
    "marginals",
    "onset",
    "same_rate",
    "quiet",
    "rare",
    "setting",
    "shifts",
    "watch",
)
"""The modules here that results depend on; the other modules only show them."""

Say = Callable[[str], None]


def fingerprint() -> str:
    """A hash of all code that results depend on, so that results of other code are not reused."""
    files = sorted([*PRODUCT.rglob("*.py"), *(HERE / f"{name}.py" for name in MEASURING)])
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()[:12]


def readable(data: Any) -> str:
    """JSON with a line for each list of numbers, for files that are kept with the code."""
    text = json.dumps(data, indent=1, ensure_ascii=False)
    return re.sub(r"\[[^\[\]{}]*\]", lambda found: re.sub(r"\s+", " ", found[0]), text) + "\n"


def _numbered(work: Callable[..., Any], number: int) -> tuple[int, Any]:
    return number, work(number)


def collected(
    path: Path, work: Callable[..., Any], numbers: Iterable[int], *, processes: int, say: Say, **arguments: Any
) -> list[Mapping[str, Any]]:
    """The results of ``work(number, **arguments)`` for each number; those in ``path`` are not computed again."""
    numbers = list(numbers)
    known = {line["number"]: line["result"] for line in _lines(path)}
    missing = [number for number in numbers if number not in known]
    path.parent.mkdir(parents=True, exist_ok=True)
    if missing:
        with multiprocessing.get_context("spawn").Pool(processes) as pool, path.open("a") as file:
            for number, result in pool.imap_unordered(partial(_numbered, partial(work, **arguments)), missing):
                known[number] = result
                file.write(json.dumps({"number": number, "result": result}) + "\n")
                file.flush()
                say(f"{path.stem}: {len(known)} of {len(numbers)}")
    return [known[number] for number in numbers]


def _lines(path: Path) -> list[dict[str, Any]]:
    found = []
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            found.append(json.loads(line))
        except ValueError:  # the line at which a run was stopped
            continue
    return found
