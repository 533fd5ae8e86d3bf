"""The artifact: what is written is read, and whatever else is read is one clear error."""

from __future__ import annotations

import hashlib
import json
import struct
import sys
from dataclasses import replace

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from torchserve_drift.baseline import artifact
from torchserve_drift.baseline.baseline import Baseline
from torchserve_drift.baseline.profile import (
    CATEGORICAL_EFFECTS,
    MISSING_CODE,
    NUMERIC_EFFECTS,
    CategoricalBaseline,
    NumericBaseline,
)
from torchserve_drift.errors import BaselineError
from torchserve_drift.features.schema import Feature


def numeric(name="age", importance=0.5, rows=4):
    return NumericBaseline(
        name=name,
        count=rows - 1,
        missing=1,
        invalid=0,
        mean=2.0,
        std=1.0,
        minimum=1.0,
        maximum=3.0,
        quantiles=np.linspace(1, 3, 27),
        edges=np.array([1.0, 2.0, 3.0]),
        edge_counts=np.array([1, 2, rows - 1]),
        sample=np.array([1.0, np.nan, 3.0]),
        importance=importance,
    )


def empty_numeric(name="nothing", rows=4):
    nan = np.nan
    nothing = np.array([])
    return NumericBaseline(
        name, 0, rows, 0, nan, 0.0, nan, nan, np.full(27, nan), nothing, nothing.astype(int), np.full(3, nan), 0.0
    )


def categorical(name="city", importance=0.5):
    sample = np.array([1, MISSING_CODE, 0], np.uint16)
    return CategoricalBaseline(name, ("Ulm", "Köln \ud800\n"), np.array([2, 1]), 1, sample, importance)


def seasoned(*features):
    """`small`, built with times."""
    some = features or (numeric(), categorical(), empty_numeric())
    effects = {"numeric": NUMERIC_EFFECTS, "categorical": CATEGORICAL_EFFECTS}
    values = {kind: {check: np.array([0.25, i / 8]) for i, check in enumerate(effects[kind])} for kind in effects}
    made = small(*(replace(feature, variation=values[feature.kind]) for feature in some))
    return replace(made, joint_variation=np.array([0.5, 0.125]))


def small(*features):
    return Baseline(features or (numeric(), categorical(), empty_numeric()), 4, "2024-01-01T00:00:00Z", 7)


def assert_same(one, other):
    assert (one.rows, one.created, one.seed, one.schema) == (other.rows, other.created, other.seed, other.schema)
    np.testing.assert_array_equal(one.joint_variation, other.joint_variation)
    for a, b in zip(one.features, other.features):
        assert type(a) is type(b)
        for field, value in vars(a).items():
            if field == "variation":
                effects = [{check: v.tolist() for check, v in feature.variation.items()} for feature in (a, b)]
                assert effects[0] == effects[1]
                continue
            if isinstance(value, np.ndarray):
                assert getattr(b, field).dtype == value.dtype
            np.testing.assert_array_equal(getattr(b, field), value)


def header_of(data):
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length])


def content_of(data):
    return json.loads(header_of(data)["__metadata__"]["torchserve_drift.baseline"])


def signed(data):
    """``data`` with the digest that an attacker would put there, by the words of docs/artifact-format.md."""
    blank = bytearray(data)
    blank[68:132] = b"0" * 64
    blank[68:132] = hashlib.sha256(blank).hexdigest().encode()
    return bytes(blank)


def forged(change_content=None, change_arrays=None, baseline=None, **tensors):
    """A file with a right digest whose JSON or tensors an attacker changed."""
    data = artifact.to_bytes(baseline or small())
    content, arrays = content_of(data), safetensors.numpy.load(data)
    if change_content:
        change_content(content)
        plain = json.dumps(content.get("features"), separators=(",", ":"))
        if "features_sha256" in content:
            content["features_sha256"] = hashlib.sha256(plain.encode()).hexdigest()
    if change_arrays:
        change_arrays(arrays)
    arrays.update(tensors)
    text = json.dumps(content, separators=(",", ":"))
    return signed(safetensors.numpy.save(arrays, {"torchserve_drift.baseline": text}))


SMALL = artifact.to_bytes(small())


def refusal(data):
    with pytest.raises(BaselineError) as caught:
        artifact.from_bytes(data, "b.safetensors")
    message = str(caught.value)
    assert message.startswith("baseline 'b.safetensors' cannot be used: ")
    assert "\n" not in message
    assert len(message) < 600
    return message


def test_what_is_saved_is_loaded(tmp_path):
    path = tmp_path / "b.safetensors"
    saved = small().save(path)
    loaded = Baseline.load(path)
    assert_same(loaded, small())
    assert loaded.sha256 == saved.sha256 == content_of(path.read_bytes())["sha256"]
    assert [p.name for p in tmp_path.iterdir()] == ["b.safetensors"]


def test_one_kind_of_feature_only():
    for feature in (numeric(importance=1.0), categorical(importance=1.0)):
        for made in (small(feature), seasoned(feature)):
            assert_same(artifact.from_bytes(artifact.to_bytes(made), "b"), made)


def test_variation_is_saved_in_the_order_of_the_format():
    data = artifact.to_bytes(seasoned())
    loaded = artifact.from_bytes(data, "b")
    assert_same(loaded, seasoned())
    assert loaded.spans == content_of(data)["spans"] == 2
    assert content_of(SMALL)["spans"] == 0
    arrays = safetensors.numpy.load(data)
    assert arrays["numeric.variation"].shape == (2, 5, 2)
    assert arrays["categorical.variation"][0, :, 1].tolist() == [0, 1 / 8, 2 / 8, 3 / 8]
    assert arrays["joint.variation"].tolist() == loaded.joint_variation.tolist() == [0.5, 0.125]
    assert loaded.joint_tolerance == 0.5
    assert artifact.from_bytes(SMALL, "b").joint_tolerance == 0
    age, city, _ = loaded.features
    assert [age.tolerance(check) for check in ("ks", "mean", "range", "missing")] == [0.25, 0.25, 0.375, 0.5]
    assert [city.tolerance(check) for check in ("chi2", "missing", "ks")] == [0.25, 0.375, 0]


def test_a_category_column_without_any_value():
    feature = CategoricalBaseline("x", (), np.array([], int), 4, np.full(3, MISSING_CODE, np.uint16), 1.0)
    assert_same(artifact.from_bytes(artifact.to_bytes(small(feature)), "b"), small(feature))


def test_the_digest_is_that_of_the_file_with_its_digits_zero():
    assert signed(SMALL) == SMALL
    assert SMALL[68:132].decode() == artifact.from_bytes(SMALL, "b").sha256


def test_loaded_arrays_are_read_only():
    feature = artifact.from_bytes(SMALL, "b").features[0]
    with pytest.raises(ValueError, match="read-only"):
        feature.sample[0] = 1.0


def test_every_truncation_is_refused():
    for length in range(len(SMALL)):
        assert refusal(SMALL[:length])
    assert refusal(SMALL + b"\0")


def test_every_flipped_byte_is_refused():
    for place in range(len(SMALL)):
        for mask in (1, 0x20, 0xFF):
            damaged = bytearray(SMALL)
            damaged[place] ^= mask
            assert refusal(bytes(damaged))


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_no_edit_with_a_right_digest_raises_anything_else(data):
    edited = bytearray(SMALL)
    for _ in range(data.draw(st.integers(1, 4))):
        edited[data.draw(st.integers(0, len(edited) - 1))] = data.draw(st.integers(0, 255))
    edited = signed(bytes(edited[: data.draw(st.integers(140, len(edited)))]))
    try:
        baseline = artifact.from_bytes(edited, "b")
    except BaselineError:
        return
    assert_same(artifact.from_bytes(artifact.to_bytes(baseline), "b"), baseline)


@given(st.binary(max_size=300), st.booleans())
def test_arbitrary_bytes_raise_nothing_else(data, framed):
    if framed:
        data = struct.pack("<Q", len(data)) + data
    assert refusal(data)
    with pytest.raises(BaselineError):
        artifact.read_schema(data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


@given(key=st.sampled_from(sorted(content_of(SMALL))), value=JSON)
def test_arbitrary_json_in_the_metadata_raises_nothing_else(key, value):
    def change(content):
        content[key] = value

    if key not in ("sha256", "features_sha256") and value != content_of(SMALL)[key]:
        try:
            artifact.from_bytes(forged(change), "b")
        except BaselineError:
            return
        assert key in ("seed", "created")


DEEP = ["[" * 100_000, '{"a":' * 100_000, "1" * 10_000, "1e999", "NaN", "{}", "null", '"', "\ud800", ""]


@pytest.mark.parametrize("text", DEEP)
def test_hostile_json_is_refused(text):
    escaped = text.replace('"', '\\"')
    for rest in (f'\\",\\"features\\":{escaped}}}"}}}}', f'\\"}}"}},"tensor":{text}}}', text):
        header = SMALL[8:68] + b"0" * 64 + rest.encode("utf-8", "surrogatepass")
        data = signed(struct.pack("<Q", len(header)) + header)
        assert refusal(data)
        with pytest.raises(BaselineError):
            artifact.read_schema(data)


def test_a_huge_declared_header_is_refused_without_allocating():
    assert "header must end within its 20 bytes" in refusal(struct.pack("<Q", 2**63) + b"{" * 12)


def test_a_newer_version_says_so():
    message = refusal(forged(lambda content: content.update(format_version=4)))
    assert message.endswith("its format_version must be 2 or 3, got 4; update torchserve-drift")


def test_an_older_version_says_what_to_do():
    message = refusal(forged(lambda content: content.update(format_version=1)))
    assert message.endswith("its format_version must be 2 or 3, got 1; build it anew")


def test_version_is_reported_before_other_contents():
    def change(content):
        content.update(format_version=9, rows="many", future=1)

    assert "format_version must be 2 or 3, got 9" in refusal(forged(change))


def _set(name, place, value):
    def change(arrays):
        arrays[name] = arrays[name].copy()
        arrays[name][place] = value

    return change


def _edges(*values):
    return _set("numeric.edges", (0, slice(0, len(values))), values)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_set("importance", 0, np.nan), "feature 'age': importance must be from 0 to 1"),
        (_set("importance", 0, 1.5), "feature 'age': importance must be from 0 to 1"),
        (_set("importance", 0, 0.25), "the importance of its features must sum to 1"),
        (_set("numeric.tallies", (0, 1), -1), "feature 'age': tallies must be counts that sum to its 4 rows"),
        (_set("numeric.tallies", (0, 0), 2**63 - 1), "feature 'age': tallies must be counts that sum to its 4 rows"),
        (_set("numeric.moments", (0, 0), np.inf), "feature 'age': mean, minimum and maximum must be finite"),
        (_set("numeric.moments", (0, 2), 4.0), "feature 'age': mean, minimum and maximum must be finite"),
        (_set("numeric.moments", (1, 3), 4.0), "feature 'nothing': mean, minimum and maximum must be finite"),
        (_set("numeric.moments", (0, 1), np.nan), "feature 'age': std must be 0 or more"),
        (_set("numeric.moments", (0, 1), -1.0), "feature 'age': std must be 0 or more"),
        (_set("numeric.quantiles", (0, 3), np.nan), "feature 'age': quantiles must rise"),
        (_set("numeric.quantiles", (0, 3), 2.9), "feature 'age': quantiles must rise"),
        (_set("numeric.quantiles", (0, 26), np.inf), "feature 'age': quantiles must rise"),
        (_edges(1.0, 1.0, 3.0), "feature 'age': edges must rise strictly"),
        (_edges(-np.inf, 1.0, 3.0), "feature 'age': edges must rise strictly"),
        (_edges(1.0, 2.0, 2.5), "feature 'age': edges must rise strictly"),
        (_edges(np.nan, 2.0, 3.0), "feature 'age': edges must rise strictly"),
        (_edges(np.nan, np.nan, np.nan), "feature 'age': edges must rise strictly"),
        (_set("numeric.edges", (1, 0), 1.0), "feature 'nothing': edges must rise strictly"),
        (_set("numeric.edge_counts", (0, 0), 3), "feature 'age': edge_counts must rise up to its count"),
        (_set("numeric.edge_counts", (0, 0), -1), "feature 'age': edge_counts must rise up to its count"),
        (_set("numeric.edge_counts", (0, 2), 4), "feature 'age': edge_counts must rise up to its count"),
        (_set("numeric.edge_counts", (0, 9), 4), "feature 'age': edge_counts must rise up to its count"),
        (_set("numeric.sample", (0, 0), np.inf), "feature 'age': sample must lie between"),
        (_set("numeric.sample", (0, 0), 3.5), "feature 'age': sample must lie between"),
        (_set("numeric.sample", (0, 0), np.nan), "feature 'age': sample must have at most as many values"),
        (_set("numeric.sample", (1, 0), 1.0), "feature 'nothing': sample must lie between"),
        (_set("categorical.missing", 0, -1), "missing must be a count of its rows"),
        (_set("categorical.missing", 0, 2), "counts must sum, with missing, to its 4 rows"),
        (_set("categorical.counts", slice(0, 2), (-1, 4)), "counts must sum, with missing, to its 4 rows"),
        (_set("categorical.counts", slice(0, 2), (1, 2)), "counts must be in falling order"),
        (_set("categorical.sample", (0, 0), 2), "sample must hold indices of its categories"),
        (_set("categorical.sample", (0, 0), MISSING_CODE), "sample must have at most as many values"),
    ],
)
def test_inconsistent_arrays_are_refused_when_read(change, reason):
    assert reason in refusal(forged(change_arrays=change))


@pytest.mark.parametrize("value", [np.nan, np.inf, -0.1])
@pytest.mark.parametrize("check", range(5))
@pytest.mark.parametrize(("name", "feature"), [("numeric.variation", "age"), ("categorical.variation", "city")])
def test_variation_that_cannot_be_is_refused(name, feature, check, value):
    place = (0, check % (5 if feature == "age" else 4), 1)
    message = refusal(forged(change_arrays=_set(name, place, value), baseline=seasoned()))
    assert f"feature {feature!r}: variation must be 0 or more, finite" in message


@pytest.mark.parametrize(("check", "is_share"), [(0, True), (1, False), (2, False), (3, True), (4, True)])
def test_shares_are_at_most_one(check, is_share):
    data = forged(change_arrays=_set("numeric.variation", (1, check, 0), 1.5), baseline=seasoned())
    if is_share:
        assert "feature 'nothing': variation must be" in refusal(data)
    else:
        assert artifact.from_bytes(data, "b").features[2].variation[NUMERIC_EFFECTS[check]][0] == 1.5


@pytest.mark.parametrize("value", [np.nan, np.inf, -0.1, 1.1])
def test_joint_variation_that_cannot_be_is_refused(value):
    message = refusal(forged(change_arrays=_set("joint.variation", 1, value), baseline=seasoned()))
    assert message.endswith("its joint variation must be from 0 to 1, got other values")


@pytest.mark.parametrize("joint", [np.zeros(0), np.zeros(3)])
def test_joint_variation_of_other_spans_is_not_written(joint):
    with pytest.raises(BaselineError, match=r"^a baseline's joint.variation must have the shape \(2,\), got \(\d,\)$"):
        artifact.to_bytes(replace(seasoned(), joint_variation=joint))


@pytest.mark.parametrize("spans", [0, 1, 3])
def test_spans_are_those_of_the_tensors(spans):
    message = refusal(forged(lambda content: content.update(spans=spans), baseline=seasoned()))
    assert message.endswith("got a missing or different one: 'categorical.variation'")


@pytest.mark.parametrize(
    ("tensors", "at"),
    [
        ({"extra": np.zeros(1)}, "extra"),
        ({"numeric.sample": np.zeros((2, 4))}, "numeric.sample"),
        ({"numeric.sample": np.zeros((2, 3), np.float32)}, "numeric.sample"),
        ({"importance": np.zeros((3, 1))}, "importance"),
    ],
)
def test_other_tensors_are_refused(tensors, at):
    assert refusal(forged(**tensors)).endswith(
        f"its tensors must match its features, got a missing or different one: {at!r}"
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda c: c["features"][1].update(name="age"), "names of its features must differ"),
        (lambda c: c["features"][1].update(categories=["x", "x"]), "categories of 'city' must differ"),
        (lambda c: c["features"][1].update(categories=["x", 3]), "categories of 'city' must be texts"),
        (lambda c: c["features"][1].update(categories=["x", "y" * 201]), "categories of 'city' must be texts"),
        (lambda c: c["features"][1].update(categories=list(map(str, range(65_001)))), "list of at most 65000"),
        (lambda c: c["features"][0].update(kind="image"), "a feature's kind must be numeric or categorical"),
        (lambda c: c["features"][0].update(name=""), "a feature must be ['kind', 'name'] with a name"),
        (lambda c: c["features"].clear(), "features must be a list of at least one"),
        (lambda c: c.update(rows=2), "sample_rows must be an integer from 1 to 2, got 3"),
        (lambda c: c.update(rows=True), "its rows must be an integer"),
        (lambda c: c.update(sample_rows=32_001, rows=10**6), "sample_rows must be an integer from 1 to 32000"),
        (lambda c: c.update(seed=-1), "its seed must be an integer"),
        (lambda c: c.update(spans=101), "its spans must be an integer from 0 to 100, got 101"),
        (lambda c: c.update(created="yesterday"), "time of creation must be ISO 8601 in UTC, got 'yesterday'"),
        (lambda c: c.pop("seed"), "metadata must have the keys"),
    ],
)
def test_inconsistent_metadata_is_refused(change, reason):
    assert reason in refusal(forged(change))


def test_another_safetensors_file_is_refused():
    message = refusal(safetensors.numpy.save({"weight": np.zeros(3)}, {"format": "pt"}))
    assert "it is some other file, or damaged" in message


@pytest.mark.parametrize(
    "broken",
    [
        replace(numeric(importance=1.0), sample=np.array([9.0, 1.0, 1.0])),
        replace(numeric(importance=1.0), quantiles=np.zeros(3)),
        replace(numeric(importance=1.0), edges=np.arange(30.0)),
        replace(categorical(importance=1.0), categories=("a",)),
    ],
)
def test_what_contradicts_itself_is_not_written(broken, tmp_path):
    with pytest.raises(BaselineError):
        small(broken).save(tmp_path / "b.safetensors")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("variation", [{}, {"ks": np.zeros(2)}, {check: np.zeros(3) for check in NUMERIC_EFFECTS}])
def test_variation_of_other_spans_or_checks_is_not_written(variation):
    first = seasoned(numeric(importance=1.0)).features[0]
    with pytest.raises(BaselineError, match=r"^the features of a baseline must have arrays of the same shapes"):
        artifact.to_bytes(small(first, replace(numeric("two", importance=0.0), variation=variation)))


def test_samples_of_different_lengths_are_not_written():
    longer = replace(numeric("two"), sample=np.ones(4))
    with pytest.raises(BaselineError, match=r"^the features of a baseline must have arrays of the same shapes"):
        artifact.to_bytes(small(numeric(), longer))


def test_files_that_cannot_be_read_or_written(tmp_path):
    with pytest.raises(BaselineError, match="cannot be read: No such file or directory"):
        Baseline.load(tmp_path / "none")
    with pytest.raises(BaselineError, match="cannot be read: Is a directory"):
        Baseline.load(tmp_path)
    with pytest.raises(BaselineError, match="cannot be read: embedded null byte"):
        Baseline.load("\0")
    with pytest.raises(BaselineError, match="cannot be written: No such file or directory"):
        small().save(tmp_path / "none" / "b")


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "b.safetensors"
    small().save(path)

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(BaselineError, match="cannot be written: No space left on device"):
        small(numeric(importance=1.0)).save(path)
    assert_same(Baseline.load(path), small())
    assert len(list(tmp_path.iterdir())) == 1


SCHEMA = (
    Feature("age", "numeric"),
    Feature("city", "categorical", ("Ulm", "Köln \ud800\n")),
    Feature("nothing", "numeric"),
)


def test_the_schema_is_read_from_a_damaged_file_without_safetensors(monkeypatch):
    (length,) = struct.unpack("<Q", SMALL[:8])
    monkeypatch.setitem(sys.modules, "safetensors", None)
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    assert artifact.read_schema(SMALL) == SCHEMA
    assert artifact.read_schema(SMALL[: 8 + length]) == SCHEMA
    assert artifact.read_schema(SMALL[: 8 + length] + b"\xff" * 10) == SCHEMA
    assert "safetensors is not installed here" in refusal(SMALL)


def test_a_schema_that_was_altered_is_never_returned():
    (length,) = struct.unpack("<Q", SMALL[:8])
    for place in range(8 + length):
        damaged = bytearray(SMALL)
        damaged[place] ^= 1
        try:
            schema = artifact.read_schema(bytes(damaged))
        except BaselineError:
            continue
        assert schema == SCHEMA


def test_loading_runs_no_loop_over_values():
    feature = replace(numeric(importance=1 / 100, rows=20_000), sample=np.linspace(1, 3, 2_000))
    features = tuple(replace(feature, name=f"f{i}") for i in range(100))
    data = artifact.to_bytes(Baseline(features, 20_000, "2024-01-01T00:00:00Z", 0))
    calls = 0

    def count(*_):
        nonlocal calls
        calls += 1

    sys.setprofile(count)
    try:
        artifact.from_bytes(data, "b")
    finally:
        sys.setprofile(None)
    assert calls < 20_000 < 100 * 2_000
