"""The entry file of an archive: TorchServe wants exactly one class in it."""

from torchserve_drift.handler import DriftHandler


class Handler(DriftHandler):
    """`DriftHandler` under a name of this module."""
