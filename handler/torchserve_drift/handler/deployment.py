"""A model server's worker to its monitor: settings, baseline, shared directory; whatever fails, the model serves on."""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from torchserve_drift.errors import DriftError

if TYPE_CHECKING:
    from torchserve_drift.features.schema import Feature
    from torchserve_drift.monitoring.monitor import Monitor
    from torchserve_drift.settings.settings import Settings

_logger = logging.getLogger("torchserve_drift")


def start_monitor(context: Any) -> Optional[Monitor]:
    """The running monitor of the model that ``context`` (TorchServe's) describes; ``None``, and why in the log,
    without one.

    Never raises: an exception while a model initialises makes TorchServe hang its users' requests.
    """
    if os.environ.get("LOCAL_RANK", "0") not in ("", "0"):  # of a tensor-parallel model one rank sees what all see
        return None
    try:
        monitor = _monitor(context)
        monitor.start()
    except DriftError as error:
        _logger.error("drift monitoring is off, the model serves without it: %s", error)
    except ImportError as error:
        _logger.error("drift monitoring is off, the model serves without it: %s; pip install torchserve-drift", error)
    except Exception as error:  # noqa: BLE001 - fail open
        _logger.error("drift monitoring is off, the model serves without it: %s: %s", type(error).__name__, error)
    else:
        return monitor
    return None


def schema(context: Any) -> Sequence[Feature]:
    """The features of the model's baseline, also where the baseline cannot be monitored with.

    Raises
    ------
    DriftError
        When not even those can be read.
    """
    from torchserve_drift.baseline.artifact import read_schema
    from torchserve_drift.baseline.artifact_file import read_file

    return read_schema(read_file(_baseline_path(context)))


def _baseline_path(context: Any) -> Path:
    section = _section(context)
    name = section.get("baseline") if isinstance(section, Mapping) else None
    name = os.environ.get("TORCHSERVE_DRIFT_BASELINE") or name or "baseline.safetensors"
    return Path(_model_dir(context), str(name))


def _monitor(context: Any) -> Monitor:
    from torchserve_drift.baseline.baseline import Baseline
    from torchserve_drift.monitoring.background import Duties
    from torchserve_drift.monitoring.monitor import Monitor
    from torchserve_drift.port.snapshot_files import Board
    from torchserve_drift.settings.settings import Settings

    settings = Settings.from_mapping(_section(context), os.environ)
    baseline = Baseline.load(Path(_model_dir(context), settings.baseline))
    version = str((context.manifest or {}).get("model", {}).get("modelVersion", "1.0"))
    root = shared_root()
    directory = _prepared(root, _model_dir(context), settings) if root is not None else None
    monitor = Monitor(
        baseline, settings, model_name=str(context.model_name), model_version=version, directory=directory
    )
    if root is not None and directory is not None:
        monitor.duties = Duties(monitor, Board(root, settings.export.address))
    return monitor


def _section(context: Any) -> Any:
    return (getattr(context, "model_yaml_config", None) or {}).get("drift")


def _model_dir(context: Any) -> str:
    return str(context.system_properties["model_dir"])


def shared_root() -> Optional[Path]:
    """The directory in which this user's workers on this host find one another; ``None`` where none can be made.

    ``<temporary directory>/torchserve-drift-<uid>``, for the user alone.
    """
    root = Path(tempfile.gettempdir(), f"torchserve-drift-{os.getuid()}")
    try:
        root.mkdir(mode=0o700, exist_ok=True)
        facts = root.lstat()
        if not root.is_dir() or root.is_symlink() or facts.st_uid != os.getuid() or facts.st_mode & 0o077:
            raise PermissionError(1, "must be a directory of this user alone", str(root))
    except OSError as error:
        _logger.warning("workers are not merged, each shows its own rows: %s: %s", root, error.strerror)
        return None
    return root


def _prepared(root: Path, model_dir: str, settings: Settings) -> Optional[Path]:
    """The directory of one registration of a model: its model_dir is new with every registration, the same for all
    workers."""
    from torchserve_drift.port.snapshot_files import introduce, is_introduced

    directory = root / hashlib.sha256(os.path.realpath(model_dir).encode()).hexdigest()[:32]
    try:
        introduce(
            directory,
            model_dir=model_dir,
            address=settings.export.address,
            evaluate_every=settings.evaluate_every,
        )
    except OSError as error:
        if not is_introduced(directory):  # by a worker that started while there was room
            _logger.warning("workers are not merged, each shows its own rows: %s: %s", directory, error.strerror)
            return None
    return directory
