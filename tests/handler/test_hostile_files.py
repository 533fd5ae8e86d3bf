"""Damaged baselines, archives, segments and snapshots: each gives an error of one line, and the model is served."""

from __future__ import annotations

import ast
import hashlib
import json
import logging
import os
import pickle
import struct
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import numpy as np
import pytest
import safetensors.numpy

from baselines import baseline
from local_handlers import COLUMNS, DRIFT, Model, sent_back, served
from snapshots import numeric, usual
from torchserve_drift import Monitor
from torchserve_drift.baseline import artifact, artifact_file
from torchserve_drift.cli import main
from torchserve_drift.errors import ArchiveError, BaselineError, ConfigError
from torchserve_drift.mar.archive import Options, build_archive
from torchserve_drift.port.answers import respond
from torchserve_drift.port.model_directory import prepare_model_directory, publish
from torchserve_drift.port.snapshot_files import SnapshotFiles
from torchserve_drift.settings.settings import Settings

SOURCE = Path(__file__).parents[2] / "handler"
GOOD = artifact.to_bytes(baseline(COLUMNS))
(HEADER,) = struct.unpack("<Q", GOOD[:8])
ROW = {"age": 30, "device": "tablet", "height": 1.5}
BODIES = [ROW, [30, 2, 1.5], [[1, 2, 3], [4, 5, 6]], {"instances": [[1, 2, 3]]}, bytearray(b"{")]
REQUESTS: list[Any] = [*({"body": body} for body in BODIES), {}]


# Nothing is ever unpickled

UNPICKLING = {"pickle", "cPickle", "_pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "pandas"}
EXECUTING = {"eval", "exec", "compile", "__import__"}


def modules() -> list[Path]:
    return sorted(path for path in SOURCE.rglob("*.py") if "__pycache__" not in path.parts)


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_no_module_can_unpickle_or_execute_what_it_reads(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            assert not {name.split(".")[0] for name in names} & UNPICKLING, f"{path.name}:{node.lineno}"
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in EXECUTING, f"{path.name}:{node.lineno}"
            loads = called.rpartition(".")[2] in ("load", "full_load", "unsafe_load", "read_pickle", "Unpickler")
            plain = called in ("json.load", "Baseline.load")
            assert plain or not loads, f"{path.name}:{node.lineno} calls {called}"
            assert not any(keyword.arg == "allow_pickle" for keyword in node.keywords), f"{path.name}:{node.lineno}"


class Bomb:
    """Whoever unpickles it makes the file ``went_off``."""

    def __init__(self, went_off: Path) -> None:
        self._went_off = went_off

    def __reduce__(self) -> Any:
        return open, (str(self._went_off), "w")


@pytest.fixture
def bomb(tmp_path: Path) -> Iterator[bytes]:
    went_off = tmp_path / "went off"
    data = pickle.dumps(Bomb(went_off))
    pickle.loads(data).close()
    assert went_off.exists()
    went_off.unlink()
    yield data + b"\0" * 5000
    assert not went_off.exists()


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a command line that fails; gives the line it wrote."""

    def call(*arguments: object) -> str:
        with pytest.raises(SystemExit) as stopped:
            main([str(argument) for argument in arguments])
        written = capsys.readouterr()
        assert (stopped.value.code, written.out) == (2, "")
        assert written.err.count("\n") == 1
        assert written.err.startswith("torchserve-drift: ")
        assert len(written.err) < 1100
        return written.err

    return call


def test_a_pickle_is_no_baseline_segment_or_snapshot(tmp_path: Path, bomb: bytes, run: Callable[..., str]) -> None:
    path = tmp_path / "baseline.safetensors"
    npz = tmp_path / "objects.npz"
    np.savez(npz, sample=np.array([bomb], dtype=object))
    for content in (bomb, npz.read_bytes(), GOOD[:132] + bomb, GOOD[: 8 + HEADER] + bomb):
        path.write_bytes(content)
        with pytest.raises(BaselineError):
            artifact_file.load_file(path)
        run("show", path)
        run("check", path, path)
        run("archive", "--model-name", "m", "--version", "1", "--baseline", path, "--export-path", tmp_path)
    watching = Monitor(baseline(COLUMNS), DRIFT, directory=tmp_path / "state")
    (segment,) = (tmp_path / "state").glob("*.segment")
    watching.stop()
    with segment.open("r+b") as file:
        file.write(bomb)
    for name in ("snapshot.json", "model.json"):
        (tmp_path / "state" / name).write_bytes(bomb)
    again = Monitor(baseline(COLUMNS), DRIFT, directory=tmp_path / "state")
    assert again.evaluate().windows["1h"].rows == 0
    assert SnapshotFiles(tmp_path, "127.0.0.1:0").snapshots() == []
    again.stop()


# Broken baselines in front of a model


def signed(data: bytes) -> bytes:
    """``data`` with the digest that an attacker would put there."""
    blank = data[:68] + b"0" * 64 + data[132:]
    return data[:68] + hashlib.sha256(blank).hexdigest().encode() + data[132:]


def flipped(place: int, bit: int = 0) -> bytes:
    return GOOD[:place] + bytes([GOOD[place] ^ (1 << bit)]) + GOOD[place + 1 :]


def wrong_shape(**change: Any) -> bytes:
    text = safetensors_text(GOOD)
    return signed(safetensors.numpy.save({**safetensors.numpy.load(GOOD), **change}, {artifact.header.KEY: text}))


def safetensors_text(data: bytes) -> str:
    return str(json.loads(data[8 : 8 + HEADER])["__metadata__"][artifact.header.KEY])


ENDS = 8 + HEADER
LENGTHS = [0, 1, 7, 8, 9, 67, 68, 100, 131, 132, 133, ENDS - 1, ENDS, ENDS + 1, len(GOOD) // 2, len(GOOD) - 1]
ANYWHERE = np.random.default_rng(5).integers(132, len(GOOD), 12).tolist()
PLACES = [*range(8), 8, 67, 68, 131, 132, *ANYWHERE, len(GOOD) - 1]
BROKEN: dict[str, bytes] = {
    **{f"cut at {length}": GOOD[:length] for length in LENGTHS},
    **{f"flipped at {place}": flipped(place, place % 8) for place in PLACES},
    "with more at its end": GOOD + b"\0",
    "twice": GOOD * 2,
    "of zeros": bytes(10_000),
    "of a header of the largest length": b"\xff" * 8 + GOOD[8:],
    "of a header as long as the file": struct.pack("<Q", len(GOOD) - 8) + GOOD[8:],
    "of another shape": wrong_shape(importance=np.ones((3, 1)) / 3),
    "of NaN": wrong_shape(importance=np.full(3, np.nan)),
    "with a tensor more": wrong_shape(weights=np.zeros((100, 100))),
    "other safetensors": safetensors.numpy.save({"weight": np.zeros(1000)}),
    "text": b"this is no baseline" * 100,
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    with served(tmp_path_factory.mktemp("hostile")) as model:
        yield model


def logged_errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize("how", BROKEN)
def test_the_model_serves_with_a_baseline_that_is(model: Model, how: str, caplog: pytest.LogCaptureFixture) -> None:
    (model.path / "baseline.safetensors").write_bytes(BROKEN[how])
    broken = model.handler()
    lines = logged_errors(caplog)
    off = model.handler(drift={**DRIFT, "windows": "never"})
    assert broken._monitor is None
    assert lines[0].startswith("drift monitoring is off, the model serves without it: baseline ")
    assert all("\n" not in line for line in lines)
    assert len(lines) == 1 + (len(broken._decoder.encoder.names) == 0 if broken._decoder else 1)
    sent = sent_back(model, broken, REQUESTS)
    assert sent == sent_back(model, off, REQUESTS)
    assert b"33.5" in sent  # lists of numbers are answered in any case


@pytest.mark.parametrize("kind", ["pipe", "device", "directory", "link to itself", "zip bomb", "sparse"])
def test_the_model_serves_with_a_baseline_that_is_not_a_file(
    model: Model, kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "strange"
    make_strange(path, kind)
    handler = model.handler(drift={**DRIFT, "baseline": str(path)})
    assert len(logged_errors(caplog)) == 2
    assert b"33.5" in sent_back(model, handler, REQUESTS)
    assert handler._monitor is None


def test_a_pipe_that_a_process_holds_open_is_no_baseline(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    end = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    try:
        with pytest.raises(BaselineError, match=r"/pipe' cannot be read: Not a regular file$"):
            artifact_file.load_file(path)
    finally:
        os.close(end)


def make_strange(path: Path, kind: str) -> None:
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "directory":
        path.mkdir()
    elif kind == "link to itself":
        path.symlink_to(path)
    elif kind == "zip bomb":
        with (
            zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
            archive.open("baseline.safetensors", "w") as member,
        ):
            for _ in range(200):
                member.write(bytes(1 << 20))
    else:
        with path.open("wb") as file:
            file.truncate(1 << 40)


# Memory

LIMITED = """\
import json, resource, sys, tracemalloc
from pathlib import Path
import safetensors.numpy
from torchserve_drift.baseline import artifact, artifact_file
from torchserve_drift.cli import application, archive, show
from torchserve_drift.errors import DriftError

used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20), used + (64 << 20)))
tracemalloc.start()
found = {}
for path in sys.argv[1:]:
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    for read in (artifact_file.load_file, lambda path: artifact.read_schema(artifact_file.read_file(path))):
        try:
            read(path)
            said = None
        except DriftError as error:
            said = str(error)
        found.setdefault(path, []).append(said)
    found[path].append(tracemalloc.get_traced_memory()[1] - before)
print(json.dumps(found))
"""


def declared(tensor: dict[str, Any], rows: int = 1000, sample_rows: int = 1000) -> bytes:
    """A file of a right digest whose header says more than the file holds."""
    content = json.loads(safetensors_text(GOOD))
    content.update(rows=rows, sample_rows=sample_rows)
    outer = json.loads(GOOD[8 : 8 + HEADER])
    outer["__metadata__"][artifact.header.KEY] = json.dumps(content, separators=(",", ":"))
    outer["numeric.sample"] = tensor
    text = json.dumps(outer, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return signed(struct.pack("<Q", len(text)) + text + GOOD[8 + HEADER :])


def test_no_file_makes_reading_it_take_memory_beyond_its_size(tmp_path: Path) -> None:
    """In a process that may have 64 MiB more than it has: a huge declared size would end in MemoryError."""
    kinds = ["pipe", "device", "zip bomb", "sparse", "link to itself"]
    contents = {
        "header": struct.pack("<Q", 1 << 62) + GOOD[8:],
        "header within safetensors' limit": struct.pack("<Q", 99_999_999) + GOOD[8:],
        "shape": declared({"dtype": "F64", "shape": [2, 1 << 50], "data_offsets": [0, 1 << 54]}, 2**40, 32_000),
        "shape of the sample": declared(
            {"dtype": "F64", "shape": [2, 32_000], "data_offsets": [0, 512_000]}, 2**40, 32_000
        ),
        "shape below": declared({"dtype": "F64", "shape": [2, -1], "data_offsets": [0, -16]}),
        "offsets": declared({"dtype": "F64", "shape": [2, 1000], "data_offsets": [1 << 60, (1 << 60) + 16_000]}),
        "nested": signed(struct.pack("<Q", 500_124) + GOOD[8:132] + b"[" * 500_000),
        **BROKEN,
    }
    for kind in kinds:
        make_strange(tmp_path / kind, kind)
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    paths = [str(tmp_path / name) for name in (*kinds, *contents)]
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, *paths], capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "PYTHONPATH": str(SOURCE), "OPENBLAS_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found.keys() == set(paths)
    for path, (said, _, peak) in found.items():
        assert said is not None, path
        assert "\n" not in said
        assert said.startswith(f"baseline {path!r} cannot be ")
        size = os.stat(path).st_size if Path(path).name in contents else 0
        assert peak < 4 * size + 400_000, path


def test_a_section_of_lists_within_lists_is_refused_in_no_time() -> None:
    """1 KB of YAML whose value, written out, has 9**20 items; and sections of sections likewise."""
    lists: Any = "x"
    sections: Any = {"mean_shift": "x"}
    for _ in range(20):
        lists, sections = [lists] * 9, dict.fromkeys("abcdefghi", sections)
    ring: Any = {}
    ring["alarms"] = ring["features"] = ring
    for key in ("windows", "min_rows", "evaluate_every", "baseline", "predictions", "state_dir", "alarms", "features"):
        for value in (lists, [lists], sections, ring):
            with pytest.raises(ConfigError) as caught:
                Settings.from_mapping({key: value}, {"TORCHSERVE_DRIFT_EXPORT__TOP_FEATURES": "3"})
            assert len(str(caught.value)) <= 1000


@pytest.mark.parametrize(
    "text",
    [
        "drift: " + "[" * 5000,
        "drift: {min_rows: " + "9" * 5000 + "}",
        "drift: 2024-99-99",
        "drift: &a {alarms: *a}",
        "drift: !!python/object/apply:os.system [exit]",
        "drift: {windows: !!python/name:os.system }",
        "\x00",
        "a: b: c",
        "drift: {min_rows: &a [1], windows: [*a, *a]}",
    ],
)
def test_a_config_file_beyond_reason_is_one_line(text: str, tmp_path: Path) -> None:
    config = tmp_path / "model-config.yaml"
    config.write_text(text)
    with pytest.raises(ArchiveError) as caught:
        build_archive(Options("m", config_file=config, export_path=tmp_path))
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == [config]


# Snapshots and segments


def test_no_bit_of_a_snapshot_hides_another_model(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for name in ("broken", "healthy"):
        (root / name).mkdir(parents=True)
        prepare_model_directory(root / name, model_dir=str(root), address="127.0.0.1:1")
        made = usual(model_name=name)
        made["report"]["model_name"] = name
        publish(root / name, made)
    path = root / "broken" / "snapshot.json"
    whole = path.read_bytes()
    random, shown = np.random.default_rng(6), SnapshotFiles(root, "127.0.0.1:1")
    hidden = 0
    for place in random.integers(0, len(whole), 400):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(random.integers(8))
        path.unlink()  # an inode of its own: two writes within a tick of the clock
        path.write_bytes(damaged if random.random() < 0.9 else damaged[:place])
        for target in ("/metrics", "/", "/api/v1/models", "/api/v1/models/healthy/1.0"):
            answer = respond("GET", target, {}, shown.snapshots)
            assert answer.status == 200
            assert b"healthy" in answer.body
        hidden += b"broken" not in respond("GET", "/metrics", {}, shown.snapshots).body
        shown.latest_report(root / "broken")
    assert 100 < hidden < 400  # most of these are damaged beyond reading, and some are not


def test_a_fault_that_no_snapshot_is_to_blame_for_is_none_to_hide() -> None:
    def fail(_: object) -> Any:
        raise ZeroDivisionError

    many = [usual(), usual(model_name="n")]
    many[0]["features"] = [numeric(f"f{i}") for i in range(100)]
    with pytest.raises(ZeroDivisionError):
        respond("GET", "/metrics", {}, lambda: many, fail)


FEW = {"age": np.arange(20.0), "device": ["mobile"] * 20, "height": np.arange(20.0)}


@pytest.mark.parametrize("seed", range(48))
def test_no_bit_and_no_cut_of_a_segment_ends_evaluations(tmp_path: Path, seed: int) -> None:
    random = np.random.default_rng(seed)
    watching = Monitor(baseline(COLUMNS), DRIFT, directory=tmp_path)
    watching.observe(FEW)
    watching.evaluate()
    watching.stop()
    (path,) = tmp_path.glob("*.segment")
    damaged = bytearray(path.read_bytes())
    for place in random.integers(0, len(damaged) if random.random() < 0.5 else 4096, 3):
        damaged[place] ^= 1 << int(random.integers(8))
    cut = random.random() < 0.3
    path.write_bytes(damaged[: random.integers(len(damaged))] if cut else damaged)
    again = Monitor(baseline(COLUMNS), DRIFT, directory=tmp_path)
    thread = again.background()
    for round_ in range(3):
        again.observe(FEW)
        thread.run_once(1e5 * round_)
    before = thread.publication.shown_snapshots()[0]["rows_total"]
    again.observe(FEW)
    thread.run_once(1e6)
    assert thread.publication.shown_snapshots()[0]["rows_total"] == before + 20
    assert respond("GET", "/metrics", {}, thread.publication.shown_snapshots).status == 200
    thread.stop()
    again.stop()
