"""The handler classes for TorchServe: `DriftHandler` for tabular models, `DriftMixin` for any other handler class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torchserve_drift.handler.mixin import DriftMixin
    from torchserve_drift.handler.tabular import DriftHandler

__all__ = ["DriftHandler", "DriftMixin"]

_HOMES = {"DriftHandler": "tabular", "DriftMixin": "mixin"}


def __getattr__(name: str) -> Any:
    # loaded on first use: whoever needs only the mixin, or another module of this folder, loads neither torch nor ts
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
