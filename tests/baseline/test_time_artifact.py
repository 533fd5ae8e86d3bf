"""Time profiles in the artifact: what is written is read, and what cannot be is refused in one line."""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import replace

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from torchserve_drift.baseline import artifact
from torchserve_drift.baseline.baseline import Baseline
from torchserve_drift.baseline.channels import names_of, own_categories
from torchserve_drift.baseline.time_profile import GROUPS, HOURS, LENGTHS, TESTED_LENGTHS, TimeProfile
from torchserve_drift.errors import BaselineError

KEY = "torchserve_drift.baseline"


def profile_of(feature, seed=0):
    """A profile that breaks no rule, of arbitrary numbers that single precision holds."""
    random = np.random.default_rng(seed)
    channels = len(names_of(feature))
    if feature.kind == "numeric":
        whole = np.diff(feature.edge_counts, prepend=0)
    else:
        own = own_categories(feature)
        whole = np.append(feature.counts[:own], feature.counts[own:].sum())
    counts = np.zeros((HOURS, len(whole)), np.int64)
    for column, rows in enumerate(whole):
        np.add.at(counts[:, column], random.integers(0, HOURS, rows), 1)
    missing = np.bincount(random.integers(0, HOURS, feature.missing), minlength=HOURS)

    def floats(*shape):
        return random.random((*shape, channels)).astype(np.float32).astype(float)

    return TimeProfile(
        counts=counts,
        missing=missing,
        unfamiliar=counts.sum(axis=1) // 2,
        groups=random.integers(0, GROUPS, HOURS),
        correlation=np.sort(floats(len(TESTED_LENGTHS), GROUPS), axis=0)[::-1],
        steps=floats(len(LENGTHS)),
        freedom=1 + np.round(floats(len(LENGTHS)) * 64) / 8,
        tail=np.maximum(floats(len(TESTED_LENGTHS)), 0.5),
        clustering=floats(),
    )


COLUMNS = {
    "age": [*range(40), None],
    "city": ["Ulm"] * 20 + ["Bonn"] * 20 + [None],
    "wage": [1.0] * 30 + [2.0] * 11,
    "nothing": [None] * 41,
    "shop": [f"s{i % 7}" for i in range(41)],
}


def timed(columns=COLUMNS):
    made = Baseline.from_columns(columns, categorical=["empty"], created="2024-01-01T00:00:00Z")
    features = tuple(replace(f, time=profile_of(f, seed)) for seed, f in enumerate(made.features))
    return replace(made, features=features)


DATA = artifact.to_bytes(timed())


def content_of(data):
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(json.loads(data[8 : 8 + length])["__metadata__"][KEY])


def signed(data):
    blank = bytearray(data)
    blank[68:132] = b"0" * 64
    blank[68:132] = hashlib.sha256(blank).hexdigest().encode()
    return bytes(blank)


def forged(change_content=None, **tensors):
    content, arrays = content_of(DATA), safetensors.numpy.load(DATA)
    if change_content:
        change_content(content)
    arrays.update(tensors)
    text = json.dumps(content, separators=(",", ":"))
    return signed(safetensors.numpy.save(arrays, {KEY: text}))


def refusal(data):
    with pytest.raises(BaselineError) as caught:
        artifact.from_bytes(data, "b.safetensors")
    message = str(caught.value)
    assert message.startswith("baseline 'b.safetensors' cannot be used: ")
    assert "\n" not in message
    return message


def assert_same_profiles(one, other):
    for a, b in zip(one.features, other.features):
        for name, value in vars(a.time).items():
            found = getattr(b.time, name)
            assert found.dtype == value.dtype
            np.testing.assert_array_equal(found, value)


@pytest.mark.parametrize("names", [["age"], ["city"], ["nothing"], ["age", "wage"], ["shop", "city"], list(COLUMNS)])
def test_what_is_written_is_read(names):
    made = timed({name: COLUMNS[name] for name in names})
    assert_same_profiles(artifact.from_bytes(artifact.to_bytes(made), "b"), made)


def test_a_feature_without_categories():
    made = timed({"empty": [None] * 4})
    assert made.features[0].kind == "categorical"
    assert_same_profiles(artifact.from_bytes(artifact.to_bytes(made), "b"), made)


def test_without_time_profiles_the_file_is_that_of_version_2():
    made = timed()
    plain = replace(made, features=tuple(replace(f, time=None) for f in made.features))
    data = artifact.to_bytes(plain)
    assert content_of(data)["format_version"] == 2
    assert "own_categories" not in content_of(data)
    assert not any("time" in name for name in safetensors.numpy.load(data))
    assert content_of(DATA)["format_version"] == 3
    assert content_of(DATA)["own_categories"] == [2, 7]


def test_a_profile_takes_at_most_25_kb_of_a_numeric_feature():
    random = np.random.default_rng(0)
    values = {name: random.normal(size=1_000) for name in "abcd"}
    made = timed(values)
    plain = replace(made, features=tuple(replace(f, time=None) for f in made.features))
    more = len(artifact.to_bytes(made)) - len(artifact.to_bytes(plain))
    assert more / 4 < 25_000


def test_arrays_are_read_only():
    time = artifact.from_bytes(DATA, "b").features[0].time
    for array in vars(time).values():
        with pytest.raises(ValueError, match="read-only"):
            array[:] = 0


def test_counts_beyond_four_bytes_are_written_as_the_largest():
    made = timed({"age": [1.0, 2.0]})
    (feature,) = made.features
    counts = np.zeros_like(feature.time.counts)
    counts[0, 0] = 2**33
    big = replace(
        feature, count=2**33 + 1, edge_counts=np.array([2**33, *[2**33 + 1] * (len(feature.edges) - 1)]),
        time=replace(feature.time, counts=counts, unfamiliar=counts.sum(axis=1)),
    )  # fmt: skip
    loaded = artifact.from_bytes(artifact.to_bytes(replace(made, features=(big,), rows=2**33 + 1)), "b")
    assert loaded.features[0].time.counts.max() == 2**32 - 1


def test_some_features_with_a_profile_are_not_written():
    made = timed()
    some = replace(made, features=(replace(made.features[0], time=None), *made.features[1:]))
    with pytest.raises(BaselineError, match=r"^all features of a baseline must have a time profile, or none, got 4"):
        artifact.to_bytes(some)


def _with(name, place, value):
    array = safetensors.numpy.load(DATA)[name].copy()
    array[place] = value
    return {name: array}


@pytest.mark.parametrize(
    ("tensors", "reason"),
    [
        (_with("numeric.time_counts", (1, 0, 0), 2**32 - 1), "feature 'wage': the counts of its time profile"),
        (_with("numeric.time_counts", (1, 0, 27), 1), "feature 'wage': the counts of its time profile"),
        (_with("numeric.time_counts", (2, 0, 0), 1), "feature 'nothing': the counts of its time profile"),
        (_with("numeric.time_rows", (0, 0, 5), 3), "feature 'age': the counts of its time profile"),
        (_with("numeric.time_rows", (0, 1, 5), 60), "feature 'age': the counts of its time profile"),
        (_with("categorical.time_counts", (0, 0), 60), "feature 'city': the counts of its time profile"),
        (_with("categorical.time_counts", (0, 2), 1), "feature 'city': the counts of its time profile"),
        (_with("categorical.time_rows", (0, 0, 5), 3), "feature 'city': the counts of its time profile"),
        (_with("numeric.time_groups", (0, 5), 4), "feature 'age': the groups of its time profile must be below 4"),
        (_with("categorical.time_groups", (1, 5), 255), "feature 'shop': the groups of its time profile must be below"),
        (_with("numeric.time_correlation", (0, 3, 1, 2), np.nan), "feature 'age': the correlation of its time profile"),
        (_with("numeric.time_correlation", (0, 0, 1, 2), 1001), "feature 'age': the correlation of its time profile"),
        (_with("numeric.time_correlation", (0, 13, 1, 2), 2), "feature 'age': the correlation of its time profile"),
        (_with("numeric.time_correlation", (0, 13, 1, 2), -1), "feature 'age': the correlation of its time profile"),
        (_with("categorical.time_correlation", (13, 1, 4), 2), "feature 'city': the correlation of its time profile"),
        (_with("categorical.time_correlation", (13, 1, 5), 2), "feature 'shop': the correlation of its time profile"),
        (_with("numeric.time_steps", (0, 3, 1), -0.1), "feature 'age': the steps of its time profile must be 0 to"),
        (_with("numeric.time_freedom", (0, 3, 1), 0.5), "feature 'age': the freedom of its time profile must be 1"),
        (_with("numeric.time_freedom", (0, 3, 1), np.inf), "feature 'age': the freedom of its time profile must be 1"),
        (_with("numeric.time_tail", (0, 3, 1), 0), "feature 'age': the tail of its time profile must be above 0"),
        (_with("categorical.time_tail", (3, 1), 1.1), "feature 'city': the tail of its time profile must be above 0"),
        (_with("numeric.time_clustering", (0, 1), 1.1), "feature 'age': the clustering of its time profile must"),
        (_with("categorical.time_clustering", 5, np.nan), "feature 'shop': the clustering of its time profile must be"),
    ],
)  # fmt: skip
def test_values_that_cannot_be_are_refused(tensors, reason):
    message = refusal(forged(**tensors))
    assert reason in message
    assert len(message) < 200


@pytest.mark.parametrize(
    ("numbers", "reason"),
    [
        ([3, 7], "its own_categories must be an integer from 0 to 2, got 3"),
        ([2, -1], "its own_categories must be an integer from 0 to 7, got -1"),
        ([2, True], "its own_categories must be an integer from 0 to 7, got True"),
        ([2], "its own_categories must be 2 integers, got [2]"),
        (None, "its own_categories must be 2 integers, got None"),
        ([1, 7], "its tensors must match its features, got a missing or different one: 'categorical.time_clustering'"),
    ],
)
def test_numbers_of_channels_that_cannot_be_are_refused(numbers, reason):
    assert refusal(forged(lambda content: content.update(own_categories=numbers))).endswith(reason)


def test_numbers_of_channels_are_those_of_the_counts():
    """One channel fewer for one feature and one more for the other: the shapes are right, the numbers are not."""
    message = refusal(forged(lambda content: content.update(own_categories=[1, 7]), **_narrower()))
    assert message.endswith(
        "feature 'city': own_categories must be the number of its frequent categories, got other values"
    )


def _narrower():
    arrays = safetensors.numpy.load(DATA)
    return {name: value[..., 1:] for name, value in arrays.items() if name.startswith("categorical.time_") and
            name not in ("categorical.time_rows", "categorical.time_groups")}  # fmt: skip


@pytest.mark.parametrize("version", [2, 3])
def test_keys_are_those_of_the_version(version):
    def change(content):
        content["format_version"] = version
        if version == 3:
            del content["own_categories"]

    assert "its metadata must have the keys" in refusal(forged(change))


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_no_edit_with_a_right_digest_raises_anything_else(data):
    edited = bytearray(DATA)
    for _ in range(data.draw(st.integers(1, 4))):
        edited[data.draw(st.integers(0, len(edited) - 1))] = data.draw(st.integers(0, 255))
    try:
        baseline = artifact.from_bytes(signed(bytes(edited)), "b")
    except BaselineError:
        return
    assert_same_profiles(artifact.from_bytes(artifact.to_bytes(baseline), "b"), baseline)
