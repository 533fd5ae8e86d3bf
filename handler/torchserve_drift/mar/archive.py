"""Builds an archive: checks what would otherwise fail only in production, collects the members, and writes them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

import yaml

from torchserve_drift.baseline.baseline import Baseline
from torchserve_drift.errors import ArchiveError, ConfigError
from torchserve_drift.mar.entry import add_handler
from torchserve_drift.mar.manifest import manifest
from torchserve_drift.mar.members import Members
from torchserve_drift.mar.write import SUFFIXES, write
from torchserve_drift.settings.settings import Settings
from torchserve_drift.verdicts.min_effects import require_learnable

RUNTIMES = ("python", "python3")
_DEFAULT_TIME = 315532800.0  # 1980-01-01: not the current time, so that equal inputs give equal bytes
# the name becomes part of a path here, and of URLs and file names in TorchServe
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_\-.]*")


@dataclass(frozen=True)
class Options:
    """What to pack: the options of `torchserve-drift archive`.

    ``handler`` is ``None`` for the handler of this package, else a file, ``file:function``, or the name of a handler of
    TorchServe. ``extra_files`` are files, folders (their contents) or wildcards. ``archive_format`` is one of
    `SUFFIXES`. With ``force`` an archive that exists is replaced.
    """

    model_name: str
    version: str = "1.0"
    baseline: Optional[Path] = None
    serialized_file: Optional[Path] = None
    model_file: Optional[Path] = None
    handler: Optional[str] = None
    extra_files: tuple[str, ...] = ()
    requirements_file: Optional[Path] = None
    config_file: Optional[Path] = None
    export_path: Path = Path()
    runtime: str = "python"
    archive_format: str = "default"
    force: bool = False


def build_archive(options: Options, environ: Optional[Mapping[str, str]] = None) -> Path:
    """Write the archive and return its path; equal inputs give equal bytes.

    The time of the archive is ``SOURCE_DATE_EPOCH`` of ``environ`` (seconds since 1970), by default 1980-01-01.

    Raises
    ------
    ArchiveError
        When a file is missing, a name is impossible or taken, a setting is wrong, or the output exists and ``force`` is
        not set.
    BaselineError
        When the baseline cannot be read.
    """
    output = _output_path(options)
    created = _archive_time(environ or {})
    settings = _settings(options.config_file)
    members = Members()
    handler = add_handler(members, options.handler)
    members.add(
        "MAR-INF/MANIFEST.json",
        manifest(
            model_name=options.model_name,
            version=options.version,
            handler=handler,
            created=created,
            runtime=options.runtime,
            serialized_file=_added_name(members, options.serialized_file, "serialized file"),
            model_file=_added_name(members, options.model_file, "model file"),
            requirements_file=_added_name(members, options.requirements_file, "requirements file"),
            config_file=_added_name(members, options.config_file, "config file"),
        ),
    )
    for pattern in options.extra_files:
        members.add_extra(pattern)
    _add_baseline(members, options, settings)
    members.add_package()
    write(members, output, options.archive_format, created)
    return output


def _output_path(options: Options) -> Path:
    if not _NAME.fullmatch(options.model_name):
        raise ArchiveError(f"model name must be letters, digits, '_', '-' and '.', got {options.model_name!r}")
    if not options.version.strip():
        raise ArchiveError(f"version must not be empty, got {options.version!r}")
    if options.archive_format not in SUFFIXES:
        raise ArchiveError(f"archive format must be one of {', '.join(SUFFIXES)}, got {options.archive_format!r}")
    if options.runtime not in RUNTIMES:
        raise ArchiveError(f"runtime must be one of {', '.join(RUNTIMES)}, got {options.runtime!r}")
    if not options.export_path.is_dir():
        raise ArchiveError(f"export path must be an existing folder, got {str(options.export_path)!r}")
    output = options.export_path / (options.model_name + SUFFIXES[options.archive_format])
    if output.exists() and not options.force:
        raise ArchiveError(f"output must not exist (--force replaces it), got {str(output)!r}")
    return output


def _archive_time(environ: Mapping[str, str]) -> float:
    text = environ.get("SOURCE_DATE_EPOCH", "")
    if not text:
        return _DEFAULT_TIME
    if not re.fullmatch(r"\d{1,10}", text):
        raise ArchiveError(f"SOURCE_DATE_EPOCH must be seconds since 1970, got {text!r}")
    return float(text)


def _settings(config_file: Optional[Path]) -> Settings:
    """The settings that the archive will run with, apart from environment variables."""
    if config_file is None:
        return Settings()
    try:
        content: Any = yaml.safe_load(config_file.read_bytes())
    except FileNotFoundError:
        raise ArchiveError(f"config file must be an existing file, got {str(config_file)!r}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # Python's limits of dates, digits and nesting
        raise ArchiveError(
            f"config file must be YAML, got {str(config_file)!r}: {' '.join(str(error).split())}"
        ) from None
    if not isinstance(content, dict):  # for an empty file TorchServe refuses the model without a reason
        raise ArchiveError(f"config file must be a YAML mapping that is not empty, got {str(config_file)!r}")
    try:
        return Settings.from_mapping(content.get("drift"))
    except ConfigError as error:
        raise ArchiveError(f"{config_file}: drift: {error}") from None


def _added_name(members: Members, path: Optional[Path], what: str) -> Optional[str]:
    """Add the file ``path``, if there is one, and return its name in the archive."""
    return None if path is None else members.add_file(path, what)


def _add_baseline(members: Members, options: Options, settings: Settings) -> None:
    name = settings.baseline
    if options.baseline is not None:
        if "/" in name or "\\" in name:
            raise ArchiveError(f"drift.baseline must be a file name without a path, got {name!r}")
        features = Baseline.load(options.baseline).features
        _check_features(settings, {feature.name for feature in features})
        require_learnable(features, settings.alarms)
        members.add(name, options.baseline)
    # another handler may monitor nothing, and an absolute path leads to a file outside the archive
    elif options.handler is None and not os.path.isabs(name) and name not in members:
        raise ArchiveError(f"the archive must hold its baseline {name!r}: give --baseline FILE")


def _check_features(settings: Settings, known: set[str]) -> None:
    for feature in settings.features:
        # predictions are features of the model's output, which no baseline of inputs holds
        if feature not in known and not feature.startswith("prediction"):
            raise ArchiveError(f"drift.features must be features of the baseline, got {feature!r}")
