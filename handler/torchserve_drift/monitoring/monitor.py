"""One model's monitor: it observes rows, folds them into windows, and evaluates those against the baseline."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Optional, Union

import numpy as np
import numpy.typing as npt

from torchserve_drift.baseline.baseline import Baseline
from torchserve_drift.errors import DriftError, FeatureError
from torchserve_drift.features.encoding import RowEncoder
from torchserve_drift.settings.settings import Settings
from torchserve_drift.stats.arrays import Floats
from torchserve_drift.verdicts.budget import Budget, parts_of
from torchserve_drift.verdicts.judge import Level, WindowEvidence, budget_level, common_level, judge
from torchserve_drift.verdicts.min_effects import require_learnable
from torchserve_drift.verdicts.report import Report
from torchserve_drift.verdicts.reporting import Look, Outcome
from torchserve_drift.window.store import Store

if TYPE_CHECKING:
    from torchserve_drift.checks.window_checks import Checks
    from torchserve_drift.monitoring.background import Duties
    from torchserve_drift.port.snapshot import Snapshot

_logger = logging.getLogger("torchserve_drift")


def _no_pause() -> None:
    """Nobody waits for the interpreter while evaluations are called directly."""


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
        Seconds since the epoch; any clock, since only differences count, and it may jump back.
    seed
        Of the reservoir's priorities; ``None`` draws one.
    directory
        Where the windows are shared with other processes that monitor the same model version; ``None`` keeps them
        private.

    Notes
    -----
    `observe` is thread-safe and never raises: what it cannot use is counted and logged once. `evaluate` may be called
    from any thread, one at a time. Without `start` no thread runs and no port is opened.

    Examples
    --------
    >>> from tests.profiles import baseline                                                # doctest: +SKIP
    >>> monitor = Monitor(baseline({"age": range(1000)}), {"windows": ["1h"]})            # doctest: +SKIP
    >>> monitor.observe({"age": np.arange(500, 1500)})                                    # doctest: +SKIP
    >>> monitor.evaluate().feature("age").windows["1h"].drifted                           # doctest: +SKIP
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
    ) -> None:
        self.settings = settings if isinstance(settings, Settings) else Settings.from_mapping(settings)
        require_learnable(baseline.features, self.settings.alarms)
        self.baseline = baseline
        self.model_name, self.model_version = model_name, model_version
        self.clock = clock
        self.encoder = RowEncoder(baseline.schema)
        self.directory = directory
        state = self._state_directory()
        self.store = Store(
            baseline,
            self.settings.windows,
            self.settings.reservoir_rows,
            directory=state or directory,
            spare=directory if state is not None else None,
            seed=seed,
        )
        self._budget = Budget.of(
            parts_of(baseline.features),
            self.settings.windows,
            panes=self.store.layout.panes,
            every=self.settings.evaluate_every,
            interval=self.settings.alarms.false_alarm_interval,
        )
        self._outcome = Outcome(model_name, model_version, baseline.sha256, self._budget, self.settings.alarms)
        self.report: Optional[Report] = None
        self.evaluation_seconds = 0.0
        self._checks: Optional[Checks] = None
        self._evaluating = threading.Lock()
        self._said: set[tuple[str, str]] = set()
        self.duties: Optional[Duties] = None

    def _state_directory(self) -> Optional[Path]:
        """Where windows survive a restart of the server, by the model's name and version; ``None``: they need not, or
        cannot."""
        if self.settings.state_dir is None:
            return None
        model = hashlib.sha256(f"{self.model_name}\0{self.model_version}".encode("utf-8", "surrogatepass")).hexdigest()
        directory = Path(self.settings.state_dir, model[:32])
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            _logger.warning("windows will not survive a restart: %s: %s", directory, error.strerror)
            return None
        return directory

    def observe(
        self, columns: Union[Mapping[str, Any], npt.NDArray[Any]], requests: Optional[npt.ArrayLike] = None
    ) -> None:
        """Record rows: a mapping of feature name to an array (m,), all of equal length.

        For a model of numbers only also an array (m, F), its columns in the baseline's order.

        Numbers for numeric features; strings, booleans or whatever `category_key` spells for categorical ones. A
        feature without a column is missing in these rows; other names are counted and skipped.

        ``requests`` (m,) identifies what each row came with, a request, a client or a batch: neighbours of equal
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
            self.store.writer.counters.reject("wrong_shape", 1)
            self._say_once("observe", error)
        except Exception as error:  # noqa: BLE001 - monitoring fails open, whatever the fault
            self.fault("observe", error)

    def record(self, rows: Floats, requests: Optional[Sequence[int]] = None) -> None:
        """Append encoded rows (m, F), float64 in the baseline's order, categories as their index.

        ``requests`` are the rows of each request, at least 1, in their order; ``None``: every row is its own.
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
            self.store.writer.counters.unknown(unknown * len(rows))
        return rows

    def evaluate(self, pause: Callable[[], None] = _no_pause) -> Report:
        """Run every check on every feature and window now, and keep the report.

        ``pause`` is called between features, for a background thread to let requests through.
        """
        with self._evaluating:
            began = time.perf_counter()
            now = self.clock()
            self.store.writer.fold(pause)
            windows = self.store.windows(now)
            checks = self._prepared()
            before = self.report.evaluated_at if self.report else None
            found = [
                checks.evidence(window, pause, jointly=self._budget.looks_jointly(w, before, now))
                if window.rows >= self.settings.min_rows
                else None
                for w, window in enumerate(windows)
            ]
            evidence = [None if each is None else each.features for each in found]
            verdicts = judge(evidence, self.settings.alarms, self._level(evidence, before, now), pause)
            looks = [Look(*look) for look in zip(windows, found, verdicts)]
            self.report = self._outcome.report(now, looks, self.report)
            self.evaluation_seconds = time.perf_counter() - began
            return self.report

    def _level(self, evidence: Sequence[WindowEvidence], before: Optional[float], now: float) -> Level:
        alarms = self.settings.alarms
        if alarms.policy == "budget":
            return budget_level(self._budget, alarms, before, now)
        alpha = common_level(evidence, alarms)
        return lambda *_: alpha

    def _prepared(self) -> Checks:
        # imported with the first evaluation: of a model's workers only the one that evaluates pays for scipy.special
        if self._checks is None:
            from torchserve_drift.checks.window_checks import Checks

            self._checks = Checks(self.baseline, self.settings, self.store.layout, self.store.codes)
        return self._checks

    def fault(self, stage: str, error: BaseException) -> None:
        """Count a fault inside the plugin, and log it once per kind."""
        self.store.writer.counters.error(stage)
        self._say_once(stage, error)

    def _say_once(self, stage: str, error: BaseException) -> None:
        kind = (stage, type(error).__name__)
        if kind not in self._said and len(self._said) < 100:
            self._said.add(kind)
            said = _said_of(stage, error)
            _logger.warning("drift monitoring, %s: %s: %s (counted, said once)", stage, type(error).__name__, said)

    def latest(self) -> Optional[Report]:
        """The model's latest report, also where another process evaluates it; ``None`` before the first."""
        return self.report or (self.duties.published() if self.duties is not None else None)

    def snapshot(self) -> Snapshot:
        """What the port shows: the latest report beside exact counts of all rows ever."""
        from torchserve_drift.port.compose import snapshot_of

        return snapshot_of(self)

    def start(self) -> None:
        """Start the background thread: it folds, evaluates every ``evaluate_every``, and serves the metrics' port."""
        from torchserve_drift.monitoring.background import Duties

        if self.duties is None:
            self.duties = Duties(self)
        self.duties.start()

    def stop(self) -> None:
        """Stop the thread, close the port, and give up the windows' memory for another process to continue."""
        if self.duties is not None:
            self.duties.stop()
            self.duties = None
        self.store.close()


def _begins(rows: int, requests: npt.ArrayLike) -> bytes:
    """Whether each row has another identifier than the one before, as bytes."""
    ids = np.asarray(requests)
    if ids.shape != (rows,):
        raise FeatureError(f"requests must be ({rows},) identifiers, got an array of shape {ids.shape}")
    return b"\1" + np.asarray(ids[1:] != ids[:-1], dtype=np.uint8).tobytes() if rows else b""


def _said_of(stage: str, error: BaseException) -> str:
    """An error's text; near the values of requests, which are nobody's to read in a log, only where it is ours or the
    system's, else where it was raised."""
    if stage not in ("decode", "observe") or isinstance(error, (DriftError, OSError)) or error.__traceback__ is None:
        return str(error)
    *_, (frame, line) = traceback.walk_tb(error.__traceback__)
    return f"in {frame.f_code.co_name}, {Path(frame.f_code.co_filename).name}:{line}"
