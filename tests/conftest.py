"""Set-up for all tests: import paths, examples for hypothesis, and what lets tests run in several processes at once."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

_TESTS = Path(__file__).parent
for folder in (_TESTS, _TESTS.parent / "scripts", _TESTS.parent / "handler"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

# How long an example takes depends more on the machine than on the code, so there is no deadline. Continuous
# integration repeats the same examples, so that it fails only because of a change; other runs look for new examples.
settings.register_profile("here", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Say which tests share a process when they run side by side (`pytest -n 2 --dist loadgroup`).

    All tests that start a real server run one after another in one process: they measure how long a server takes, and
    two servers at once would take each other's time. They come first, because together they take longest. Every other
    module is a group of its own, so that its fixtures are made once.
    """
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return
    for item in items:
        item.add_marker(pytest.mark.xdist_group("servers" if _starts_server(item) else str(item.path)))
    items.sort(key=lambda item: not _starts_server(item))


def _starts_server(item: pytest.Item) -> bool:
    return any(item.get_closest_marker(name) is not None for name in ("server", "prometheus"))


@pytest.fixture(scope="session", autouse=True)
def own_temporary_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A temporary directory for this process alone.

    Workers of one user meet in the temporary directory, so tests in two processes that shared one would see each
    other's models. Its path is short because Unix sockets are made in it, and their paths have at most 107 characters.
    """
    tmp_path_factory.getbasetemp()  # pytest's own directories stay where it keeps them
    folder = tempfile.mkdtemp(prefix="tests-")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", folder)
        patch.setattr(tempfile, "tempdir", folder)
        yield
    shutil.rmtree(folder, ignore_errors=True)
