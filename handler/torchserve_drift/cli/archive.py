"""`torchserve-drift archive`: torch-model-archiver's options, and --baseline."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Optional

import click

from torchserve_drift.mar.archive import RUNTIMES, Options, build_archive
from torchserve_drift.mar.write import SUFFIXES

_FILE = click.Path(path_type=Path)


@click.command("archive")
@click.option("--model-name", required=True, help="Name of the model and of the archive.")
@click.option("--serialized-file", type=_FILE, help="The weights, or a TorchScript model (.pt, .pth).")
@click.option("--model-file", type=_FILE, help="Python file with the model's class, for weights only.")
@click.option("--handler", help="File, file:function or name of a handler; default: the one of torchserve-drift.")
@click.option("--baseline", type=_FILE, help="The baseline to compare requests with.")
@click.option("--extra-files", help="Further files, folders (their contents) or wildcards, separated by commas.")
@click.option("--runtime", type=click.Choice(RUNTIMES), default="python", show_default=True)
@click.option("--export-path", type=_FILE, default=Path(), help="Folder to write to; default: the present one.")
@click.option("--archive-format", type=click.Choice(tuple(SUFFIXES)), default="default", show_default=True)
@click.option("-f", "--force", is_flag=True, help="Replace an archive that exists.")
@click.option("-v", "--version", required=True, help="Version of the model.")
@click.option("-r", "--requirements-file", type=_FILE, help="Packages the model needs, as pip reads them.")
@click.option("-c", "--config-file", type=_FILE, help="model-config.yaml, with the `drift:` section.")
def command(extra_files: Optional[str], **options: Any) -> None:
    """Write a reproducible model archive that watches its inputs for drift."""
    extra = tuple(pattern.strip() for pattern in (extra_files or "").split(",") if pattern.strip())
    click.echo(build_archive(Options(extra_files=extra, **options), os.environ))
