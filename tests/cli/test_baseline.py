"""The commands `baseline` and `show`, run as the command line runs them."""

from __future__ import annotations

import io
import json
import re
import sys
from pathlib import Path

import pandas as pd
import pytest

from torchserve_drift.baseline.baseline import Baseline
from torchserve_drift.cli import main

FLIGHTS = Path(__file__).parents[1] / "data" / "flights.csv.gz"


@pytest.fixture
def run(capsys):
    """Runs a command line; gives its exit code, and what it wrote to stdout and stderr."""

    def call(*arguments):
        with pytest.raises(SystemExit) as stopped:
            main([str(argument) for argument in arguments])
        written = capsys.readouterr()
        return stopped.value.code, written.out, written.err

    return call


@pytest.fixture
def small(tmp_path):
    path = tmp_path / "train.csv"
    path.write_text("age,city,day,late\n3,Ulm,1,0\n5,Köln,2,1\n,Ulm,1,0\n")
    return path


def test_all_options(run, small, tmp_path):
    weights = tmp_path / "weights.json"
    weights.write_text('{"age": 3, "day": 1}')
    output = tmp_path / "b.safetensors"
    options = ["--label", "late", "--exclude", "city", "--categorical", "day", "--rows", "2", "--seed", "5"]
    code, out, err = run("baseline", small, "-o", output, *options, "--importance", weights)
    assert (code, err) == (0, "")
    baseline = Baseline.load(output)
    assert [(f.name, f.kind, f.importance) for f in baseline.features] == [
        ("age", "numeric", 0.75),
        ("day", "categorical", 0.25),
    ]
    assert (baseline.rows, baseline.sample_rows, baseline.seed) == (3, 2, 5)
    assert out == (
        f"{output}: 1 numeric and 1 categorical features of 3 rows, a sample of 2, sha256 {baseline.sha256}\n"
    )


def test_several_columns_are_excluded(run, small, tmp_path):
    code, out, _ = run("baseline", small, "-o", tmp_path / "b", "--exclude", "city", "--exclude", "day", "--json")
    assert code == 0
    summary = json.loads(out)
    baseline = Baseline.load(tmp_path / "b")
    assert summary == {
        "file": str(tmp_path / "b"),
        "rows": 3,
        "sample_rows": 3,
        "numeric": 2,
        "categorical": 0,
        "spans": 0,
        "created": baseline.created,
        "sha256": baseline.sha256,
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.csv"], "SOURCE must be a csv, csv.gz or parquet file, a folder or a glob of them, got 'none.csv'"),
        ([FLIGHTS, "--label", "late\n"], "--label must name a column of the data, got 'late\\n'"),
        (
            [FLIGHTS, "--importance", "none.json"],
            "importance file 'none.json' cannot be read: No such file or directory",
        ),
        ([FLIGHTS, "--time", "clock"], "--time must name a column of the data, got 'clock'"),
        ([FLIGHTS, "--spans", "1"], "spans must be an integer from 2 to 100, got 1"),
        ([FLIGHTS, "--rows", "0"], "rows must be an integer from 1 to 32000, got 0"),
        ([FLIGHTS, "--rows", "many"], "Invalid value for '--rows': 'many' is not a valid integer."),
    ],
)
def test_errors_are_one_line_and_exit_2(run, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert run("baseline", *arguments, "-o", tmp_path / "b") == (2, "", f"torchserve-drift: {message}\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("missing", ["ibis", "duckdb"])
def test_the_missing_extra_says_what_to_install(run, small, tmp_path, monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    code, out, err = run("baseline", small, "-o", tmp_path / "b")
    assert (code, out) == (2, "")
    assert err == (
        f"torchserve-drift: building a baseline needs Ibis with DuckDB, and {missing} is missing: "
        "pip install 'torchserve-drift[baseline]'\n"
    )


def test_progress_is_for_terminals_only(run, small, tmp_path, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    code, out, _ = run("baseline", small, "-o", tmp_path / "b")
    assert code == 0
    assert "categories" in terminal.getvalue()
    assert out.count("\n") == 1


@pytest.fixture(scope="module")
def flights(tmp_path_factory):
    output = tmp_path_factory.mktemp("flights") / "b.safetensors"
    with pytest.raises(SystemExit):
        main(["baseline", str(FLIGHTS), "-o", str(output), "--label", "arr_delay", "--rows", "100"])
    return output


def test_show(run, flights):
    code, out, err = run("show", flights)
    assert (code, err) == (0, "")
    baseline = Baseline.load(flights)
    assert baseline.sha256 in out
    assert baseline.created in out
    assert re.search(r"^rows +12,000 +$", out, re.MULTILINE)
    assert re.search(r"^sample rows +100 +$", out, re.MULTILINE)
    (temp,) = (line for line in out.splitlines() if "│ temp " in line)
    frame = pd.read_csv(FLIGHTS)
    quantiles = frame["temp"].quantile([0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99])
    numbers = [frame["temp"].mean(), frame["temp"].std(), frame["temp"].min(), *quantiles, frame["temp"].max(), 1 / 19]
    cells = [cell.strip() for cell in temp.strip("│").split("│")]
    assert cells == ["temp", "11,962", "38", "0", *(f"{number:.6g}" for number in numbers)]
    (carrier,) = (line for line in out.splitlines() if "│ carrier " in line)
    shares = frame["carrier"].value_counts(normalize=True)
    listed = ", ".join(f"{name} {share:.1%}" for name, share in shares[:10].items())
    assert f"{listed}, {len(shares) - 10} more" in carrier


def test_times_give_tolerances(run, tmp_path):
    lines = [f"{i % 3},{i // 3},{i},{'ab'[i > 7]}" for i in range(12)]
    (tmp_path / "d.csv").write_text("\n".join(["hour,day,x,c", *lines]))
    output = tmp_path / "b"
    code, out, err = run(
        "baseline", tmp_path / "d.csv", "-o", output, "--time", "day", "--time", "hour", "--spans", "3"
    )
    reason = "--time has numbers that order the rows, and no dates, times or seconds since 1970"
    assert (code, err) == (0, f"no time profiles: {reason}\n")
    assert "1 numeric and 1 categorical features of 12 rows, a sample of 12, 3 spans of time, sha256" in out
    x, c = Baseline.load(output).features
    _, out, _ = run("show", output)
    assert re.search(r"^spans +3 +$", out, re.MULTILINE)
    table = out[out.index("tolerance: the largest effect") :]
    for feature in (x, c):
        (row,) = (line for line in table.splitlines() if f"│ {feature.name} " in line)
        cells = [cell.strip() for cell in row.strip("│").split("│")]
        checks = ("ks", "mean", "std", "range", "missing", "chi2", "frequency", "new_category")
        expected = [f"{feature.tolerance(check):.3g}" if check in feature.variation else "-" for check in checks]
        assert cells == [feature.name, *expected]
    assert "tolerance of the joint distribution: 0\n" in out
    content = json.loads(run("show", output, "--json")[1])
    assert content["spans"] == 3
    assert content["joint"] == {"tolerance": 0, "variation": [0, 0, 0]}
    assert content["features"][1]["tolerance"]["chi2"] == c.tolerance("chi2") > 0.5
    assert content["features"][0]["variation"]["range"] == [1, 0, 1]


def test_show_json(run, flights):
    code, out, _ = run("show", flights, "--json")
    assert code == 0
    content = json.loads(out, parse_constant=pytest.fail)
    baseline = Baseline.load(flights)
    assert content == baseline.to_dict()
    assert (content["rows"], content["sample_rows"], content["sha256"]) == (12_000, 100, baseline.sha256)
    features = {feature["name"]: feature for feature in content["features"]}
    assert features["origin"]["categories"][0] == {"category": "LGA", "count": 4131, "share": 4131 / 12_000}
    assert features["temp"]["edge_counts"][-1] == features["temp"]["count"] == 11_962
    assert features["temp"]["quantiles"]["0.5"] == 57.0


def test_show_is_safe_for_the_terminal(run, tmp_path):
    nasty = "a\x1b[2J[red]\u202e\n[/link]"
    frame = pd.DataFrame({nasty: [nasty], "[bold]n\x07": [1.5], "empty": [float("nan")]})
    frame.to_parquet(tmp_path / "d.parquet")
    run("baseline", tmp_path / "d.parquet", "-o", tmp_path / "b")
    code, out, _ = run("show", tmp_path / "b")
    assert code == 0
    shown = "a\\x1b[2J[red]\\u202e\\n[/link]"
    assert f"│ {shown} │" in out
    assert f"{shown} 100.0%" in out
    assert "[bold]n\\x07" in out
    assert not re.search("[\x00-\x09\x0b-\x1f\u202e]", out)
    assert re.search(r"│ empty +│ +0 │ +1 │ +0 │ +- │", out)


def test_show_of_another_file(run, small):
    code, out, err = run("show", small)
    assert (code, out) == (2, "")
    assert err.startswith(f"torchserve-drift: baseline {str(small)!r} cannot be used: ")
    assert err.count("\n") == 1
