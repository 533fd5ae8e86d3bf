"""Decodes requests, as TorchServe passes them to a handler, to rows of features."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional, Union

import numpy as np

from torchserve_drift.errors import FeatureError, RowLengthError
from torchserve_drift.features.encoding import RowEncoder, first_names
from torchserve_drift.features.schema import Feature
from torchserve_drift.stats.arrays import Floats

UNDECODABLE = "undecodable"
NOT_FEATURES = "not_features"
WRONG_LENGTH = "wrong_length"
REASONS = (UNDECODABLE, NOT_FEATURES, WRONG_LENGTH)
"""Why a request is rejected: its body is not JSON; a row is neither an object nor a list of features; a row, or the
request, has a wrong length."""

LARGEST_REQUEST = 1 << 24
"""The most values of one request, which are its rows times the features.

Three bytes of JSON can stand for a row of a thousand missing values, so the limit on the size of a body is not enough.
A body of 6.5 MB, TorchServe's default limit, cannot hold more values than this if all are written out.
"""

_MOST_UNNAMED_FEATURES = 100_000


@dataclass(frozen=True)
class Refusal:
    """Why a request was rejected: one of `REASONS`, and a line for the client."""

    reason: str
    message: str


@dataclass(frozen=True)
class Request:
    """One request of a batch: how many rows it has, and in which form it is answered.

    The ``form`` is ``row`` (one object or list of values), ``rows`` (a list of those), ``v1`` or ``v2`` (KServe), or
    ``none`` (an empty request, which TorchServe sends repeatedly while a response streams).
    """

    form: str
    rows: int
    refusal: Optional[Refusal] = None


@dataclass(frozen=True, eq=False)
class Batch:
    """The ``rows`` (m, F) of all ``requests``, in their order.

    ``unknown`` is how many values had names that are not features.
    """

    rows: Floats
    requests: tuple[Request, ...]
    unknown: int

    def sizes(self) -> list[int]:
        """The number of rows of each request that has any."""
        return [request.rows for request in self.requests if request.rows]

    def rejected(self) -> Mapping[str, int]:
        """How many requests were rejected, by reason."""
        refused = [request.refusal.reason for request in self.requests if request.refusal]
        return Counter(refused) if refused else {}  # making a Counter costs more than recording a row


@dataclass
class _DecodedRows:
    """The encoded rows of a batch, and the number of values whose names are not features, so far."""

    values: list[Union[list[float], Floats]] = field(default_factory=list)
    unknown: int = 0


class TabularDecoder:
    """Decodes JSON bodies to rows: objects of features, lists of values in the baseline's order, KServe v1 and v2.

    Thread-safe.
    """

    def __init__(self, encoder: RowEncoder) -> None:
        self.encoder = encoder

    @classmethod
    def of_numbers(cls, requests: Sequence[Any]) -> TabularDecoder:
        """A decoder for a model without a usable baseline: it takes lists of numbers.

        The lists must be as long as the first list in ``requests``.
        """
        width = next((width for width in map(_first_row_width, requests) if width), 1)
        features = [Feature(f"feature {i}", "numeric") for i in range(min(width, _MOST_UNNAMED_FEATURES))]
        return cls(RowEncoder(features))

    def decode(self, requests: Sequence[Any]) -> Batch:
        """The rows of one batch. Never raises: a request that cannot be read gets a `Refusal`."""
        rows = _DecodedRows()
        decoded = tuple(self._decode_request(request, rows) for request in requests)
        width = len(self.encoder.names)
        matrix = np.array(rows.values, dtype=np.float64).reshape(-1, width) if rows.values else np.empty((0, width))
        return Batch(matrix, decoded, rows.unknown)

    def _decode_request(self, request: Any, rows: _DecodedRows) -> Request:
        """Add the rows of ``request`` to ``rows``, all of them or none."""
        before, unknown = len(rows.values), rows.unknown
        try:
            body = body_of(request)
            form = "none" if body is _EMPTY else self._decode_body(body, rows)
            return Request(form, len(rows.values) - before)
        except RowLengthError as error:
            refusal = Refusal(WRONG_LENGTH, str(error))
        except FeatureError as error:
            refusal = Refusal(NOT_FEATURES, str(error))
        except (ValueError, RecursionError) as error:
            refusal = Refusal(UNDECODABLE, f"the body must be JSON: {str(error)[:200]}")
        del rows.values[before:]  # rows that were read before the one that could not be
        rows.unknown = unknown
        return Request("row", 0, refusal)

    def _decode_body(self, body: Any, rows: _DecodedRows) -> str:
        """Add the rows of ``body`` to ``rows``, and return the form of the request."""
        if isinstance(body, Mapping):
            # A feature may have the name of one of KServe's keys; then the key is taken for the feature.
            if isinstance(body.get("instances"), list) and "instances" not in self.encoder.names:
                self._add_rows(body["instances"], rows)
                return "v1"
            if isinstance(body.get("inputs"), list) and "inputs" not in self.encoder.names:
                rows.values.extend(self._tensor_rows(body["inputs"]))
                return "v2"
            self._add_row(body, rows)
            return "row"
        if isinstance(body, list) and body and isinstance(body[0], (list, Mapping)):
            self._add_rows(body, rows)
            return "rows"
        self._add_row(body, rows)
        return "row"

    def _check_size(self, rows: int) -> None:
        most = LARGEST_REQUEST // len(self.encoder.names)
        if rows > most:
            raise RowLengthError(f"a request must have at most {most} rows, got {rows}")

    def _add_rows(self, instances: Sequence[Any], rows: _DecodedRows) -> None:
        self._check_size(len(instances))
        for instance in instances:
            self._add_row(instance, rows)

    def _add_row(self, row: Any, rows: _DecodedRows) -> None:
        if isinstance(row, Mapping):
            values, unknown = self.encoder.json_object(row)
            if unknown and unknown == len(row):
                raise FeatureError(f"an object must hold features of the baseline, got {first_names(row)}")
            rows.unknown += unknown
        elif isinstance(row, list):
            values = self.encoder.values(row)
        else:
            raise FeatureError(f"a row must be an object or a list of features, got {type(row).__name__}")
        rows.values.append(values)

    def _tensor_rows(self, tensors: Sequence[Any]) -> Floats:
        """Rows of KServe v2 tensors.

        Either one tensor (m, F) holds all features in the baseline's order, or each feature has a tensor of its name.
        """
        named = {}
        for tensor in tensors:
            if not isinstance(tensor, Mapping) or not isinstance(tensor.get("data"), list):
                raise FeatureError("each of inputs must be an object with a list of data, as KServe v2 has it")
            named[str(tensor.get("name"))] = tensor
        names = self.encoder.names
        if len(tensors) == 1 and not set(named).intersection(names):
            flat = _flattened(tensors[0]["data"])
            if not flat or len(flat) % len(names):
                raise RowLengthError(f"a tensor of rows must have a multiple of {len(names)} values, got {len(flat)}")
            return np.array([self.encoder.values(flat[i : i + len(names)]) for i in range(0, len(flat), len(names))])
        columns = {name: _flattened(tensor["data"]) for name, tensor in named.items() if name in names}
        self._check_size(max(map(len, columns.values()), default=0))
        return self.encoder.columns(columns)


_EMPTY = object()
"""Stands for the body of an empty request."""


def body_of(request: Any) -> Any:
    """What the client sent, decoded from JSON; a special object if the request is empty.

    TorchServe passes ``{"body": ...}`` or ``{"data": ...}``, where the value is bytes or is decoded already; a service
    envelope passes the value itself.

    Raises
    ------
    ValueError, RecursionError
        If bytes or text are not JSON.
    """
    body = request
    if isinstance(request, Mapping):
        if not request:
            return _EMPTY
        if "data" in request:
            body = request["data"]
        elif "body" in request:
            body = request["body"]
    if isinstance(body, (bytes, bytearray, memoryview)):
        body = bytes(body)
    if isinstance(body, (bytes, str)):
        return json.loads(body)
    return body


def _first_row_width(request: Any) -> int:
    """The number of values in the first row of a request of lists; 0 for other requests."""
    try:
        body = body_of(request)
    except (ValueError, RecursionError):
        return 0
    if isinstance(body, Mapping):
        body = body.get("instances")
    if isinstance(body, list) and body and isinstance(body[0], list):
        body = body[0]
    return len(body) if isinstance(body, list) else 0


def _flattened(data: Sequence[Any]) -> list[Any]:
    """A tensor's data as one list, row by row. KServe v2 allows a list of lists."""
    values: list[Any] = []
    for item in data:
        if isinstance(item, list):
            values.extend(item)
        else:
            values.append(item)
    return values
