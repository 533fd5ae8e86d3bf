"""A served model that answers each row with the sum of its numbers: its archives, requests and expected p-values."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

import numpy as np
from scipy import stats

from archives import save_model
from baselines import baseline
from torchserve_drift.mar.archive import Options, build_archive

UNMONITORED = """\
import os
os.environ["TORCHSERVE_DRIFT_WINDOWS"] = "never"  # a setting that is refused, so that there is no monitoring
from torchserve_drift.handler import DriftHandler


class Unmonitored(DriftHandler):
    pass
"""
COLUMNS = {
    "age": [float(age) for age in np.random.default_rng(1).integers(18, 60, 1000)],
    "amount": [float(amount) for amount in np.random.default_rng(2).normal(50, 9, 1000)],
    "city": np.random.default_rng(3).choice(["Rome", "Oslo", "Bonn"], 1000, p=[0.6, 0.3, 0.1]).tolist(),
}
"""The training data. `age` has many equal values."""


@dataclass(frozen=True)
class Row:
    """The row of a request, and the model's right answer to it."""

    features: Mapping[str, Any]
    answer: float


def request_rows(count: int, seed: int = 0) -> list[Row]:
    """``count`` rows whose distribution differs a little from that of `COLUMNS`."""
    random = np.random.default_rng([7, seed])
    cities = ["Rome", "Oslo", "Bonn", "Lima"]  # the model gets a category as its index, and an unknown one as 3
    rows = []
    for _ in range(count):
        age, amount = int(random.integers(20, 63)), float(np.round(random.normal(51, 9), 3))
        city = int(random.choice(4, p=[0.55, 0.3, 0.1, 0.05]))
        rows.append(Row({"age": age, "amount": amount, "city": cities[city]}, age + amount + city))
    return rows


def p_values(rows: Sequence[Row]) -> dict[tuple[str, str], float]:
    """SciPy's p-values for ``rows`` against `COLUMNS`, by feature and check."""
    found = {}
    for name in ("age", "amount"):
        sent = [row.features[name] for row in rows]
        found[name, "ks"] = float(stats.ks_2samp(COLUMNS[name], sent, method="asymp").pvalue)
    sent = [row.features["city"] for row in rows]
    table = [[values.count(city) for city in ("Rome", "Oslo", "Bonn", "Lima")] for values in (COLUMNS["city"], sent)]
    found["city", "chi2"] = float(stats.chi2_contingency(table, correction=False).pvalue)
    return found


def archive(
    store: Path,
    file: str,
    drift: Mapping[str, Any],
    *,
    name: str = "sum",
    version: str = "1.0",
    columns: Optional[Mapping[str, Sequence[Any]]] = None,
    monitored: bool = True,
    **model: Any,
) -> None:
    """Write an archive of the model to ``store / file``. ``model`` holds more keys of model-config.yaml."""
    work = store.parent / f"{store.name}-{file}"
    work.mkdir()
    baseline(columns or COLUMNS).save(work / "baseline.safetensors")
    save_model(work / "model.pt")
    (work / "unmonitored.py").write_text(UNMONITORED)
    config = {"minWorkers": 1, "maxWorkers": 4, **model, "drift": dict(drift)}
    (work / "model-config.yaml").write_text(json.dumps(config))
    options = Options(
        name,
        version=version,
        handler=None if monitored else str(work / "unmonitored.py"),
        baseline=work / "baseline.safetensors",
        serialized_file=work / "model.pt",
        config_file=work / "model-config.yaml",
        export_path=work,
    )
    build_archive(options).rename(store / file)
