"""The same checks offline: from columns, from pieces, from files, and on the command line."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet
from scipy import stats

from baselines import baseline
from torchserve_drift import Report, check
from torchserve_drift.cli import main
from torchserve_drift.errors import DriftError, FeatureError

RNG = np.random.default_rng(0)
KNOWN = {
    "x": RNG.normal(size=3000),
    "n": RNG.integers(0, 9, 3000).astype(float),
    "c": RNG.choice(["a", "b", "c"], 3000).tolist(),
    "flag": RNG.choice(["true", "false"], 3000).tolist(),
    "store": RNG.choice(["1", "2", "3"], 3000).tolist(),
}
FRESH = {
    "x": RNG.normal(0.6, 1, 900),
    "n": RNG.integers(0, 9, 900).astype(float),
    "c": RNG.choice(["a", "b", "c", "new", "newer"], 900, p=[0.3, 0.3, 0.3, 0.07, 0.03]).tolist(),
    "flag": RNG.choice([True, False], 900).tolist(),
    "store": RNG.choice([1, 2, 3], 900).tolist(),
}
BASELINE = baseline(KNOWN)


def drifted(report: Report) -> set[str]:
    return {feature.name for feature in report.features if feature.windows["all"].drifted}


def test_columns_pieces_and_scipy_agree() -> None:
    whole = check(BASELINE, FRESH)
    assert drifted(whole) == {"x", "c"}
    assert whole.feature("x").windows["all"].checks["ks"].p_value == pytest.approx(
        stats.ks_2samp(KNOWN["x"], FRESH["x"], method="asymp").pvalue, rel=1e-6
    )
    pieces = check(
        BASELINE, ({name: values[i : i + 100] for name, values in FRESH.items()} for i in range(0, 900, 100))
    )
    assert pieces.windows == whole.windows
    assert [f.windows["all"].checks for f in pieces.features] == [f.windows["all"].checks for f in whole.features]


def test_unseen_categories_are_named_with_their_shares() -> None:
    unseen = check(BASELINE, FRESH).feature("c").unseen
    assert list(unseen) == ["new", "newer"]
    assert unseen["new"] == FRESH["c"].count("new") / 900


def test_a_window_of_rows_beyond_the_reservoir_is_sampled() -> None:
    report = check(BASELINE, {name: np.tile(np.asarray(values), 20) for name, values in FRESH.items()})
    assert (report.windows["all"].rows, report.windows["all"].sample_rows) == (18_000, 4096)


def test_data_that_cannot_be_checked_gives_an_error_with_the_reason() -> None:
    with pytest.raises(FeatureError, match=r"^the rows must have every feature of the baseline, got none called 'n'$"):
        check(BASELINE, {"x": [1.0]})
    with pytest.raises(DriftError, match=r"^the rows to check must be at least one, got none in "):
        check(BASELINE, {name: [] for name in KNOWN})
    with pytest.raises(FeatureError, match=r"^column 'n' must have 2 values, got 1$"):
        check(BASELINE, {"x": [1, 2], "n": [1], "c": ["a"] * 2, "flag": [True] * 2, "store": [1] * 2})


def write(path: Path) -> Path:
    """The fresh rows as a file of the kind that its name says."""
    if path.name.endswith(".parquet"):
        parquet.write_table(pa.table(FRESH), path)
        return path
    with gzip.open(path, "wt", newline="") if path.suffix == ".gz" else path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(FRESH)
        writer.writerows(zip(*(np.asarray(values).tolist() for values in FRESH.values())))
    return path


@pytest.mark.parametrize("name", ["rows.csv", "rows.csv.gz", "rows.parquet"])
def test_files_of_every_kind_are_the_same_rows(name: str, tmp_path: Path) -> None:
    expected, found = check(BASELINE, FRESH), check(BASELINE, write(tmp_path / name))
    assert [f.windows["all"].checks for f in found.features] == [f.windows["all"].checks for f in expected.features]
    assert found.feature("c").unseen == expected.feature("c").unseen


def run(capsys: pytest.CaptureFixture[str], *arguments: Any) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stopped:
        main(["check", *map(str, arguments)])
    captured = capsys.readouterr()
    return int(stopped.value.code or 0), captured.out, captured.err


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    BASELINE.save(tmp_path / "baseline.safetensors")
    return tmp_path / "baseline.safetensors", write(tmp_path / "rows.csv")


def test_the_command_exits_with_1_for_drift_and_names_it(
    files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(capsys, *files, "--json")
    assert code == 1
    report = Report.from_dict(json.loads(out))
    assert drifted(report) == {"x", "c"}
    code, out, _ = run(capsys, *files)
    assert code == 1
    assert "'new'" in out
    code, out, _ = run(capsys, *files, "--format", "html")
    assert code == 1
    assert "<td class=name>x</td>" in out


def test_the_command_exits_with_0_without_drift_and_obeys_a_config_file(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "model-config.yaml"
    config.write_text("drift: {min_rows: 901}")
    code, out, _ = run(capsys, *files, "--config-file", config)
    assert code == 0
    assert "too few rows" in out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("nothing.safetensors", None), "nothing.safetensors"),
        ((None, "nothing.csv"), "nothing.csv"),
        ((None, "--config-file"), "Option '--config-file' requires an argument"),
    ],
)
def test_errors_are_one_line_and_exit_with_2(
    change: tuple[Any, Any], message: str, files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, error = run(capsys, *(new or old for new, old in zip(change, files)))
    assert (code, out) == (2, "")
    assert message in error
    assert error.count("\n") == 1
