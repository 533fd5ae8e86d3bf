"""Sets up the monitor of a worker of TorchServe: its settings, its baseline and the directory that workers share.

Nothing here may stop the model from serving: every failure is logged, and the model then runs without monitoring.
"""

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
    """Start the monitor of the model that ``context``, TorchServe's, describes.

    Returns ``None`` if the monitor cannot be started; the log then says why. Never raises: TorchServe lets requests
    hang after an exception during a model's initialisation.
    """
    # All ranks of a tensor-parallel model get the same requests, so only rank 0 counts them.
    if os.environ.get("LOCAL_RANK", "0") not in ("", "0"):
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
        _logger.info("drift monitoring is on: %s", _summary(monitor))
        return monitor
    return None


def schema(context: Any) -> Sequence[Feature]:
    """The features of the model's baseline.

    They can often be read from a baseline that is too damaged for monitoring.

    Raises
    ------
    DriftError
        When the features cannot be read either.
    """
    from torchserve_drift.baseline.artifact import read_schema
    from torchserve_drift.baseline.artifact_file import read_file

    return read_schema(read_file(_baseline_path(context)))


def _baseline_path(context: Any) -> Path:
    # Not by `Settings`: another setting may be wrong, and the features are needed then too.
    section = _drift_section(context)
    name = section.get("baseline") if isinstance(section, Mapping) else None
    name = os.environ.get("TORCHSERVE_DRIFT_BASELINE") or name or "baseline.safetensors"
    return Path(_model_dir(context), str(name))


def _monitor(context: Any) -> Monitor:
    from torchserve_drift.baseline.baseline import Baseline
    from torchserve_drift.monitoring.monitor import Monitor
    from torchserve_drift.port.snapshot_files import SnapshotFiles
    from torchserve_drift.settings.settings import Settings

    settings = Settings.from_mapping(_drift_section(context), os.environ)
    baseline = Baseline.load(Path(_model_dir(context), settings.baseline))
    version = str((context.manifest or {}).get("model", {}).get("modelVersion", "1.0"))
    root = shared_root()
    directory = _model_directory(root, _model_dir(context), settings) if root is not None else None
    files = SnapshotFiles(root, settings.export.address) if root is not None and directory is not None else None
    return Monitor(
        baseline,
        settings,
        model_name=str(context.model_name),
        model_version=version,
        directory=directory,
        snapshot_files=files,
    )


def _drift_section(context: Any) -> Any:
    """The `drift:` section of the model's model-config.yaml, not validated."""
    return (getattr(context, "model_yaml_config", None) or {}).get("drift")


def _model_dir(context: Any) -> str:
    return str(context.system_properties["model_dir"])


def shared_root() -> Optional[Path]:
    """The directory in which the workers of this user on this host find one another.

    It is ``<temporary directory>/torchserve-drift-<uid>``, and only the user has access to it. Returns ``None`` if it
    cannot be made, or if another user could have made it; the log then says why.
    """
    root = Path(tempfile.gettempdir(), f"torchserve-drift-{os.getuid()}")
    try:
        root.mkdir(mode=0o700, exist_ok=True)
        # Everybody can make files in the temporary directory, so another user may have been here first.
        status = root.lstat()
        if not root.is_dir() or root.is_symlink() or status.st_uid != os.getuid() or status.st_mode & 0o077:
            raise PermissionError(1, "must be a directory that only this user has access to", str(root))
    except OSError as error:
        _logger.warning("workers are not merged, each shows its own rows: %s: %s", root, error.strerror)
        return None
    return root


def _model_directory(root: Path, model_dir: str, settings: Settings) -> Optional[Path]:
    """The directory below ``root`` that the workers of one registration of a model share.

    Returns ``None`` if it cannot be made; the log then says why. The directory is named for ``model_dir``, which
    TorchServe makes anew for each registration and gives to all of its workers.
    """
    from torchserve_drift.port.model_directory import is_model_directory, prepare_model_directory

    directory = root / hashlib.sha256(os.path.realpath(model_dir).encode()).hexdigest()[:32]
    try:
        prepare_model_directory(
            directory,
            model_dir=model_dir,
            address=settings.export.address,
            evaluate_every=settings.evaluate_every,
        )
    except OSError as error:
        if not is_model_directory(directory):  # else a worker that started earlier has done so
            _logger.warning("workers are not merged, each shows its own rows: %s: %s", directory, error.strerror)
            return None
    return directory


def _summary(monitor: Monitor) -> str:
    """What is monitored, in one line of the log."""
    settings, baseline = monitor.settings, monitor.baseline
    variation = {
        "learned": "learned",
        "unknown": "unknown, so rows are taken to be independent (to learn it: torchserve-drift baseline --time)",
    }[baseline.time_variation]
    return (
        f"{monitor.model_name} {monitor.model_version}, {len(baseline.features)} features, "
        f"windows {', '.join(window.label for window in settings.windows)}, metrics at {settings.export.address}; "
        f"variation over time {variation}"
    )
