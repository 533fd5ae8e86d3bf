"""The claim on the one port of a host: every process tries to bind it, and the one that succeeds shows all models."""

from __future__ import annotations

import errno
import threading
from typing import Callable, Optional

from torchserve_drift.port.server import Server
from torchserve_drift.port.snapshot import Snapshot
from torchserve_drift.settings.settings import Export

Source = Callable[[], list[Snapshot]]
"""Returns the current snapshots of one monitor."""

_claims: dict[str, PortClaim] = {}
_claims_lock = threading.Lock()


class PortClaim:
    """A process's claim on one address, shared by all its monitors. Thread-safe."""

    def __init__(self, export: Export) -> None:
        self._export = export
        self._sources: list[Source] = []
        self._server: Optional[Server] = None
        self._lock = threading.Lock()

    @classmethod
    def for_address(cls, export: Export) -> PortClaim:
        """This process's claim on ``export.address``, made on first use."""
        with _claims_lock:
            return _claims.setdefault(export.address, cls(export))

    @property
    def port(self) -> Optional[int]:
        """The number of the port while this process serves it, else ``None``."""
        server = self._server
        return server.port if server is not None else None

    def show(self, source: Source) -> None:
        """Show the snapshots of ``source`` from now on."""
        with self._lock:
            self._sources.append(source)

    def hide(self, source: Source) -> None:
        """Stop showing the snapshots of ``source``. Without any source the port is closed."""
        with self._lock:
            self._sources.remove(source)
            if not self._sources and self._server is not None:
                self._server.stop()
                self._server = None

    def serve(self) -> bool:
        """Bind the port if it is free. Return whether this process serves it now.

        Raises
        ------
        OSError
            When the address cannot be bound for another reason than being in use.
        """
        with self._lock:
            if self._server is not None and not self._server.running:  # an error ended its thread
                self._server = None
            if self._server is None and self._sources:
                self._server = self._started_server()
            return self._server is not None

    def _started_server(self) -> Optional[Server]:
        export = self._export
        server = Server(
            export.host,
            export.port,
            self._snapshots,
            certfile=export.certfile,
            keyfile=export.keyfile,
            client_ca=export.client_ca,
        )
        try:
            server.start()
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return None
            raise
        return server

    def _snapshots(self) -> list[Snapshot]:
        """One snapshot per model version; of several the one from the source that was added first."""
        shown: dict[tuple[str, str], Snapshot] = {}
        for source in list(self._sources):
            for snapshot in source():
                shown.setdefault((snapshot["model_name"], snapshot["model_version"]), snapshot)
        return list(shown.values())
