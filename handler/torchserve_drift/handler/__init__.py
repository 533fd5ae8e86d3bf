"""The handler classes for TorchServe: `DriftHandler` for tabular models, `DriftMixin` for any other handler class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torchserve_drift.handler.mixin import DriftMixin
    from torchserve_drift.handler.tabular import DriftHandler

__all__ = ["DriftHandler", "DriftMixin"]

_MODULE_OF = {"DriftHandler": "tabular", "DriftMixin": "mixin"}
"""The module of this folder that defines each public name."""


def __getattr__(name: str) -> Any:
    # Loaded on first use: a program that needs only the mixin or `deployment` loads neither torch nor ts.
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
