"""The documents agree with the code: every setting, command, option and field; links exist, and examples parse."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import math
import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Optional

import click
import pytest
import yaml

from torchserve_drift.checks.catalogue import checks_of
from torchserve_drift.cli import COMMANDS, application
from torchserve_drift.errors import ConfigError
from torchserve_drift.port.metrics import families
from torchserve_drift.settings.settings import OF_ONE_FEATURE, POLICIES, PREFIX, Alarms, Export, Settings
from torchserve_drift.verdicts.budget import Budget, BudgetItem
from torchserve_drift.verdicts.report import STATES, CheckResult, FeatureReport, FeatureWindow, Report, WindowReport

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
FOLDERS = (".", "docs", "docs/decisions", "scripts", "tests/data", "model_store", "monitoring")
DOCUMENTS = sorted(path.relative_to(ROOT).as_posix() for folder in FOLDERS for path in (ROOT / folder).glob("*.md"))
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@cache
def read(name: str) -> str:
    return (ROOT / name).read_text()


def blocks(language: str) -> Iterator[Any]:
    for name in DOCUMENTS:
        for place, found in enumerate(_CODE.finditer(read(name))):
            if found[1] == language:
                yield pytest.param(found[2], id=f"{name}-{place}")


def table_rows(document: str, heading: str) -> Iterator[list[str]]:
    """The cells of the table that has ``heading`` for its first line; backslashes and backticks are still in them."""
    lines = document.splitlines()
    assert lines.count(heading) == 1, heading
    for line in lines[lines.index(heading) + 2 :]:
        if not line.startswith("|"):
            return
        yield [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


# settings


def keys_in(section: type[Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Each setting's key as the `drift:` section has it, and its default."""
    made = section()
    for field in dataclasses.fields(section):
        value = getattr(made, field.name)
        if field.name == "min_effects":
            yield from ((f"{prefix}min_effect.{key}", default) for key, default in value.items())
        elif field.name == "min_effect_learned":
            yield f"{prefix}min_effect.learned", value
        elif isinstance(value, (Alarms, Export)):
            yield from keys_in(type(value), f"{field.name}.")
        elif field.name != "features":
            yield prefix + field.name, value


SETTINGS = dict(keys_in(Settings))
MIN_EFFECTS = {key: setting.default for key, setting in OF_ONE_FEATURE.items()}
NUMERIC_CHECKS, CATEGORICAL_CHECKS = ([check.name for check in checks_of(kind)] for kind in ("numeric", "categorical"))


def nested(key: str, value: object) -> dict[str, Any]:
    first, _, rest = key.partition(".")
    return {first: nested(rest, value) if rest else value}


def setting(settings: Settings, key: str) -> Any:
    value: Any = settings
    for part in (
        key.replace("min_effect.learned", "min_effect_learned").replace("min_effect.", "min_effects.").split(".")
    ):
        value = value[part] if isinstance(value, dict) else getattr(value, part)
    return value


def settings_table() -> dict[str, list[str]]:
    heading = "| key | default | values | environment variable | effect |"
    return {row[0].strip("`"): row[1:] for row in table_rows(read("docs/configuration.md"), heading)}


def min_effects_table() -> dict[str, list[str]]:
    heading = "| key | default | unit | check |"
    return {row[0].strip("`"): row[1:] for row in table_rows(read("docs/configuration.md"), heading)}


def test_every_setting_is_documented_and_no_other() -> None:
    assert settings_table().keys() == SETTINGS.keys()
    assert min_effects_table().keys() == MIN_EFFECTS.keys()


@pytest.mark.parametrize("section", ["", "alarms.", "alarms.min_effect.", "export.", "features.x."])
def test_every_key_that_the_parser_knows_is_documented(section: str) -> None:
    tree: Mapping[str, Any] = nested(section + "no_such_key", 1)
    with pytest.raises(ConfigError) as caught:
        Settings.from_mapping(tree)
    known = str(caught.value).partition("known here: ")[2].split(", ")
    prefix, table = ("", min_effects_table()) if section == "features.x." else (section, settings_table())
    # a key is a setting, a section of settings, or `features`, whose keys are the features' names
    documented = {*table, *(key.rpartition(".")[0] for key in table), "features"}
    assert {prefix + key for key in known} <= documented


@pytest.mark.parametrize("key", SETTINGS)
def test_a_documented_default_is_the_default(key: str) -> None:
    default = yaml.safe_load(settings_table()[key][0].strip("`"))
    assert setting(Settings.from_mapping(nested(key, default)), key) == SETTINGS[key]


@pytest.mark.parametrize("key", SETTINGS)
def test_a_documented_variable_sets_it(key: str) -> None:
    variable = settings_table()[key][2].strip("`")
    with pytest.raises(ConfigError, match=f"^{re.escape(key)} must be "):
        Settings.from_mapping({}, {variable: "[[]]"})  # a value of no setting


@pytest.mark.parametrize("key", MIN_EFFECTS)
def test_a_documented_minimum_effect_has_its_default_and_its_variable(key: str) -> None:
    default = yaml.safe_load(min_effects_table()[key][0].strip("`"))
    assert Settings.from_mapping({"features": {"x": {key: default}}}).features["x"][key] == MIN_EFFECTS[key]
    assert f"`{PREFIX}FEATURES__<name>__<KEY>`" in read("docs/configuration.md")
    set_by_variable = Settings.from_mapping({}, {f"{PREFIX}FEATURES__My_x__{key.upper()}": "0.5"})
    assert set_by_variable.features["My_x"][key] == 0.5


def documented_ranges() -> Iterator[Any]:
    values = {key: cells[1] for key, cells in settings_table().items()}
    values |= {f"features.x.{key}": cells[1] for key, cells in min_effects_table().items()}
    for key, text in values.items():
        closed = re.search(r"(?:^|, )([\d.,]+) to ([\d.,]+)$", text)
        half_open = re.fullmatch(r"above ([\d.]+)(?:, at most ([\d.]+))?", text)
        if closed:
            yield pytest.param(key, number(closed[1]), number(closed[2]), None, id=key)
        elif half_open:
            yield pytest.param(key, None, half_open[2] and number(half_open[2]), number(half_open[1]), id=key)


def number(text: str) -> Any:
    return yaml.safe_load(text.replace(",", ""))


@pytest.mark.parametrize(("key", "lowest", "highest", "beyond"), list(documented_ranges()))
def test_a_documented_range_is_the_range(
    key: str, lowest: Optional[float], highest: Optional[float], beyond: Optional[float]
) -> None:
    for value in (lowest, highest):
        if value is not None:
            Settings.from_mapping(nested(key, value))
    refused = [beyond] if lowest is None else [lowest - 1]
    refused += [] if highest is None else [highest + 1]
    for value in refused:
        with pytest.raises(ConfigError, match=re.escape(key)):
            Settings.from_mapping(nested(key, value))


def test_all_ranges_are_documented() -> None:
    assert len(list(documented_ranges())) == 16


def test_every_policy_and_check_is_explained() -> None:
    for policy in POLICIES:
        assert f"**`{policy}`**" in read("docs/configuration.md")
    explained = " ".join(cells[2] for cells in min_effects_table().values())
    assert {"ks", "chi2", "cusum", *re.findall(r"`(\w+)`: ", explained)} == {*NUMERIC_CHECKS, *CATEGORICAL_CHECKS}


def test_the_arithmetic_of_the_budget() -> None:
    items = [
        *(BudgetItem(f"n{i}", "numeric", 1 / 15) for i in range(10)),
        *(BudgetItem(f"c{i}", "categorical", 1 / 15) for i in range(5)),
    ]
    settings = Settings()
    budget = Budget.of(
        [*items, BudgetItem("_joint", "joint", 0.0)],
        settings.windows,
        panes=32,
        every=settings.evaluate_every,
        interval=settings.alarms.false_alarm_interval,
    )
    alpha = budget.level(0, "ks", 0, closed=True)
    text = " ".join(read("docs/configuration.md").split())
    assert f"`ks` has the level 0.03 × 0.97 / 15 × 6/11 × 15 s / 30 d = {alpha:.1e}.".replace("e-09", "e-9") in text
    least = {a: math.sqrt(-math.log(a / 2) / 2 * (1 / 4096 + 1 / 10_000)) for a in (alpha, 0.05)}
    assert f"from a distance of {least[alpha]:.3f} on" in text
    assert f"{least[alpha]:.3f} on, and at alpha = 0.05 it would be from {least[0.05]:.3f} on" in text
    assert f"{1 - 0.95**20:.0%}".replace("%", " %") + " of evaluations" in text
    ratio = budget.level(0, "ks", 2, closed=True) / budget.level(0, "ks", 2, closed=False)
    assert f"of 24 hours this is one look in 180, and its level is {ratio:.0f} times that of the other looks" in text


def test_the_shares_of_the_budget() -> None:
    rows = table_rows(read("docs/configuration.md"), "| check | of a numeric feature's part | of a categorical one's |")
    found: tuple[dict[str, float], dict[str, float]] = ({}, {})
    for checks, *cells in rows:
        for shares, cell in zip(found, cells):
            shares.update(dict.fromkeys(re.findall(r"`(\w+)`", checks), float(cell.split()[0])) if cell else {})
    assert found == tuple(
        {check.name: check.budget[kind] for check in checks_of(kind)} for kind in ("numeric", "categorical")
    )


# commands


def sections(name: str) -> dict[str, str]:
    parts = re.split(r"^## (.+)$", read(name), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2]))


def command(name: str) -> click.Command:
    found = application.get_command(click.Context(application), name)
    assert found is not None
    return found


def options(name: str) -> dict[str, click.Option]:
    return {", ".join(p.opts): p for p in command(name).params if isinstance(p, click.Option)}


def test_every_command_is_documented_and_no_other() -> None:
    assert list(sections("docs/cli.md")) == list(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_documented_and_no_other(name: str) -> None:
    rows = {row[0]: row[1] for row in table_rows(sections("docs/cli.md")[name], "| option | meaning |")}
    documented = {frozenset(re.findall(r"`(-[-\w]+)`", cell)): (cell, text) for cell, text in rows.items()}
    assert documented.keys() == {frozenset(option.opts) for option in options(name).values()}
    for option in options(name).values():
        cell, text = documented[frozenset(option.opts)]
        assert text.endswith("Required.") == option.required
        if isinstance(option.type, click.Choice):
            assert cell.endswith(", ".join(option.type.choices))
        if isinstance(option.default, (int, str)) and not isinstance(option.default, bool):
            assert f"default {option.default}" in text or option.default == "default"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_argument_is_documented(name: str) -> None:
    for parameter in command(name).params:
        if isinstance(parameter, click.Argument):
            assert f"`{str(parameter.name).upper()}`" in sections("docs/cli.md")[name]


def commands_in(script: str) -> Iterator[list[str]]:
    for line in script.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words[:1] == ["torchserve-drift"]:
            yield words[1 : words.index(">") if ">" in words else None]


@pytest.mark.parametrize("script", list(blocks("bash")))
def test_shell_examples_parse(script: str) -> None:
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    for name, *arguments in commands_in(script):
        command(name).make_context(name, arguments)


def test_there_is_an_example_of_every_command() -> None:
    shown = {words[0] for found in _CODE.finditer(read("docs/cli.md")) for words in commands_in(found[2])}
    assert shown == set(COMMANDS)


# Python


@pytest.mark.parametrize("module", ["torchserve_drift", "torchserve_drift.handler"])
def test_every_public_name_is_documented_and_no_other(module: str) -> None:
    rows = list(table_rows(read("docs/python.md"), f"| `{module}` | what it is |"))
    assert sorted(name.strip("`") for name, _ in rows) == sorted(importlib.import_module(module).__all__)
    assert all(text.endswith(".") for _, text in rows)


def test_documented_methods_are_there() -> None:
    module = importlib.import_module("torchserve_drift")
    named = re.findall(r"`([A-Z]\w+)\.(\w+)`", read("docs/python.md"))
    assert named
    for owner, method in named:
        assert callable(getattr(getattr(module, owner), method)), f"{owner}.{method}"


# reports


@pytest.mark.parametrize("kind", [Report, WindowReport, FeatureReport, FeatureWindow, CheckResult])
def test_every_field_of_a_report_is_documented(kind: Any) -> None:
    fields = getattr(kind, "_fields", None) or [field.name for field in dataclasses.fields(kind)]
    rows = [line for line in read("docs/report.md").splitlines() if line.startswith("|")]
    documented = " ".join(line.split("|")[1] for line in rows) + " ".join(line for line in rows if "`windows`" in line)
    for field in fields:
        assert f"`{field}`" in documented, f"{kind.__name__}.{field}"


def test_every_state_and_check_of_a_report_is_documented() -> None:
    for name in (*STATES, *NUMERIC_CHECKS, *CATEGORICAL_CHECKS):
        assert f"`{name}`" in read("docs/report.md")


def test_documented_paths_are_answered() -> None:
    from snapshots import snapshot
    from torchserve_drift.port.answers import respond

    one = snapshot()
    for path, *_ in table_rows(read("docs/report.md"), "| path | answer |"):
        target = path.strip("`").replace("<name>", one["model_name"]).replace("<version>", one["model_version"])
        assert respond("GET", target, {}, lambda: [one]).status == 200, target


# all documents


def anchors(document: str) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", _CODE.sub("", document), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_targets_of_links_exist(name: str) -> None:
    for target in _LINK.findall(_CODE.sub("", read(name))):
        if "://" not in target:
            path, _, anchor = target.partition("#")
            found = ((ROOT / name).parent / path).resolve() if path else ROOT / name
            assert found.exists(), f"{name}: {target}"
            assert not anchor or anchor in anchors(found.read_text()), f"{name}: {target}"


def test_the_index_names_every_document() -> None:
    linked = {(DOCS / target.partition("#")[0]).resolve() for target in _LINK.findall(read("docs/README.md"))}
    assert {path.resolve() for path in DOCS.rglob("*.md")} - {(DOCS / "README.md").resolve()} <= linked


@pytest.mark.parametrize("code", list(blocks("yaml")))
def test_yaml_examples_are_valid(code: str) -> None:
    content = yaml.safe_load(code)
    assert isinstance(content, dict)
    if "drift" in content:
        Settings.from_mapping(content["drift"])


@pytest.mark.parametrize("code", list(blocks("python")))
def test_python_examples_import_names_that_exist(code: str) -> None:
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] == "torchserve_drift":
            for alias in node.names:
                assert alias.name in names_in(str(node.module)), f"{node.module}.{alias.name}"


def names_in(module: str) -> set[str]:
    imported = importlib.import_module(module)
    return {*vars(imported), *getattr(imported, "__all__", ())}


def test_only_metrics_that_exist_are_named() -> None:
    known = {
        families.PREFIX + name + suffix
        for name, family in families.METRICS.items()
        for suffix in (("_bucket", "_sum", "_count") if family.type == "histogram" else ("",))
    }
    for name in DOCUMENTS:
        found = set(re.findall(rf"(?<![\w/]){families.PREFIX}\w+", read(name)))
        assert found <= known, f"{name}: {found - known}"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_fences_are_closed_and_name_their_language(name: str) -> None:
    fences = [line for line in read(name).splitlines() if line.startswith("```")]
    assert all(len(line) > 3 for line in fences[::2])
    assert all(line == "```" for line in fences[1::2])
    assert len(fences) % 2 == 0


# reliability and security


def names_of_tests() -> dict[str, set[str]]:
    """The names of the tests in each test module, by its path in tests/ without the suffix."""
    folder = ROOT / "tests"
    return {
        path.relative_to(folder).with_suffix("").as_posix(): set(re.findall(r"^def (test_\w+)", path.read_text(), re.M))
        for path in folder.rglob("test_*.py")
    }


@pytest.mark.parametrize("name", ["docs/reliability.md", "docs/security.md"])
def test_every_test_that_a_promise_names_exists(name: str) -> None:
    named = set(re.findall(r"`(test_\w+)`", read(name)))
    assert len(named) > 20
    assert named - set().union(*names_of_tests().values()) == set()


def test_every_fault_of_a_server_is_a_promise() -> None:
    named = set(re.findall(r"`(test_\w+)`", read("docs/reliability.md")))
    missing = names_of_tests()["torchserve/test_faults"] - named
    assert missing == {"test_the_rows_of_these_tests_have_p_values_of_all_sizes"}
