"""Monitors of one numeric feature, for tests of background threads, ports and processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Optional

import numpy as np

from baselines import baseline
from torchserve_drift import Monitor
from torchserve_drift.port.snapshot_files import SnapshotFiles

KNOWN = {"x": np.random.default_rng(0).normal(size=500)}


def monitor(
    directory: Optional[Path], port: int, *, snapshot_files: Optional[SnapshotFiles] = None, **settings: Any
) -> Monitor:
    """A monitor that shares ``directory`` and whose metrics are at ``port``; ``settings`` replaces the defaults."""
    section = {"windows": ["1h"], "min_rows": 1, "export": {"address": f"127.0.0.1:{port}"}, **settings}
    return Monitor(baseline(KNOWN), section, directory=directory, snapshot_files=snapshot_files, seed=0)
