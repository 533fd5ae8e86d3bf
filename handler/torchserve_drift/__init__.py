"""Drift monitoring for models served by TorchServe.

The public names of this package need neither TorchServe nor torch. The handler classes are in
`torchserve_drift.handler`. Everything else is internal; docs/python.md lists all public names.
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

_MODULE_OF = {
    "Baseline": "baseline.baseline",
    "Monitor": "monitoring.monitor",
    "Report": "verdicts.report",
    "Settings": "settings.settings",
    "check": "offline.check",
}


def __getattr__(name: str) -> Any:
    # Loaded on first use: `import torchserve_drift` cannot fail for a missing dependency. So a handler can log the
    # missing one and serve the model.
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
