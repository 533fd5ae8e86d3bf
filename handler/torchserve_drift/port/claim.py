"""The one port of a host: every process tries to have it, whoever has it shows all models."""

from __future__ import annotations

import errno
import threading
from typing import Callable, Optional

from torchserve_drift.port.server import Server
from torchserve_drift.port.snapshot import Snapshot
from torchserve_drift.settings.settings import Export

Source = Callable[[], list[Snapshot]]

_ports: dict[str, Port] = {}
_ports_lock = threading.Lock()


class Port:
    """A process's claim on one address, shared by all its monitors. Thread-safe."""

    def __init__(self, export: Export) -> None:
        self._export = export
        self._sources: list[Source] = []
        self._server: Optional[Server] = None
        self._lock = threading.Lock()

    @classmethod
    def at(cls, export: Export) -> Port:
        """This process's claim on ``export.address``."""
        with _ports_lock:
            return _ports.setdefault(export.address, cls(export))

    @property
    def number(self) -> Optional[int]:
        """The port, while this process serves it."""
        server = self._server
        return server.port if server is not None else None

    def show(self, source: Source) -> None:
        """Show what ``source`` returns from now on."""
        with self._lock:
            self._sources.append(source)

    def hide(self, source: Source) -> None:
        """Show ``source`` no more; the last one closes the port."""
        with self._lock:
            self._sources.remove(source)
            if not self._sources and self._server is not None:
                self._server.stop()
                self._server = None

    def serve(self) -> bool:
        """Have the port if nobody has it; whether this process does. Other errors than a taken port are raised."""
        with self._lock:
            if self._server is not None and not self._server.running:  # a fault ended it
                self._server = None
            if self._server is not None or not self._sources:
                return self._server is not None
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
                    return False
                raise
            self._server = server
            return True

    def _snapshots(self) -> list[Snapshot]:
        shown: dict[tuple[str, str], Snapshot] = {}
        for source in list(self._sources):
            for snapshot in source():
                shown.setdefault((snapshot["model_name"], snapshot["model_version"]), snapshot)
        return list(shown.values())
