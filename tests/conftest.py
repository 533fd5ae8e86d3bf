"""Set-up for all tests: import paths, settings of hypothesis, and rules for running tests in several processes."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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


_WITH_SERVERS = ("tests/torchserve/", "tests/scripts/test_soak.py")


@pytest.hookimpl(optionalhook=True)  # a hook of pytest-xdist, which is not needed to run the tests
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Say which tests share a process when they run side by side (`pytest -n 2`).

    Each module is run by one process, so that its fixtures are made once. All modules that start TorchServe are run by
    the same process, one after another: they measure how long a server takes, and two servers at once would take each
    other's time.
    """
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):  # type: ignore[misc] # xdist's marks for groups do not work with pytest 9.2
        def _split_scope(self, nodeid: str) -> str:
            return "with servers" if nodeid.startswith(_WITH_SERVERS) else str(super()._split_scope(nodeid))

    return Scheduling(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the tests that start TorchServe when they run side by side: together they take longest."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=lambda item: not item.nodeid.startswith(_WITH_SERVERS))


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
