"""A small network that predicts late flights, and how important each feature is for it."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from demo_flights.flights import LABEL, Flight
from torchserve_drift import Baseline
from torchserve_drift.baseline.profile import NumericBaseline
from torchserve_drift.features.schema import Feature

EPOCHS = 30
_BATCH = 128


class LateFlights(nn.Module):
    """Turns rows [rows, features] float32 into the probabilities of being late [rows].

    A category is its index; the number of categories stands for an unknown or missing one. A missing number is NaN.
    """

    def __init__(self, schema: Sequence[Feature], mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.numeric = [i for i, feature in enumerate(schema) if feature.kind == "numeric"]
        self.categorical = [i for i, feature in enumerate(schema) if feature.kind == "categorical"]
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)
        self.embeddings = nn.ModuleList(nn.Embedding(len(schema[i].categories) + 1, 4) for i in self.categorical)
        width = len(self.numeric) + 4 * len(self.categorical)
        self.layers = nn.Sequential(nn.Linear(width, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 1))

    def forward(self, rows: Tensor) -> Tensor:
        parts = [torch.nan_to_num((rows[:, self.numeric] - self.mean) / self.std)]
        for i, embedding in enumerate(self.embeddings):
            parts.append(embedding(rows[:, self.categorical[i]].long()))
        return torch.sigmoid(self.layers(torch.cat(parts, 1)))[:, 0]


def encode(flights: Sequence[Flight], schema: Sequence[Feature]) -> Tensor:
    """Flights as rows in the form that the served model gets."""
    columns: list[list[float]] = []
    for feature in schema:
        values = [flight[feature.name] for flight in flights]
        if feature.kind == "categorical":
            index = {name: i for i, name in enumerate(feature.categories)}
            columns.append([index.get(str(value), len(index)) for value in values])
        else:
            columns.append([np.nan if value is None else float(value) for value in values])
    return torch.tensor(np.array(columns, dtype=np.float32).T)


def train(flights: Sequence[Flight], baseline: Baseline, model_file: Path) -> LateFlights:
    """Train the model, and save it as TorchScript."""
    torch.manual_seed(2013)
    torch.set_num_threads(1)
    rows = encode(flights, baseline.schema)
    late = torch.tensor([float(flight[LABEL] or 0) for flight in flights])
    numbers = [feature for feature in baseline.features if isinstance(feature, NumericBaseline)]
    model = LateFlights(
        baseline.schema, torch.tensor([n.mean for n in numbers]), torch.tensor([n.std or 1.0 for n in numbers])
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.1)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(rows)).split(_BATCH):
            optimizer.zero_grad()
            nn.functional.binary_cross_entropy(model(rows[batch]), late[batch]).backward()
            optimizer.step()
    model.eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # TorchServe loads TorchScript by itself
        torch.jit.script(model).save(str(model_file))
    return model


def write_importance(path: Path, model: LateFlights, flights: Sequence[Flight], schema: Sequence[Feature]) -> None:
    """Write how much AUC is lost if the values of a feature are shuffled among the flights, for each feature."""
    rows = encode(flights, schema)
    late = [bool(flight[LABEL]) for flight in flights]
    generator = torch.Generator().manual_seed(2013)
    with torch.no_grad():
        whole = auc(model(rows).tolist(), late)
        losses = {}
        for i, feature in enumerate(schema):
            shuffled = rows.clone()
            shuffled[:, i] = rows[torch.randperm(len(rows), generator=generator), i]
            losses[feature.name] = max(0.0, whole - auc(model(shuffled).tolist(), late))
    path.write_text(json.dumps(losses, indent=2))


def auc(scores: Sequence[float], positive: Sequence[bool]) -> float:
    """The area under the ROC curve: the share of (positive, negative) pairs in the right order; ties count half."""
    values, counts = np.unique(np.asarray(scores), return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2
    mask = np.asarray(positive, dtype=bool)
    positives = int(mask.sum())
    rank_sum = float(ranks[np.searchsorted(values, np.asarray(scores)[mask])].sum())
    return (rank_sum - positives * (positives + 1) / 2) / (positives * (len(mask) - positives))
