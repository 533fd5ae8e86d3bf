"""The handler of an archive: that of this package, one of TorchServe, or the user's own."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Optional

from torchserve_drift.errors import ArchiveError
from torchserve_drift.mar.members import Members

_TORCHSERVE_HANDLERS = (
    "base_handler",
    "text_classifier",
    "image_classifier",
    "object_detector",
    "image_segmenter",
    "dali_image_classifier",
    "vllm_handler",
    "trt_llm_handler",
)


def entry_file() -> Path:
    """The file of the default handler. It is next to the package, in a source tree and in an installation."""
    return Path(__file__).parents[2] / "drift_handler.py"


def add_handler(members: Members, handler: Optional[str]) -> str:
    """Add the file of the handler to ``members``, if it has one, and return its name in the manifest.

    ``handler`` is ``None`` for the one of this package, else a file (``.py`` may be left out), ``file:function``, or
    the name of a handler of TorchServe.

    Raises
    ------
    ArchiveError
        When the file does not exist or is not Python, or TorchServe could not tell which of its classes to use.
    """
    if handler is None:
        return members.add_file(entry_file(), "the handler of torchserve-drift")
    if handler in _TORCHSERVE_HANDLERS:
        return handler
    name, _, function = handler.partition(":")
    path = Path(name if name.endswith(".py") else name + ".py")
    members.add_file(path, "handler")
    if not function:
        _require_one_entry(path)
    return os.path.basename(handler)


def _require_one_entry(path: Path) -> None:
    """Require a function `handle` or one class at most: with two classes workers die and requests hang."""
    try:
        body = ast.parse(path.read_bytes(), str(path)).body
    except (SyntaxError, ValueError) as error:
        raise ArchiveError(f"handler must be Python, got {str(path)!r}: {error}") from None
    classes = [node.name for node in body if isinstance(node, ast.ClassDef)]
    if len(classes) > 1 and "handle" not in set(_names_bound_by(body)):
        raise ArchiveError(
            f"handler must have one class or a function handle, got {', '.join(classes)} in {str(path)!r}"
        )


def _names_bound_by(body: list[ast.stmt]) -> Iterator[str]:
    """The names of functions, imports and variables that the statements of a module define."""
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.name
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            yield from (alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.Assign):
            yield from (target.id for target in node.targets if isinstance(target, ast.Name))
