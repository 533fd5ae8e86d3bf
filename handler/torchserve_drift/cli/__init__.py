"""The command line `torchserve-drift`: each command is a plain function in a module of its own."""

from __future__ import annotations

import importlib
import sys
from typing import Optional

import click

from torchserve_drift.errors import DriftError

COMMANDS = {"baseline": "build", "show": "show", "check": "check", "archive": "archive", "status": "status"}
"""Command to the module that defines it as ``command``. A module is imported only when its command is used."""


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> Optional[click.Command]:  # noqa: ARG002 - click's
        if cmd_name not in COMMANDS:
            return None
        # a command loads only what it needs: `status` must not wait for DuckDB
        command = importlib.import_module(f"{__name__}.{COMMANDS[cmd_name]}").command
        assert isinstance(command, click.Command)
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="torchserve-drift")
def application() -> None:
    """Drift monitoring for models served by TorchServe."""


def main(arguments: Optional[list[str]] = None) -> None:
    """Run the command line. An error is one line on stderr, and the exit code 2."""
    try:
        code = application.main(args=arguments, standalone_mode=False)
    except DriftError as error:
        _fail(str(error))
    except click.ClickException as error:
        _fail(error.format_message())
    except (click.Abort, KeyboardInterrupt):
        _fail("interrupted")
    except OSError as error:
        _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    else:
        sys.exit(code if isinstance(code, int) else 0)


def _fail(message: str) -> None:
    # always one line, also if the message has line breaks
    print("torchserve-drift: " + " ".join(message.split()), file=sys.stderr)
    sys.exit(2)
