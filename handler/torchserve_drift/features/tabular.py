"""Requests as TorchServe hands them to a handler, decoded to rows of features."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional, Union

import numpy as np

from torchserve_drift.errors import FeatureError, RowLengthError
from torchserve_drift.features.encoding import RowEncoder, few
from torchserve_drift.features.schema import Feature
from torchserve_drift.stats.arrays import Floats

UNDECODABLE = "undecodable"
NOT_FEATURES = "not_features"
WRONG_LENGTH = "wrong_length"
REASONS = (UNDECODABLE, NOT_FEATURES, WRONG_LENGTH)
"""Why a row is rejected: its body is no JSON; it is neither an object nor a list of features; a list of another
length."""


LARGEST_REQUEST = 1 << 24
"""Values of one request, rows times features: three bytes of JSON may name a row of a thousand missing values. More
than TorchServe's largest request (6.5 MB by default) can hold where it spells them out."""

_WIDEST_UNNAMED = 100_000


@dataclass(frozen=True)
class Refusal:
    """Why a request has no rows: one of `REASONS`, and a line for its sender."""

    reason: str
    message: str


@dataclass(frozen=True)
class Request:
    """One request's place in a batch of rows: ``rows`` of them; ``form`` tells how its response looks.

    Forms: ``row`` (one object or list of values), ``rows`` (a list of those), ``v1`` and ``v2`` (KServe), ``none``
    (nothing to answer: an empty row, which TorchServe sends again and again while it streams).
    """

    form: str
    rows: int
    refusal: Optional[Refusal] = None


@dataclass(frozen=True, eq=False)
class Batch:
    """``rows`` (m, F) of all ``requests``, in their order; ``unknown`` values under names that are no features."""

    rows: Floats
    requests: tuple[Request, ...]
    unknown: int

    def sizes(self) -> list[int]:
        """The rows of each request that has any."""
        return [request.rows for request in self.requests if request.rows]

    def rejected(self) -> Mapping[str, int]:
        """Rejected requests by reason."""
        refused = [request.refusal.reason for request in self.requests if request.refusal]
        return Counter(refused) if refused else {}  # a Counter costs more than all else that is recorded of a row


@dataclass
class _Rows:
    values: list[Union[list[float], Floats]] = field(default_factory=list)
    unknown: int = 0


class TabularDecoder:
    """JSON bodies to rows: an object of features, a list of values in the baseline's order, KServe v1 and v2.
    Thread-safe."""

    def __init__(self, encoder: RowEncoder) -> None:
        self.encoder = encoder

    @classmethod
    def of_numbers(cls, requests: Sequence[Any]) -> TabularDecoder:
        """A decoder of lists of numbers as long as the first of ``requests``, for a model without a usable baseline."""
        width = next((width for width in map(_width, requests) if width), 1)
        features = [Feature(f"feature {i}", "numeric") for i in range(min(width, _WIDEST_UNNAMED))]
        return cls(RowEncoder(features))

    def decode(self, requests: Sequence[Any]) -> Batch:
        """The rows of one batch; whatever cannot be read becomes a `Refusal` of its own request, never an exception."""
        rows = _Rows()
        decoded = tuple(self._request(request, rows) for request in requests)
        width = len(self.encoder.names)
        matrix = np.array(rows.values, dtype=np.float64).reshape(-1, width) if rows.values else np.empty((0, width))
        return Batch(matrix, decoded, rows.unknown)

    def _request(self, request: Any, rows: _Rows) -> Request:
        before, unknown = len(rows.values), rows.unknown
        try:
            body = body_of(request)
            form = "none" if body is _EMPTY else self._body(body, rows)
            return Request(form, len(rows.values) - before)
        except RowLengthError as error:
            refusal = Refusal(WRONG_LENGTH, str(error))
        except FeatureError as error:
            refusal = Refusal(NOT_FEATURES, str(error))
        except (ValueError, RecursionError) as error:
            refusal = Refusal(UNDECODABLE, f"the body must be JSON: {str(error)[:200]}")
        del rows.values[before:]
        rows.unknown = unknown
        return Request("row", 0, refusal)

    def _body(self, body: Any, rows: _Rows) -> str:
        if isinstance(body, Mapping):
            if isinstance(body.get("instances"), list) and "instances" not in self.encoder.names:
                self._many(body["instances"], rows)
                return "v1"
            if isinstance(body.get("inputs"), list) and "inputs" not in self.encoder.names:
                rows.values.extend(self._tensors(body["inputs"]))
                return "v2"
            self._one(body, rows)
            return "row"
        if isinstance(body, list) and body and isinstance(body[0], (list, Mapping)):
            self._many(body, rows)
            return "rows"
        self._one(body, rows)
        return "row"

    def _check_size(self, rows: int) -> None:
        most = LARGEST_REQUEST // len(self.encoder.names)
        if rows > most:
            raise RowLengthError(f"a request must have at most {most} rows, got {rows}")

    def _many(self, instances: Sequence[Any], rows: _Rows) -> None:
        self._check_size(len(instances))
        for instance in instances:
            self._one(instance, rows)

    def _one(self, row: Any, rows: _Rows) -> None:
        if isinstance(row, Mapping):
            values, unknown = self.encoder.object(row)
            if unknown and unknown == len(row):
                raise FeatureError(f"an object must hold features of the baseline, got {few(row)}")
            rows.unknown += unknown
        elif isinstance(row, list):
            values = self.encoder.values(row)
        else:
            raise FeatureError(f"a row must be an object or a list of features, got {type(row).__name__}")
        rows.values.append(values)

    def _tensors(self, tensors: Sequence[Any]) -> Floats:
        """Rows of KServe v2 tensors: one (m, F) tensor in the baseline's order, or one tensor a feature, named for
        it."""
        named = {}
        for tensor in tensors:
            if not isinstance(tensor, Mapping) or not isinstance(tensor.get("data"), list):
                raise FeatureError("each of inputs must be an object with a list of data, as KServe v2 has it")
            named[str(tensor.get("name"))] = tensor
        names = self.encoder.names
        if len(tensors) == 1 and not set(named).intersection(names):
            flat = _flat(tensors[0]["data"])
            if not flat or len(flat) % len(names):
                raise RowLengthError(f"a tensor of rows must have a multiple of {len(names)} values, got {len(flat)}")
            return np.array([self.encoder.values(flat[i : i + len(names)]) for i in range(0, len(flat), len(names))])
        columns = {name: _flat(tensor["data"]) for name, tensor in named.items() if name in names}
        self._check_size(max(map(len, columns.values()), default=0))
        return self.encoder.columns(columns)


_EMPTY = object()


def body_of(request: Any) -> Any:
    """What a client sent, decoded from JSON where TorchServe has not done so; a marker of its own for an empty row.

    TorchServe hands over ``{"body": ...}`` or ``{"data": ...}``, decoded or as bytes, or under a service envelope the
    value itself.

    Raises
    ------
    ValueError, RecursionError
        When bytes or text are no JSON.
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


def _width(request: Any) -> int:
    """Values in the first row of a request of lists; 0 for other requests."""
    try:
        body = body_of(request)
    except (ValueError, RecursionError):
        return 0
    if isinstance(body, Mapping):
        body = body.get("instances")
    if isinstance(body, list) and body and isinstance(body[0], list):
        body = body[0]
    return len(body) if isinstance(body, list) else 0


def _flat(data: Sequence[Any]) -> list[Any]:
    """A tensor's data row by row: KServe v2 allows it nested."""
    values: list[Any] = []
    for item in data:
        if isinstance(item, list):
            values.extend(item)
        else:
            values.append(item)
    return values
