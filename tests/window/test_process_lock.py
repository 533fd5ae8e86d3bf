"""Locks between processes: one holder at a time, on the file that is at the path, and never inherited by children."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from torchserve_drift.window import process_lock
from torchserve_drift.window.process_lock import ProcessLock, drop_in_children


def in_child(work: Callable[[], bool]) -> bool:
    """What ``work`` returns in a forked child, after the child has ended."""
    child = os.fork()
    if child == 0:
        found = False
        try:
            found = work()
        finally:  # the child must not return into pytest
            os._exit(0 if found else 1)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) == 0


def test_only_one_holder_at_a_time(tmp_path: Path) -> None:
    one, other = ProcessLock(tmp_path / "lock"), ProcessLock(tmp_path / "lock")
    assert one.take()
    assert one.take()
    assert not other.take()
    one.release()
    assert other.take()
    assert not one.take()
    one.release()  # which does not have it
    assert not one.take()
    assert (tmp_path / "lock").stat().st_mode & 0o777 == 0o600


def test_another_process_has_to_wait(tmp_path: Path) -> None:
    lock = ProcessLock(tmp_path / "lock")
    assert lock.take()
    program = f"""
        from pathlib import Path
        from torchserve_drift.window.process_lock import ProcessLock
        print(ProcessLock(Path({str(tmp_path / "lock")!r})).take())
    """

    def found() -> str:
        return subprocess.run(
            [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True
        ).stdout.strip()

    assert found() == "False"
    lock.release()
    assert found() == "True"
    assert lock.take()  # that process has ended


def test_a_lock_that_is_collected_is_free(tmp_path: Path) -> None:
    lock = ProcessLock(tmp_path / "lock")
    assert lock.take()
    del lock
    gc.collect()
    assert ProcessLock(tmp_path / "lock").take()


@pytest.mark.parametrize("replaced", [False, True])
def test_a_file_that_is_not_at_its_path_any_more_is_given_up_for_the_new_one(tmp_path: Path, replaced: bool) -> None:
    path = tmp_path / "lock"
    one, other = ProcessLock(path), ProcessLock(path)
    assert one.take()
    if replaced:
        (tmp_path / "new").touch()
        (tmp_path / "new").replace(path)
    else:
        path.unlink()
    assert one.take()
    assert not other.take()  # both look at the new file
    path.unlink()
    assert other.take()
    assert not one.take()
    other.release()
    assert one.take()


def test_a_lock_whose_directory_is_gone_stays(tmp_path: Path) -> None:
    directory = tmp_path / "directory"
    directory.mkdir()
    lock = ProcessLock(directory / "lock")
    assert lock.take()
    (directory / "lock").unlink()
    directory.rmdir()
    assert lock.take()  # no other process can lock a file there
    lock.release()
    with pytest.raises(FileNotFoundError):
        lock.take()


def test_a_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        ProcessLock(tmp_path / "lock").take()
    assert not (tmp_path / "elsewhere").exists()


def test_a_forked_child_does_not_have_the_lock_and_its_end_frees_nothing(tmp_path: Path) -> None:
    lock = ProcessLock(tmp_path / "lock")
    assert lock.take()
    assert in_child(lambda: not lock.take())
    assert in_child(lambda: lock.release() is None)
    assert not ProcessLock(tmp_path / "lock").take()
    assert lock.take()


def test_a_released_lock_is_free_while_a_child_lives_that_was_forked_before(tmp_path: Path) -> None:
    lock = ProcessLock(tmp_path / "lock")
    assert lock.take()
    process_lock._registered.discard(lock)  # the child keeps the file open, as before its callbacks have run
    ready, done = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os.write(ready[1], b".")
        os.read(done[0], 1)
        os._exit(0)
    try:
        os.read(ready[0], 1)
        lock.release()
        assert ProcessLock(tmp_path / "lock").take()
    finally:
        os.write(done[1], b".")
        os.waitpid(child, 0)
        for end in (*ready, *done):
            os.close(end)


class Holder:
    def __init__(self, fault: bool = False) -> None:
        self.fault, self.dropped = fault, 0
        drop_in_children(self)

    def drop_in_child(self) -> None:
        self.dropped += 1
        if self.fault:
            raise OSError("no memory")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_all_holders_drop_in_a_child_also_after_a_fault_and_none_in_the_parent() -> None:
    holders = [Holder(fault=i == 2) for i in range(5)]
    assert in_child(lambda: [holder.dropped for holder in holders] == [1] * 5)
    assert [holder.dropped for holder in holders] == [0] * 5


def test_holders_that_are_gone_leave_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    drop_in_children(Holder())
    gc.collect()
    before = len(process_lock._registered)
    callbacks: list[object] = []
    monkeypatch.setattr(os, "register_at_fork", lambda **callback: callbacks.append(callback))
    for _ in range(100):
        Holder()
    gc.collect()
    assert len(process_lock._registered) == before
    assert callbacks == []
