"""The handler of an archive: this package's, TorchServe's own, or the user's."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Optional

from torchserve_drift.errors import ArchiveError
from torchserve_drift.mar.members import Members

_BUILT_IN = (
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
    """The default handler: it lies beside the package, in a source tree as in an installation."""
    return Path(__file__).parents[2] / "drift_handler.py"


def add_handler(members: Members, handler: Optional[str]) -> str:
    """Take the handler's file, if it has one, and return what the manifest calls it.

    ``handler`` is ``None`` for this package's, else a file (``.py`` may be left out), ``file:function``, or the name of
    one that TorchServe brings.
    """
    if handler is None:
        return members.add_file(entry_file(), "the handler of torchserve-drift")
    if handler in _BUILT_IN:
        return handler
    name, _, function = handler.partition(":")
    path = Path(name if name.endswith(".py") else name + ".py")
    members.add_file(path, "handler")
    if not function:
        _check_handler(path)
    return os.path.basename(handler)


def _check_handler(path: Path) -> None:
    """TorchServe wants a function `handle` or one class; with two classes workers die and requests hang."""
    try:
        body = ast.parse(path.read_bytes(), str(path)).body
    except (SyntaxError, ValueError) as error:
        raise ArchiveError(f"handler must be Python, got {str(path)!r}: {error}") from None
    classes = [node.name for node in body if isinstance(node, ast.ClassDef)]
    if len(classes) > 1 and "handle" not in set(_bound(body)):
        raise ArchiveError(
            f"handler must have one class or a function handle, got {', '.join(classes)} in {str(path)!r}"
        )


def _bound(body: list[ast.stmt]) -> Iterator[str]:
    """The names that the module's own statements define or import."""
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.name
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            yield from (alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.Assign):
            yield from (target.id for target in node.targets if isinstance(target, ast.Name))
