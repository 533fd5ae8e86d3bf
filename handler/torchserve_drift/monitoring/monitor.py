"""`Monitor`, the public face of monitoring: it takes rows, evaluates, and starts the background thread."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Optional, Union

import numpy as np
import numpy.typing as npt

from torchserve_drift.baseline.baseline import Baseline
from torchserve_drift.errors import FeatureError
from torchserve_drift.features.encoding import RowEncoder
from torchserve_drift.monitoring.evaluator import Evaluator
from torchserve_drift.monitoring.faults import Faults
from torchserve_drift.settings.settings import Settings
from torchserve_drift.stats.arrays import Floats
from torchserve_drift.verdicts.report import Report
from torchserve_drift.window.counters import Counters
from torchserve_drift.window.pacing import NO_PAUSE, Pace
from torchserve_drift.window.store import Store

if TYPE_CHECKING:
    from torchserve_drift.monitoring.background import BackgroundThread
    from torchserve_drift.monitoring.publication import Publication
    from torchserve_drift.port.metrics.collector import DriftCollector
    from torchserve_drift.port.snapshot import Snapshot
    from torchserve_drift.port.snapshot_files import SnapshotFiles

_logger = logging.getLogger("torchserve_drift")


class Monitor:
    """Watches the rows of one model version.

    Parameters
    ----------
    baseline
        What production rows are compared with.
    settings
        `Settings`, a mapping as in the ``drift:`` section, or ``None`` for the defaults.
    model_name, model_version
        As TorchServe's own metrics label them.
    clock
        Seconds since the epoch. Any clock will do, since only differences count; it may jump back.
    seed
        Random seed of the reservoir's priorities; ``None`` draws one.
    directory
        Where the windows are shared with other processes that monitor the same model version; ``None`` keeps them
        private.
    snapshot_files
        Where the snapshots of all models of this host are found; ``None`` shows this process's models alone.

    Notes
    -----
    `observe` is thread-safe and never raises: what it cannot use is counted and logged once. `evaluate` may be called
    from any thread. Without `start` no thread runs and no port is opened.

    Examples
    --------
    >>> from torchserve_drift import Baseline, Monitor
    >>> baseline = Baseline.from_columns({"age": list(range(18, 68)) * 40})
    >>> monitor = Monitor(baseline, {"windows": ["1h"]}, seed=0)
    >>> monitor.observe({"age": list(range(38, 88)) * 10})  # customers who are 20 years older
    >>> monitor.evaluate().feature("age").windows["1h"].drifted
    True
    """

    def __init__(
        self,
        baseline: Baseline,
        settings: Any = None,
        *,
        model_name: str = "model",
        model_version: str = "1.0",
        clock: Callable[[], float] = time.time,
        seed: Optional[int] = None,
        directory: Optional[Path] = None,
        snapshot_files: Optional[SnapshotFiles] = None,
    ) -> None:
        self.settings = settings if isinstance(settings, Settings) else Settings.from_mapping(settings)
        self.baseline = baseline
        self.model_name, self.model_version = model_name, model_version
        self.encoder = RowEncoder(baseline.schema)
        self.clock, self.directory = clock, directory
        self._snapshot_files = snapshot_files
        state = _state_directory(self.settings, model_name, model_version)
        self.store = Store(
            baseline,
            self.settings.windows,
            self.settings.reservoir_rows,
            directory=state or directory,
            spare=directory if state is not None else None,
            seed=seed,
        )
        self._faults = Faults(lambda: self.counters)
        self._evaluator = Evaluator(
            baseline, self.settings, self.store, clock=clock, model_name=model_name, model_version=model_version
        )
        self._publication: Optional[Publication] = None
        self._thread: Optional[BackgroundThread] = None

    @property
    def counters(self) -> Counters:
        """What this process counts of itself, and of what it could not read."""
        return self.store.writer.counters

    @property
    def evaluation_seconds(self) -> float:
        """How long the last evaluation took."""
        return self._evaluator.seconds

    @property
    def report(self) -> Optional[Report]:
        """The last report of this process; ``None`` before the first. See `latest`."""
        return self._evaluator.report

    def observe(
        self, columns: Union[Mapping[str, Any], npt.NDArray[Any]], requests: Optional[npt.ArrayLike] = None
    ) -> None:
        """Record rows: a mapping of feature name to an array (m,), all of equal length.

        For a model of numbers only also an array (m, F), its columns in the baseline's order.

        Numbers for numeric features; strings, booleans or whatever `category_key` spells for categorical ones. A
        feature without a column is missing in these rows; other names are counted and skipped.

        ``requests`` (m,) identifies what each row came with: a request, a client or a batch. Neighbours with equal
        identifiers are taken to be alike, and tests allow for it. ``None``: every row comes by itself.
        """
        try:
            if isinstance(columns, np.ndarray):
                rows = self.encoder.matrix(columns)
            else:
                rows = self.encoder.plain_columns(columns)  # type: ignore[assignment] # None: not as plain as that
                rows = self._rows(columns) if rows is None else rows
            self.store.append(rows, self.clock(), None if requests is None else _begins(len(rows), requests))
        except FeatureError as error:
            self.counters.count_rejected("wrong_shape", 1)
            self._faults.log_once("observe", error)
        except Exception as error:  # noqa: BLE001 - monitoring fails open, whatever the fault
            self.fault("observe", error)

    def record(self, rows: Floats, requests: Optional[Sequence[int]] = None) -> None:
        """Append encoded rows (m, F), float64 in the baseline's order, categories as their index.

        ``requests`` are the numbers of rows of each request, 1 or more, in their order; ``None``: every row is its own.
        """
        begins = None
        if requests is not None and len(requests) != len(rows):
            if sum(requests) != len(rows):
                raise ValueError(f"the rows of all requests must be {len(rows)}, got {sum(requests)}")
            begins, row = bytearray(len(rows)), 0
            for size in requests:
                begins[row] = 1
                row += size
        self.store.append(rows, self.clock(), begins)

    def _rows(self, columns: Mapping[str, Any]) -> Floats:
        rows = self.encoder.columns(columns)
        unknown = sum(name not in self.encoder.known for name in columns)
        if unknown:
            self.counters.count_unknown(unknown * len(rows))
        return rows

    def evaluate(self, paced: Pace = NO_PAUSE) -> Report:
        """Run every check on every feature and window now, and keep the report.

        ``paced`` wraps what long loops iterate over, for a background thread to let requests through.
        """
        return self._evaluator.evaluate(paced)

    def fault(self, stage: str, error: BaseException) -> None:
        """Count a fault inside the plugin, and log it once per kind."""
        self._faults.add(stage, error)

    def latest(self) -> Optional[Report]:
        """The model's latest report, also where another process evaluates it; ``None`` before the first."""
        return self.report or self._published().published_report()

    def snapshot(self) -> Snapshot:
        """What the port shows: the latest report beside exact counts of all rows ever."""
        return self._evaluator.snapshot()

    def collector(self) -> DriftCollector:
        """A prometheus_client collector of this monitor's metrics, as of the last `evaluate` or background evaluation.

        Examples
        --------
        >>> from prometheus_client import CollectorRegistry
        >>> monitor, registry = Monitor(Baseline.from_columns({"device": ["ios", "web"]})), CollectorRegistry()
        >>> registry.register(monitor.collector())
        >>> monitor.observe({"device": ["ios", "web", "tv"]})
        >>> report = monitor.evaluate()
        >>> registry.get_sample_value("torchserve_drift_rows_total", {"model_name": "model", "model_version": "1.0"})
        3
        """
        from torchserve_drift.port.metrics.collector import DriftCollector

        return DriftCollector(lambda: [self.snapshot()])

    def background(self) -> BackgroundThread:
        """The background thread, made when first asked for; `start` starts it, `BackgroundThread.run_once` needs no
        thread."""
        from torchserve_drift.monitoring.background import EVALUATOR_LOCK, BackgroundThread

        if self._thread is None:
            files = self._snapshot_files
            self._thread = BackgroundThread(
                self._evaluator,
                self.store,
                self._published(),
                self._faults,
                settings=self.settings,
                clock=self.clock,
                evaluator_lock=self.directory / EVALUATOR_LOCK if self.directory is not None else None,
                port_lock=files.port_lock_path if files is not None else None,
            )
        return self._thread

    def start(self) -> None:
        """Start the background thread: it folds, evaluates every ``evaluate_every``, and serves the metrics' port."""
        self.background().start()

    def stop(self) -> None:
        """Stop the thread, close the port, and give up the windows' memory for another process to continue."""
        if self._thread is not None:
            self._thread.stop()
            self._thread = None
        self.store.close()

    def _published(self) -> Publication:
        from torchserve_drift.monitoring.publication import Publication

        if self._publication is None:
            self._publication = Publication(self.snapshot, self.directory, self._snapshot_files)
        return self._publication


def _state_directory(settings: Settings, model_name: str, model_version: str) -> Optional[Path]:
    """Where windows survive a restart of the server; ``None`` where they need not, or cannot."""
    if settings.state_dir is None:
        return None
    model = hashlib.sha256(f"{model_name}\0{model_version}".encode("utf-8", "surrogatepass")).hexdigest()
    directory = Path(settings.state_dir, model[:32])
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        _logger.warning("windows will not survive a restart: %s: %s", directory, error.strerror)
        return None
    return directory


def _begins(rows: int, requests: npt.ArrayLike) -> bytes:
    """Whether each row has another identifier than the one before, as bytes."""
    ids = np.asarray(requests)
    if ids.shape != (rows,):
        raise FeatureError(f"requests must be ({rows},) identifiers, got an array of shape {ids.shape}")
    return b"\1" + np.asarray(ids[1:] != ids[:-1], dtype=np.uint8).tobytes() if rows else b""
