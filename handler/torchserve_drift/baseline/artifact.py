"""A baseline as the bytes of its file: safetensors with one entry of JSON metadata (docs/artifact-format.md).

Bytes are trusted only after their length, their digest, their version and every value have been checked, in this order.
Nothing in them is ever executed.
"""

from __future__ import annotations

import numpy as np

from torchserve_drift.baseline import header, validity
from torchserve_drift.baseline.channels import own_categories
from torchserve_drift.baseline.digest import verified_digest, with_digest
from torchserve_drift.baseline.profile import Profile
from torchserve_drift.baseline.tensors import expected_tensors, features_from, tensors_of
from torchserve_drift.baseline.time_validity import check_time_profiles
from torchserve_drift.errors import BaselineError
from torchserve_drift.features.schema import Feature
from torchserve_drift.stats.arrays import AnyArray


def from_bytes(data: bytes, name: str) -> Profile:
    """The baseline in the bytes of a file; errors call the file ``name``.

    Raises
    ------
    BaselineError
        When ``data`` is not a whole, unaltered and consistent baseline.

    Notes
    -----
    Memory: as much again as ``data`` for the tensors. The arrays are read-only, and features share them.
    """
    try:
        sha256 = verified_digest(data)
        head = header.read(data)
        tensors = _read_tensors(data, head)
        validity.check(head, tensors)
        check_time_profiles(head, tensors)
    except BaselineError as error:
        raise BaselineError(f"baseline {name!r} cannot be used: {error}") from None
    features = tuple(features_from(head, tensors))
    joint_variation = tensors.get("joint.variation", np.zeros(0))
    return Profile(features, head.rows, head.created, head.seed, sha256, joint_variation)


def to_bytes(baseline: Profile) -> bytes:
    """The content of the file; the same baseline gives the same bytes.

    Raises
    ------
    BaselineError
        When the baseline contradicts itself (docs/artifact-format.md lists the rules).
    """
    from safetensors.numpy import save as serialise

    if not baseline.features:
        raise BaselineError("a baseline must have at least one feature, got none")
    timed = [feature.name for feature in baseline.features if feature.time is not None]
    if timed and not baseline.has_time_profiles:
        raise BaselineError(f"all features of a baseline must have a time profile, or none, got {len(timed)} with one")
    categorical = (feature for feature in baseline.features if feature.kind == "categorical")
    head = header.Header(
        baseline.schema,
        baseline.rows,
        baseline.sample_rows,
        baseline.created,
        baseline.seed,
        baseline.spans,
        {},
        tuple(map(own_categories, categorical)) if timed else None,
    )
    metadata = header.metadata_text(head)
    tensors = tensors_of(baseline)
    for name, (_, shape) in expected_tensors(head).items():
        if tensors[name].shape != shape:
            raise BaselineError(f"a baseline's {name} must have the shape {shape}, got {tensors[name].shape}")
    # the same check as on reading, so that no file is written that would be refused
    validity.check(head, tensors)
    check_time_profiles(head, tensors)
    return with_digest(serialise(tensors, {header.KEY: metadata}))


def read_schema(data: bytes) -> tuple[Feature, ...]:
    """The features alone, from the header. This works without safetensors, and when the tensors are damaged or cut off.

    The features have a digest of their own, so they are returned as they were written or not at all.

    Raises
    ------
    BaselineError
        When the header itself is damaged.
    """
    return header.read(data).features


def _read_tensors(data: bytes, head: header.Header) -> dict[str, AnyArray]:
    expected = expected_tensors(head)
    # before safetensors reads the tensors, so that only arrays of the expected sizes are made
    if head.tensors != expected:
        wrong = sorted(name for name in {*expected, *head.tensors} if expected.get(name) != head.tensors.get(name))
        raise BaselineError(f"its tensors must match its features, got a missing or different one: {wrong[0][:100]!r}")
    try:
        from safetensors import SafetensorError
        from safetensors.numpy import load as deserialise
    except ImportError:
        raise BaselineError("safetensors is not installed here: pip install safetensors") from None
    try:
        tensors: dict[str, AnyArray] = deserialise(data)
    except (SafetensorError, ValueError) as error:
        raise BaselineError(f"its tensors must match its header, got: {error}") from None
    for tensor in tensors.values():
        tensor.flags.writeable = False  # many threads share a baseline
    return tensors
