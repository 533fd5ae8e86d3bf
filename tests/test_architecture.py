"""ARCHITECTURE.md says what is there: every module, what it imports, and which touch nothing but their arguments."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from torchserve_drift.mar.members import Members

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "handler"
PACKAGE = SOURCE / "torchserve_drift"
LONGEST = 300

_FILES = ["fcntl", "fileinput", "glob", "mmap", "os", "pathlib", "shutil", "sqlite3", "tempfile"]
_NETWORK = ["asyncio", "http", "select", "selectors", "socket", "socketserver", "ssl", "urllib"]
_PROCESSES = ["concurrent", "ctypes", "multiprocessing", "queue", "sched", "signal", "subprocess", "threading", "time"]
_GLOBAL = ["importlib", "logging", "random", "resource", "secrets", "sys", "uuid", "warnings"]
_OTHERS = ["click", "duckdb", "ibis", "pyarrow", "rich", "torch", "ts", "yaml"]
IMPURE = frozenset([*_FILES, *_NETWORK, *_PROCESSES, *_GLOBAL, *_OTHERS])
"""What clocks, files, sockets, threads, logs, terminals and global state are reached through."""

HARMLESS = frozenset({"os.PathLike", "urllib.parse.unquote"})

IMPURE_CALLS = frozenset({"open", "print", "input", "now", "utcnow", "today", "default_rng", "read_text", "write_text"})

NAMED_LIKE_STDLIB = frozenset({"baseline.profile", "export.http"})
"""Reached by their full names only, from folders that are never on the path; no more of them."""


class Import(NamedTuple):
    """``module`` of the package (without its name), or ``package.name`` of another; ``lazy``: inside a function."""

    module: str
    lazy: bool
    own: bool


class Row(NamedTuple):
    pattern: str
    eager: frozenset[str]
    lazy: frozenset[str]
    pure: bool


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts if parts[-1] != "__init__" or len(parts) == 1 else parts[:-1])


FILES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py")) if "__pycache__" not in path.parts}
FOLDERS = frozenset(name for name, path in FILES.items() if path.stem == "__init__") - {"__init__", "cli"}
"""Packages that only hold modules; `cli` is a module of its own too."""

MODULES = sorted(FILES.keys() - FOLDERS)


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(FILES[module].read_bytes())


@cache
def imports(module: str) -> frozenset[Import]:
    return frozenset(imports_below(tree(module), lazy=False))


def imports_below(node: ast.AST, *, lazy: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for other in child.orelse:
                yield from imports_below(other, lazy=lazy)
        elif isinstance(child, ast.Import):
            for alias in child.names:
                yield imported(alias.name, "", lazy)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, "imports have full names"
            for alias in child.names:
                yield imported(str(child.module), alias.name, lazy)
        else:
            is_function = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            yield from imports_below(child, lazy=lazy or is_function)


def imported(module: str, name: str, lazy: bool) -> Import:
    if module.split(".", maxsplit=1)[0] != PACKAGE.name:
        return Import(f"{module}.{name}" if name else module, lazy, own=False)
    inside = module[len(PACKAGE.name) + 1 :]
    deeper = f"{inside}.{name}".strip(".")
    return Import(deeper if deeper in FILES else inside or "__init__", lazy, own=True)


def table() -> Iterator[Row]:
    lines = (ROOT / "ARCHITECTURE.md").read_text().splitlines()
    start = lines.index("| module | purpose | may import of the package | pure |") + 2
    for line in lines[start:]:
        if not line.startswith("|"):
            return
        module, _, allowed, pure = (cell.strip() for cell in line.strip("|").split("|"))
        eager, _, lazy = (f"; {allowed}" if allowed.startswith("lazily ") else allowed).partition("; lazily ")
        assert pure in ("yes", "no"), line
        yield Row(module.strip("`"), listed(eager), listed(lazy), pure == "yes")


def listed(cell: str) -> frozenset[str]:
    return frozenset(cell.replace(" ", "").strip(";-").split(",")) - {""}


ROWS = {row.pattern: row for row in table()}


NO_ROW = Row("", frozenset(), frozenset(), pure=False)


def row_of(module: str) -> Row:
    """The row of a module: its own, or that of its folder."""
    return ROWS.get(module) or ROWS.get(f"{module.split('.', maxsplit=1)[0]}.*", NO_ROW)


def is_allowed(module: str, allowed: frozenset[str]) -> bool:
    return any(fnmatchcase(module, pattern) for pattern in allowed)


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_what_its_row_allows(module: str) -> None:
    row = row_of(module)
    assert row is not NO_ROW, f"{module} is not in the table of ARCHITECTURE.md"
    for found in imports(module):
        if found.own and found.module != "errors":
            allowed = row.eager | row.lazy if found.lazy else row.eager
            assert is_allowed(found.module, allowed), f"{module} imports {found.module}"


@pytest.mark.parametrize("pattern", ROWS)
def test_a_row_stands_for_modules_and_allows_what_they_need(pattern: str) -> None:
    row = ROWS[pattern]
    own = [module for module in MODULES if row_of(module) is row]
    assert own, f"there is no module {pattern}"
    found = {each for module in own for each in imports(module) if each.own}
    for allowed in row.eager:
        assert any(fnmatchcase(each.module, allowed) for each in found), f"{pattern} does not import {allowed}"
    for allowed in row.lazy:
        assert any(fnmatchcase(e.module, allowed) for e in found if e.lazy), (
            f"{pattern} does not import {allowed} lazily"
        )


@pytest.mark.parametrize("module", [module for module in MODULES if row_of(module).pure])
def test_a_pure_module_touches_nothing_but_its_arguments(module: str) -> None:
    for found in imports(module):
        if not found.own and found.module not in HARMLESS and module != "__init__":
            assert found.module.split(".")[0] not in IMPURE, f"{module} imports {found.module}"
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            assert called not in IMPURE_CALLS, f"{module}:{node.lineno} calls {called}"
        if isinstance(node, ast.Attribute):
            assert ast.unparse(node) != "np.random" or is_annotation(module, node), f"{module}:{node.lineno}: np.random"


def is_annotation(module: str, attribute: ast.Attribute) -> bool:
    """Whether np.random is only the way to the name of a generator's type."""
    return any(
        isinstance(node, ast.Attribute) and node.value is attribute and node.attr == "Generator"
        for node in ast.walk(tree(module))
    )


@pytest.mark.parametrize("module", sorted(FILES.keys() & FOLDERS))
def test_a_folder_imports_nothing(module: str) -> None:
    assert not imports(module)


def external(module: str) -> set[Import]:
    return {found for found in imports(module) if not found.own}


@pytest.mark.parametrize("module", MODULES)
def test_only_the_handler_imports_torch_and_torchserve(module: str) -> None:
    found = {each.module.split(".")[0] for each in external(module)} & {"torch", "ts", "torchvision", "model_archiver"}
    assert found == ({"torch", "ts"} if module == "handler" else set())


@pytest.mark.parametrize("module", MODULES)
def test_scipy_is_its_special_functions_imported_where_they_are_called(module: str) -> None:
    for found in external(module):
        if found.module.split(".")[0] == "scipy":
            assert found.module.startswith("scipy.special."), f"{module} imports {found.module}"
            assert found.lazy, f"{module} imports {found.module} with itself"


@pytest.mark.parametrize("module", MODULES)
def test_no_module_is_long(module: str) -> None:
    assert len(FILES[module].read_text().splitlines()) <= LONGEST


@pytest.mark.skipif(sys.version_info < (3, 10), reason="sys.stdlib_module_names is new in 3.10")
def test_no_module_is_named_like_one_of_the_standard_library() -> None:
    assert {name for name in FILES if name.split(".")[-1] in sys.stdlib_module_names} == NAMED_LIKE_STDLIB
    # a model's directory comes before the standard library on the path: these names are what everything else sees
    top = {path.stem for path in SOURCE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert top == {"torchserve_drift", "drift_handler"}


def test_an_archive_holds_all_that_its_modules_import() -> None:
    members = Members()
    members.add_package()
    prefix = f"{PACKAGE.name}/"
    packed = {name_of(PACKAGE / name[len(prefix) :]) for name, _ in members.sorted()}
    assert {"handler", "monitor", "checks", "export.server"} <= packed
    for module in packed - FOLDERS:
        assert {found.module for found in imports(module) if found.own} <= packed, module


def loaded_after(statements: str) -> tuple[set[str], int]:
    """The modules that a fresh interpreter has after ``statements``, and its threads."""
    program = f"import sys, threading\n{statements}\nprint(threading.active_count(), *sys.modules)"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(SOURCE), "OPENBLAS_NUM_THREADS": "1"},
    )
    threads, *modules = done.stdout.split()
    return set(modules), int(threads)


def test_importing_the_package_loads_nothing_and_starts_nothing() -> None:
    modules, threads = loaded_after("import torchserve_drift")
    assert "torchserve_drift" in modules
    assert not modules & {"torch", "ts", "scipy", "numpy", "prometheus_client", "safetensors", "yaml", "click", "rich"}
    assert threads == 1


def test_importing_what_serves_starts_nothing_and_loads_neither_torch_nor_scipy() -> None:
    members = Members()
    members.add_package()
    names = {name.removesuffix(".py").replace("/", ".") for name, _ in members.sorted()}
    chosen = sorted(names - {"torchserve_drift.handler", "torchserve_drift.__init__"})
    assert "torchserve_drift.deployment" in chosen
    modules, threads = loaded_after("\n".join(f"import {module}" for module in chosen))
    assert set(chosen) <= modules
    assert not modules & {"torch", "ts", "scipy", "ibis", "duckdb", "pyarrow", "yaml", "click", "rich", "pandas"}
    assert threads == 1
