"""The handler file of an archive. TorchServe expects exactly one class in it."""

from torchserve_drift.handler import DriftHandler


class Handler(DriftHandler):
    """`DriftHandler` as a class that is defined in this file, because TorchServe ignores imported classes."""
