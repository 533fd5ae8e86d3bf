"""The public class `Monitor`: it records rows, evaluates them, and starts the background thread."""

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
        The labels of the model in reports and metrics.
    clock
        Returns the time in seconds since 1970. It may jump back.
    seed
        Random seed for drawing the sample; ``None`` for a random one.
    directory
        Where the windows are shared with other processes that monitor the same model version; ``None`` keeps them
        private.
    snapshot_files
        Finds the snapshots of all models of this host; with ``None`` the port shows only the models of this process.

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
        """The counters of this process: unreadable rows, faults, and the seconds spent recording batches."""
        return self.store.writer.counters

    @property
    def evaluation_seconds(self) -> float:
        """The seconds that the last evaluation took; 0 before the first."""
        return self._evaluator.seconds

    @property
    def report(self) -> Optional[Report]:
        """The last report of this process; ``None`` before the first. `latest` also finds those of other processes."""
        return self._evaluator.report

    def observe(
        self, columns: Union[Mapping[str, Any], npt.NDArray[Any]], requests: Optional[npt.ArrayLike] = None
    ) -> None:
        """Record rows. Never raises: what cannot be used is counted, and logged once.

        Parameters
        ----------
        columns
            Feature name to values (m,), an array or a list; all of the same length. Numeric features take numbers.
            Categorical ones take texts, booleans or numbers. The values of a feature without a column are missing;
            columns with other names are counted and left out. A model whose features are all numeric also takes an
            array (m, F) with columns in the baseline's order.
        requests
            (m,) an identifier for each row, of the request, client or batch that it came with. Consecutive rows with
            equal identifiers may be alike, and the p-values allow for it. ``None``: every row is independent.
        """
        try:
            if isinstance(columns, np.ndarray):
                rows = self.encoder.matrix(columns)
            else:
                rows = self.encoder.plain_columns(columns)  # type: ignore[assignment] # None for columns of other types
                rows = self._encoded_rows(columns) if rows is None else rows
            self.store.append(rows, self.clock(), None if requests is None else _begins(len(rows), requests))
        except FeatureError as error:
            self.counters.count_rejected("wrong_shape", 1)
            self._faults.log_once("observe", error)
        except Exception as error:  # noqa: BLE001 - monitoring fails open
            self.fault("observe", error)

    def record(self, rows: Floats, requests: Optional[Sequence[int]] = None) -> None:
        """Append rows that are encoded already.

        Parameters
        ----------
        rows
            (m, F) float64, in the baseline's order, categories as their index.
        requests
            The number of rows of each request, 1 or more, in the order of the rows; ``None``: every row is a request.

        Raises
        ------
        ValueError
            When the requests do not have m rows together.
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

    def _encoded_rows(self, columns: Mapping[str, Any]) -> Floats:
        rows = self.encoder.columns(columns)
        unknown = sum(name not in self.encoder.known for name in columns)
        if unknown:
            self.counters.count_unknown(unknown * len(rows))
        return rows

    def evaluate(self, paced: Pace = NO_PAUSE) -> Report:
        """Run every check on every feature and window now, and keep the report.

        ``paced`` wraps the iterables of long loops, so that a background thread can take breaks.
        """
        return self._evaluator.evaluate(paced)

    def fault(self, stage: str, error: BaseException) -> None:
        """Count a fault inside the plugin, and log the first of its kind."""
        self._faults.add(stage, error)

    def latest(self) -> Optional[Report]:
        """The model's latest report, also if another process made it; ``None`` before the first."""
        return self.report or self._made_publication().published_report()

    def snapshot(self) -> Snapshot:
        """The snapshot that the port shows: the last report, and exact counts of all rows since the beginning."""
        return self._evaluator.snapshot()

    def collector(self) -> DriftCollector:
        """A prometheus_client collector of this monitor's metrics. It shows the results of the last evaluation.

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
        """The background thread, made on first use and not started. `BackgroundThread.run_once` runs without it."""
        from torchserve_drift.monitoring.background import EVALUATOR_LOCK, BackgroundThread

        if self._thread is None:
            files = self._snapshot_files
            self._thread = BackgroundThread(
                self._evaluator,
                self.store,
                self._made_publication(),
                self._faults,
                settings=self.settings,
                clock=self.clock,
                evaluator_lock=self.directory / EVALUATOR_LOCK if self.directory is not None else None,
                port_lock=files.port_lock_path if files is not None else None,
            )
        return self._thread

    def start(self) -> None:
        """Start the background thread. It folds rows, evaluates at each ``evaluate_every``, and serves the port."""
        self.background().start()

    def stop(self) -> None:
        """Stop the thread, close the port, and let another process continue the windows."""
        if self._thread is not None:
            self._thread.stop()
            self._thread = None
        self.store.close()

    def _made_publication(self) -> Publication:
        """The publication, made on first use."""
        from torchserve_drift.monitoring.publication import Publication

        if self._publication is None:
            self._publication = Publication(self.snapshot, self.directory, self._snapshot_files)
        return self._publication


def _state_directory(settings: Settings, model_name: str, model_version: str) -> Optional[Path]:
    """The directory in which windows survive a restart of the server; ``None`` if none is set or it cannot be made."""
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
    """One byte for each row: 1 if its identifier differs from that of the row before, else 0; 1 for the first row."""
    ids = np.asarray(requests)
    if ids.shape != (rows,):
        raise FeatureError(f"requests must be ({rows},) identifiers, got an array of shape {ids.shape}")
    return b"\1" + np.asarray(ids[1:] != ids[:-1], dtype=np.uint8).tobytes() if rows else b""
