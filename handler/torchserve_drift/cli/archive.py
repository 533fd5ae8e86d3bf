"""`torchserve-drift archive`: the options of torch-model-archiver, and --baseline."""

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
@click.option(
    "--model-file",
    type=_FILE,
    help="Python file with the model's class; needed when the serialized file holds weights only.",
)
@click.option(
    "--handler", help="File, file:function or name of a TorchServe handler; default: DriftHandler of this package."
)
@click.option("--baseline", type=_FILE, help="The baseline with which requests are compared.")
@click.option("--extra-files", help="Further files, folders (their contents) or wildcards, separated by commas.")
@click.option(
    "--runtime",
    type=click.Choice(RUNTIMES),
    default="python",
    show_default=True,
    help="Python command that TorchServe starts workers with.",
)
@click.option(
    "--export-path",
    type=_FILE,
    default=Path(),
    help="Existing folder to write the archive to; default: the current folder.",
)
@click.option(
    "--archive-format",
    type=click.Choice(tuple(SUFFIXES)),
    default="default",
    show_default=True,
    help="A .mar file (default: compressed, zip-store: uncompressed), a .tar.gz file or a folder.",
)
@click.option("-f", "--force", is_flag=True, help="Replace an existing archive.")
@click.option("-v", "--version", required=True, help="Version of the model.")
@click.option(
    "-r", "--requirements-file", type=_FILE, help="Requirements file for pip with the packages that the model needs."
)
@click.option("-c", "--config-file", type=_FILE, help="model-config.yaml with the section drift:.")
def command(extra_files: Optional[str], **options: Any) -> None:
    """Write a model archive that monitors its inputs for drift. Equal inputs give equal bytes."""
    extra = tuple(pattern.strip() for pattern in (extra_files or "").split(",") if pattern.strip())
    click.echo(build_archive(Options(extra_files=extra, **options), os.environ))
