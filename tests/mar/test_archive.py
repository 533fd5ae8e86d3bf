"""Archives: what is in them, that equal inputs give equal bytes, and that mistakes are found when packing."""

from __future__ import annotations

import ast
import json
import os
import stat
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from baselines import baseline
from torchserve_drift.cli import main
from torchserve_drift.errors import ArchiveError, BaselineError
from torchserve_drift.mar.archive import Options, build_archive
from torchserve_drift.mar.manifest import manifest
from torchserve_drift.mar.members import NOT_SERVED

HANDLER = Path(__file__).parents[2] / "handler"


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    folder = tmp_path / "inputs"
    folder.mkdir()
    baseline({"age": [1.0, 2.0, 3.0], "city": ["a", "b", "a"]}).save(folder / "trained.safetensors")
    (folder / "model.pt").write_bytes(bytes(range(256)) * 100)
    (folder / "net.py").write_text("class Net: ...\n")
    (folder / "needs.txt").write_text("nothing\n")
    (folder / "model-config.yaml").write_text("minWorkers: 1\nmaxWorkers: 1\ndrift: {windows: [10m]}\n")
    (folder / "labels.json").write_text("{}")
    return folder


@pytest.fixture
def build(inputs: Path, tmp_path: Path) -> Callable[..., Path]:
    def build(**changes: object) -> Path:
        options = {
            "model_name": "m",
            "version": "2.1",
            "baseline": inputs / "trained.safetensors",
            "serialized_file": inputs / "model.pt",
            "config_file": inputs / "model-config.yaml",
            "export_path": tmp_path,
            **changes,
        }
        environ = options.pop("environ", None)
        return build_archive(Options(**options), environ)

    return build


def names(path: Path) -> list[str]:
    with zipfile.ZipFile(path) as archive:
        return archive.namelist()


def described(path: Path) -> dict[str, str]:
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read("MAR-INF/MANIFEST.json"))["model"]


def test_the_archive_holds_the_model_the_entry_the_baseline_and_what_serving_needs_of_the_package(build, inputs):
    path = build(model_file=inputs / "net.py", requirements_file=inputs / "needs.txt")
    found = names(path)
    assert path.name == "m.mar"
    assert found == sorted(found)
    own = [name for name in found if not name.startswith("torchserve_drift/")]
    expected = ["MAR-INF/MANIFEST.json", "baseline.safetensors", "drift_handler.py", "model-config.yaml", "model.pt"]
    assert own == sorted([*expected, "needs.txt", "net.py"])
    package = set(found) - set(own)
    assert {"torchserve_drift/__init__.py", "torchserve_drift/window/store.py"} <= package
    assert all(name.endswith(".py") for name in package)
    not_served = tuple(f"torchserve_drift/{folder}" for folder in NOT_SERVED)
    assert sorted(NOT_SERVED) == ["cli/", "mar/", "offline/", "training/"]
    assert not [name for name in package if name.startswith(not_served)]
    with zipfile.ZipFile(path) as archive:
        assert archive.read("baseline.safetensors") == (inputs / "trained.safetensors").read_bytes()
        assert archive.read("model.pt") == (inputs / "model.pt").read_bytes()
        assert archive.read("drift_handler.py") == (HANDLER / "drift_handler.py").read_bytes()


SERVING = """\
import importlib, pathlib, sys
from torchserve_drift import Baseline, Monitor
names = [".".join(path.with_suffix("").parts) for path in sorted(pathlib.Path("torchserve_drift").rglob("*.py"))]
for name in names:
    if name != "torchserve_drift.handler.tabular":  # needs torch and TorchServe
        importlib.import_module(name.removesuffix(".__init__"))
monitor = Monitor(Baseline.load("baseline.safetensors"), {"min_rows": 1})
monitor.observe({"age": [1.0, 2.0], "city": ["a", "c"]})
assert sys.modules["torchserve_drift"].__file__.startswith(str(pathlib.Path.cwd()))
loaded = {name.split(".")[1] for name in sys.modules if name.startswith("torchserve_drift.")}
print(monitor.evaluate().windows["1h"].rows, *loaded)
"""


def test_an_unpacked_archive_serves_without_the_folders_that_are_not_packed(build, tmp_path):
    folder = tmp_path / "unpacked"
    with zipfile.ZipFile(build()) as archive:
        archive.extractall(folder)
    environ = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    program = [sys.executable, "-W", "ignore", "-c", SERVING]
    done = subprocess.run(program, cwd=folder, env=environ, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    rows, *loaded = done.stdout.split()
    assert rows == "2"
    assert {"baseline", "checks", "monitoring", "port"} <= set(loaded)
    assert not {folder.rstrip("/") for folder in NOT_SERVED} & set(loaded)


def test_the_manifest_is_as_torch_model_archiver_writes_it(build, inputs):
    path = build(model_file=inputs / "net.py", requirements_file=inputs / "needs.txt")
    assert described(path) == {
        "modelName": "m",
        "serializedFile": "model.pt",
        "handler": "drift_handler.py",
        "modelFile": "net.py",
        "modelVersion": "2.1",
        "requirementsFile": "needs.txt",
        "configFile": "model-config.yaml",
    }


def test_the_manifest_equals_that_of_torch_model_archiver_but_for_its_time():
    archiver = pytest.importorskip("model_archiver.manifest_components.manifest")
    model = pytest.importorskip("model_archiver.manifest_components.model").Model(
        model_name="m", serialized_file="a/w.pt", handler="b/h.py", model_file="n.py", model_version="1.0",
        requirements_file="r.txt", config_file="c.yaml",
    )  # fmt: skip
    theirs = str(archiver.Manifest(runtime="python", model=model))
    ours = manifest(
        model_name="m", version="1.0", handler="h.py", created=0, serialized_file="w.pt", model_file="n.py",
        requirements_file="r.txt", config_file="c.yaml",
    )  # fmt: skip
    time = json.loads(theirs)["createdOn"]
    assert ours.decode() == theirs.replace(time, "01/01/1970 00:00:00")


@pytest.mark.parametrize("archive_format", ["default", "zip-store", "tgz"])
def test_equal_inputs_give_equal_bytes_whatever_their_times_modes_and_the_folder(
    build, inputs, tmp_path, monkeypatch, archive_format
):
    first = build(archive_format=archive_format).read_bytes()
    for i, path in enumerate(sorted(inputs.iterdir())):
        os.utime(path, (1_700_000_000 + i, 1_700_000_000 + i))
        path.chmod(0o600)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    before = os.umask(0o077)
    try:
        second = build(archive_format=archive_format, export_path=Path())
    finally:
        os.umask(before)
    assert second.read_bytes() == first
    assert stat.S_IMODE(second.stat().st_mode) == 0o644


def test_another_model_gives_other_bytes(build, inputs):
    first = build().read_bytes()
    (inputs / "model.pt").write_bytes(b"other")
    assert build(force=True).read_bytes() != first


def test_source_date_epoch_is_the_time_of_the_archive(build):
    path = build(environ={"SOURCE_DATE_EPOCH": "1700000000"})
    with zipfile.ZipFile(path) as archive:
        assert {info.date_time for info in archive.infolist()} == {(2023, 11, 14, 22, 13, 20)}
        assert json.loads(archive.read("MAR-INF/MANIFEST.json"))["createdOn"] == "14/11/2023 22:13:20"


def test_tgz_holds_the_same_members_below_the_name_of_the_model(build):
    with tarfile.open(build(archive_format="tgz")) as archive:
        assert [member.name for member in archive] == [f"m/{name}" for name in names(build())]


def test_no_archive_writes_a_folder_and_force_replaces_only_a_former_one(build, tmp_path):
    folder = build(archive_format="no-archive")
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert found == set(names(build()))
    (folder / "of a former build").touch()
    assert build(archive_format="no-archive", force=True) == folder
    assert not (folder / "of a former build").exists()
    (tmp_path / "precious").mkdir()
    with pytest.raises(ArchiveError, match=r"^output must be replaceable: a folder with a MAR-INF/MANIFEST.json, got"):
        build(model_name="precious", archive_format="no-archive", force=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["inputs", "m", "m.mar", "precious"]


def test_whatever_a_packed_module_imports_of_the_package_is_packed_too(build):
    with zipfile.ZipFile(build()) as archive:
        sources = {name: archive.read(name).decode() for name in archive.namelist() if name.endswith(".py")}
    wanted = {module for source in sources.values() for module in _imports(source)}
    assert "torchserve_drift.monitoring.monitor" in wanted
    lacking = {
        m for m in wanted if not {f"{m.replace('.', '/')}{end}" for end in (".py", "/__init__.py")} & set(sources)
    }
    assert lacking == set()


def _imports(source: str) -> set[str]:
    """The modules of the package that ``source`` imports, those for type checkers aside."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("torchserve_drift"):
            below = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {name for name in below if (HANDLER / name.replace(".", "/")).with_suffix(".py").exists()}
            found.add(node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.startswith("torchserve_drift")}
    return found


def test_the_baseline_takes_the_name_that_the_settings_give_it(build, inputs):
    (inputs / "model-config.yaml").write_text("drift: {baseline: of-2013.safetensors}")
    found = names(build())
    assert "of-2013.safetensors" in found
    assert "baseline.safetensors" not in found


def test_a_baseline_among_the_extra_files_needs_no_option(build, inputs):
    (inputs / "trained.safetensors").rename(inputs / "baseline.safetensors")
    extra = (str(inputs / "baseline.safetensors"),)
    assert "baseline.safetensors" in names(build(baseline=None, extra_files=extra))


def test_extra_files_are_files_the_contents_of_folders_and_wildcards(build, inputs, tmp_path):
    folder = tmp_path / "extra"
    (folder / "vocabulary" / "__pycache__").mkdir(parents=True)
    (folder / ".hidden").mkdir()
    for name in ("vocabulary/en.txt", "vocabulary/__pycache__/x.pyc", ".hidden/secret", "a.csv"):
        (folder / name).touch()
    found = names(build(extra_files=(str(folder), str(inputs / "lab*.json"))))
    assert {"vocabulary/en.txt", "a.csv", "labels.json"} <= set(found)
    assert not [name for name in found if "__pycache__" in name or "secret" in name]


@pytest.mark.parametrize(
    ("handler", "content", "named"),
    [
        ("mine.py", "class Mine: ...\n", "mine.py"),
        ("mine", "class Mine: ...\n", "mine"),
        ("mine.py:serve", "class A: ...\nclass B: ...\n", "mine.py:serve"),
        ("mine.py", "class A: ...\nclass B: ...\ndef handle(data, context): ...\n", "mine.py"),
        ("mine.py", "from a import serve as handle\nclass A: ...\nclass B: ...\n", "mine.py"),
    ],
)
def test_a_handler_of_ones_own_is_packed_as_it_is(build, inputs, handler, content, named):
    (inputs / "mine.py").write_text(content)
    path = build(handler=str(inputs / handler), baseline=None)
    assert described(path)["handler"] == named
    with zipfile.ZipFile(path) as archive:
        assert archive.read("mine.py").decode() == content
    assert "drift_handler.py" not in names(path)


def test_a_handler_that_torchserve_brings_is_only_named(build):
    path = build(handler="image_classifier")
    assert described(path)["handler"] == "image_classifier"
    assert not [name for name in names(path) if name.startswith("image_classifier")]


MISTAKES = {
    "model name": ({"model_name": "../m"}, "model name must be letters, digits, '_', '-' and '.', got '../m'"),
    "version": ({"version": " "}, "version must not be empty, got ' '"),
    "format": (
        {"archive_format": "rar"},
        "archive format must be one of default, zip-store, tgz, no-archive, got 'rar'",
    ),
    "runtime": ({"runtime": "LSP"}, "runtime must be one of python, python3, got 'LSP'"),
    "export path": ({"export_path": Path("/no")}, "export path must be an existing folder, got '/no'"),
    "model": ({"serialized_file": Path("no.pt")}, "serialized file must be an existing file, got 'no.pt'"),
    "model file": ({"model_file": Path("no.py")}, "model file must be an existing file, got 'no.py'"),
    "requirements": ({"requirements_file": Path("no.txt")}, "requirements file must be an existing file, got 'no.txt'"),
    "config": ({"config_file": Path("no.yaml")}, "config file must be an existing file, got 'no.yaml'"),
    "handler": ({"handler": "no.py"}, "handler must be an existing file, got 'no.py'"),
    "extra": ({"extra_files": ("no*",)}, "extra files must exist, got 'no*'"),
    "baseline": ({"baseline": None}, "the archive must hold its baseline 'baseline.safetensors': give --baseline FILE"),
    "epoch": (
        {"environ": {"SOURCE_DATE_EPOCH": "today"}},
        "SOURCE_DATE_EPOCH must be seconds since 1970, got 'today'",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_one_line_and_leave_no_file(build, tmp_path, monkeypatch, mistake):
    monkeypatch.chdir(tmp_path)
    changes, message = MISTAKES[mistake]
    with pytest.raises(ArchiveError) as caught:
        build(**changes)
    assert str(caught.value) == message
    assert [path.name for path in tmp_path.iterdir()] == ["inputs"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "config file must be a YAML mapping that is not empty, got '{file}'"),
        ("- a\n", "config file must be a YAML mapping that is not empty, got '{file}'"),
        ("drift: {windws: [10m]}", "{file}: drift: unknown setting windws; known here: "),
        ("drift: {min_rows: -1}", "{file}: drift: min_rows must be an integer from 1 to 1000000000, got -1"),
        ("drift: [", "config file must be YAML, got '{file}': "),
        ("drift: {baseline: a/b}", "drift.baseline must be a file name without a path, got 'a/b'"),
        ("drift: {features: {aeg: {mean_shift: 1}}}", "drift.features must be features of the baseline, got 'aeg'"),
    ],
)
def test_a_config_that_would_fail_in_production_fails_here(build, inputs, text, message):
    file = inputs / "model-config.yaml"
    file.write_text(text)
    with pytest.raises(ArchiveError) as caught:
        build()
    assert str(caught.value).startswith(message.format(file=file))
    assert "\n" not in str(caught.value)


def test_minimum_effects_of_a_feature_and_of_the_prediction_are_accepted(build, inputs):
    (inputs / "model-config.yaml").write_text("drift: {features: {age: {mean_shift: 1}, prediction: {std_shift: 1}}}")
    assert build().exists()


def test_an_archive_that_exists_is_kept_without_force(build):
    path = build()
    before = path.read_bytes()
    with pytest.raises(ArchiveError, match=r"^output must not exist \(--force replaces it\), got '.*m.mar'$"):
        build(version="3.0")
    assert path.read_bytes() == before
    assert described(build(version="3.0", force=True))["modelVersion"] == "3.0"


def test_a_damaged_baseline_is_refused(build, inputs):
    (inputs / "trained.safetensors").write_bytes(b"no baseline")
    with pytest.raises(BaselineError, match=r"^baseline '.*trained\.safetensors'"):
        build()


def test_two_files_of_one_name_are_refused(build, inputs, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "model.pt").touch()
    with pytest.raises(ArchiveError) as caught:
        build(extra_files=(str(tmp_path / "other"),))
    both = f"{inputs / 'model.pt'} and {tmp_path / 'other' / 'model.pt'}"
    assert str(caught.value) == f"members must have different names, got 'model.pt' from {both}"


def test_names_with_backslashes_are_refused(build, tmp_path):
    (tmp_path / "a\\b").touch()
    with pytest.raises(ArchiveError, match=r"^member names must be printable and without backslashes, got 'a\\\\b'$"):
        build(extra_files=(str(tmp_path / "a\\b"),))


def test_links_to_folders_are_refused_instead_of_left_out(build, inputs, tmp_path):
    (tmp_path / "extra").mkdir()
    (tmp_path / "extra" / "link").symlink_to(inputs)
    with pytest.raises(ArchiveError, match=r"^extra files must hold no links to folders, got '.*/extra/link'$"):
        build(extra_files=(str(tmp_path / "extra"),))


def test_a_handler_with_two_classes_is_refused_because_requests_to_it_would_hang(build, inputs):
    (inputs / "mine.py").write_text("class A: ...\nclass B(A): ...\n")
    with pytest.raises(
        ArchiveError, match=r"^handler must have one class or a function handle, got A, B in '.*mine.py'$"
    ):
        build(handler=str(inputs / "mine.py"))
    (inputs / "mine.py").write_text("class :")
    with pytest.raises(ArchiveError, match=r"^handler must be Python, got '.*mine.py': "):
        build(handler=str(inputs / "mine.py"))


def test_the_command_takes_the_options_of_torch_model_archiver(inputs, tmp_path, capsys):
    arguments = ["--model-name", "m", "-v", "1.0", "--baseline", str(inputs / "trained.safetensors")]
    arguments += ["--serialized-file", str(inputs / "model.pt"), "--model-file", str(inputs / "net.py")]
    arguments += ["--extra-files", f"{inputs / 'labels.json'},{inputs / 'lab*.js'}*", "--runtime", "python3"]
    arguments += ["-r", str(inputs / "needs.txt"), "-c", str(inputs / "model-config.yaml")]
    arguments += ["--export-path", str(tmp_path), "--archive-format", "zip-store"]
    with pytest.raises(SystemExit) as ended:
        main(["archive", *arguments])
    assert ended.value.code == 2
    assert "members must have different names, got 'labels.json'" in capsys.readouterr().err
    arguments[arguments.index("--extra-files") + 1] = f"{inputs / 'labels.json'},"
    for more, code in (([], 0), ([], 2), (["-f"], 0)):
        with pytest.raises(SystemExit) as ended:
            main(["archive", *arguments, *more])
        assert ended.value.code == code
    printed = capsys.readouterr()
    assert printed.out.splitlines() == [str(tmp_path / "m.mar")] * 2
    assert printed.err == f"torchserve-drift: output must not exist (--force replaces it), got '{tmp_path / 'm.mar'}'\n"
    with zipfile.ZipFile(tmp_path / "m.mar") as archive:
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        assert json.loads(archive.read("MAR-INF/MANIFEST.json"))["runtime"] == "python3"


def test_every_option_of_torch_model_archiver_is_there():
    parser = pytest.importorskip("model_archiver.arg_parser").ArgParser.export_model_args_parser
    from torchserve_drift.cli.archive import command

    theirs = {name for action in _actions(parser) for name in action if name not in ("-h", "--help")}
    assert theirs <= {name for parameter in command.params for name in parameter.opts}


def _actions(parse: Callable[[], object]) -> list[list[str]]:
    """The option names that an argparse parser was given before it parsed."""
    import argparse

    seen: list[list[str]] = []
    with pytest.MonkeyPatch.context() as patch:
        add = argparse._ActionsContainer.add_argument

        def record(self: object, *names: str, **kwargs: object) -> object:
            seen.append([*names])
            return add(self, *names, **kwargs)

        patch.setattr(argparse._ActionsContainer, "add_argument", record)
        patch.setattr(sys, "argv", ["torch-model-archiver", "-h"])
        with pytest.raises(SystemExit):
            parse()
    return seen


@pytest.mark.slow
def test_an_installed_package_packs_the_same_archive(build, inputs, tmp_path):
    wheels, site = tmp_path / "wheels", tmp_path / "site"
    source = tmp_path / "source"
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
    _copy_source(source)
    wheel = [*pip, "wheel", "--no-deps", "--no-index", "--no-build-isolation", "-w", str(wheels), str(source)]
    subprocess.run(wheel, check=True)
    subprocess.run(
        [*pip, "install", "--no-deps", "--no-index", "-t", str(site), *map(str, wheels.iterdir())], check=True
    )
    program = "from torchserve_drift.cli import main; main()"
    arguments = ["archive", "--model-name", "m", "-v", "2.1", "--baseline", str(inputs / "trained.safetensors")]
    arguments += ["--serialized-file", str(inputs / "model.pt"), "-c", str(inputs / "model-config.yaml")]
    environ = {**os.environ, "PYTHONPATH": str(site)}
    environ.pop("SOURCE_DATE_EPOCH", None)
    subprocess.run([sys.executable, "-c", program, *arguments], check=True, cwd=site, env=environ)
    assert (site / "m.mar").read_bytes() == build().read_bytes()


def _copy_source(target: Path) -> None:
    import shutil

    target.mkdir()
    shutil.copytree(HANDLER, target / "handler", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("setup.cfg", "pyproject.toml", "LICENSE", "README.md"):
        if (HANDLER.parent / name).exists():
            shutil.copy(HANDLER.parent / name, target)
