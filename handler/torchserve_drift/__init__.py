"""Drift monitoring for models served by TorchServe.

``Baseline``, ``Monitor``, ``Report``, ``Settings`` and ``check`` need neither TorchServe nor torch; the handler classes
are in `torchserve_drift.handler`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torchserve_drift.errors import BaselineError, ConfigError, DriftError

if TYPE_CHECKING:
    from torchserve_drift.baseline.baseline import Baseline
    from torchserve_drift.monitoring.monitor import Monitor
    from torchserve_drift.offline.check import check
    from torchserve_drift.settings.settings import Settings
    from torchserve_drift.verdicts.report import Report

__version__ = "0.1.0"
__all__ = ["Baseline", "BaselineError", "ConfigError", "DriftError", "Monitor", "Report", "Settings", "check"]

_HOMES = {
    "Baseline": "baseline.baseline",
    "Monitor": "monitoring.monitor",
    "Report": "verdicts.report",
    "Settings": "settings.settings",
    "check": "offline.check",
}


def __getattr__(name: str) -> Any:
    # numpy and the rest load with the first name that needs them: `import torchserve_drift` itself cannot fail for a
    # missing dependency, so a handler can report it and serve on
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
