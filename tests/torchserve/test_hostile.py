"""Archives with a damaged baseline or wrong settings in a real TorchServe: all are served, one is monitored."""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import pytest

from metrics_port import scrape, shown_models, value
from servers import TorchServe, free_ports, torchserve, wait_for
from sum_model import archive, request_rows

pytestmark = pytest.mark.server

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join(['*' + before] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi")
)
"""YAML of 400 bytes whose last list, written out, has 9**9 items."""


class Exploding:
    def __init__(self, went_off: Path) -> None:
        self._went_off = went_off

    def __reduce__(self) -> Any:
        return open, (str(self._went_off), "w")


def rewritten(path: Path, member: str, change: Callable[[bytes], bytes]) -> None:
    """Change one member of an archive."""
    with zipfile.ZipFile(path) as source:
        contents = {name: source.read(name) for name in source.namelist()}
    contents[member] = change(contents[member])
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for name, content in contents.items():
            target.writestr(name, content)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TorchServe, int, Path]]:
    store = tmp_path_factory.mktemp("hostile")
    (port,) = free_ports(1)
    drift = {"windows": ["1h"], "evaluate_every": "300ms", "export": {"address": f"127.0.0.1:{port}"}}
    went_off = store.parent / "went off"
    damages: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
        "flipped": ("baseline.safetensors", lambda data: data[:-9] + bytes([data[-9] ^ 16]) + data[-8:]),
        "pickled": ("baseline.safetensors", lambda _: pickle.dumps(Exploding(went_off)) + bytes(1000)),
        "nested": (
            "model-config.yaml",
            lambda data: (BOMB + "drift: {min_rows: *i}\n" + _without_drift(data)).encode(),
        ),
        "sound": ("baseline.safetensors", lambda data: data),
    }
    for name, (member, change) in damages.items():
        archive(store, f"{name}.mar", drift, name=name, maxWorkers=1)
        rewritten(store / f"{name}.mar", member, change)
    with torchserve(store, {name: f"{name}.mar" for name in damages}, timeout=240) as server:
        yield server, port, went_off


def _without_drift(data: bytes) -> str:
    settings = json.loads(data)
    del settings["drift"]
    return "".join(f"{key}: {json.dumps(item)}\n" for key, item in settings.items())


def test_models_serve_with_a_broken_baseline_and_log_one_line(served: tuple[TorchServe, int, Path]) -> None:
    server, port, went_off = served
    rows = request_rows(30)
    for row in rows:
        assert server.predict("sound", row.features) == pytest.approx(row.answer, rel=1e-5)
        for name in ("flipped", "nested"):  # the features are still known
            assert server.predict(name, row.features) == pytest.approx(row.answer, rel=1e-5)
        assert server.predict("pickled", [1, 2, row.features["age"]]) == pytest.approx(3 + row.features["age"])
    samples = wait_for(
        "rows of the sound model",
        lambda: (found := scrape(port)) and value(found, "rows_total", "sound") == len(rows) and found,
    )
    assert shown_models(samples) == {("sound", "1.0")}
    assert all(found == 0 for (name, _), found in samples.items() if name == "errors_total")
    log = server.log.read_text(errors="replace")
    off = {line.partition("without it: ")[2] for line in log.splitlines() if "drift monitoring is off" in line}
    assert len(off) == 3
    for reason in ("its sha256 must be", "it must begin as a baseline does", "min_rows must be an integer"):
        assert sum(reason in line for line in off) == 1, reason
    assert all(len(line) < 1100 for line in off)
    assert "Traceback" not in log
    assert not went_off.exists()
    assert "Worker died" not in log
