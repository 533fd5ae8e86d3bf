"""ARCHITECTURE.md agrees with the code: layers, imports between modules, and which modules are pure."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Callable, NamedTuple

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

HARMLESS = frozenset({"os.PathLike", "urllib.parse.unquote", "importlib.import_module"})

IMPURE_CALLS = frozenset({"open", "print", "input", "now", "utcnow", "today", "default_rng", "read_text", "write_text"})

NAMED_LIKE_STDLIB = frozenset({"baseline.profile"})
"""Reached by their full names only, from folders that are never on the path; no more of them."""


class Import(NamedTuple):
    """``module`` of the package (without its name), or ``package.name`` of another; ``lazy``: inside a function."""

    module: str
    lazy: bool
    own: bool


class Layer(NamedTuple):
    """``pattern`` of its modules, ``height`` from the bottom, which of them are ``impure``."""

    pattern: str
    height: int
    impure: Callable[[str], bool]


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts if parts[-1] != "__init__" or len(parts) == 1 else parts[:-1])


FILES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py")) if "__pycache__" not in path.parts}
PACKAGES = frozenset(name for name, path in FILES.items() if path.stem == "__init__") - {"__init__"}
FOLDERS = PACKAGES - {"cli", "handler"}
"""Packages that only hold modules; `cli` and `handler` are modules of their own too."""

MODULES = sorted(FILES.keys() - FOLDERS)


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(FILES[module].read_bytes())


@cache
def imports_for_types(module: str) -> frozenset[Import]:
    """What a module imports for type checkers only."""
    blocks = (node for node in ast.walk(tree(module)) if isinstance(node, ast.If))
    return frozenset(
        found
        for block in blocks
        if "TYPE_CHECKING" in ast.unparse(block.test)
        for statement in block.body
        for found in imports_below(ast.Module([statement], []), lazy=False)
    )


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


def table() -> Iterator[Layer]:
    lines = (ROOT / "ARCHITECTURE.md").read_text().splitlines()
    start = lines.index("| layer | purpose | not pure |") + 2
    for height, line in enumerate(lines[start:]):
        if not line.startswith("|"):
            return
        layer, _, impure = (cell.strip() for cell in line.strip("|").split("|"))
        yield Layer(layer.strip("`"), height, impurity(impure))


def impurity(cell: str) -> Callable[[str], bool]:
    """Whether the last part of a module's name is among the impure ones of a cell of the table."""
    named = frozenset(re.findall(r"`(\w+)`", cell))
    if cell.startswith("all"):
        return lambda name: name not in named
    return lambda name: name in named


LAYERS = {layer.pattern: layer for layer in table()}


def layer_of(module: str) -> Layer:
    """The layer of a module: its own, or that of its folder."""
    layer = LAYERS.get(module) or LAYERS.get(module.split(".", maxsplit=1)[0])
    assert layer is not None, f"{module} is in no layer of ARCHITECTURE.md"
    return layer


def is_impure(module: str) -> bool:
    return layer_of(module).impure(module.rpartition(".")[2])


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_from_its_own_layer_and_from_those_below(module: str) -> None:
    own = layer_of(module)
    for found in imports(module) | imports_for_types(module):
        if found.own and found.module != module:
            assert layer_of(found.module).height <= own.height, f"{module} imports {found.module}"


def test_no_imports_go_in_a_circle() -> None:
    rest = {module: {f.module for f in imports(module) | imports_for_types(module) if f.own} for module in FILES}
    while free := {module for module, imported in rest.items() if not imported & rest.keys() - {module}}:
        rest = {module: imported for module, imported in rest.items() if module not in free}
    assert rest == {}


@pytest.mark.parametrize("pattern", LAYERS)
def test_a_layer_names_modules_that_are_there(pattern: str) -> None:
    own = [module for module in MODULES if layer_of(module) is LAYERS[pattern]]
    assert own, f"there is no module {pattern}"
    lines = (ROOT / "ARCHITECTURE.md").read_text().splitlines()
    cell = next(line for line in lines if line.startswith(f"| `{pattern}` |"))
    for name in re.findall(r"`(\w+)`", cell.split("|")[3]):
        assert f"{pattern}.{name}" in own, f"there is no module {pattern}.{name}"


def test_the_root_is_small() -> None:
    folders = {name for name in FILES if name in PACKAGES and "." not in name}
    modules = {name for name in FILES if name not in PACKAGES and "." not in name} - {"__init__"}
    assert len(folders) <= 14
    assert modules == {"errors"}


@pytest.mark.parametrize("module", [module for module in MODULES if not is_impure(module)])
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
    assert found == ({"torch", "ts"} if module == "handler.tabular" else set())


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
    assert {"handler.mixin", "monitoring.monitor", "checks.window_checks", "port.server"} <= packed
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
    chosen = sorted(names - {"torchserve_drift.handler.tabular", "torchserve_drift.__init__"})
    assert "torchserve_drift.handler.deployment" in chosen
    modules, threads = loaded_after("\n".join(f"import {module}" for module in chosen))
    assert set(chosen) <= modules
    assert not modules & {"torch", "ts", "scipy", "ibis", "duckdb", "pyarrow", "yaml", "click", "rich", "pandas"}
    assert threads == 1
