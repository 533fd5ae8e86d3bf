"""Archives of a small model with drift monitoring. Answers also tell the process and files they come from."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from baselines import baseline
from torchserve_drift.mar.archive import Options, build_archive

PROBE = """\
import os, sys
import torchserve_drift
from torchserve_drift import handler


class Probe(handler.DriftHandler):
    def postprocess(self, data):
        about = {
            "pid": os.getpid(),
            "files": [torchserve_drift.__file__, handler.__file__],
            "unwanted": sorted({"ibis", "duckdb", "click", "rich"} & set(sys.modules)),
        }
        return [{**about, "answer": answer} for answer in super().postprocess(data)]
"""
"""A handler whose answers also hold its process, its package's files, and modules that serving must not load."""


def save_model(path: Path) -> None:
    """Write a TorchScript model that answers each row with the sum of its numbers; missing ones count as 0."""
    import torch

    class Sum(torch.nn.Module):
        def forward(self, rows: torch.Tensor) -> torch.Tensor:
            return torch.nan_to_num(rows).sum(1)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(Sum()).save(str(path))


def probe_archive(folder: Path, columns: Mapping[str, Sequence[Any]], drift: Mapping[str, Any], **model: Any) -> Path:
    """Write an archive `tabular.mar` in ``folder``, with a baseline of ``columns`` and the settings ``drift``.

    Its handler is that of `PROBE`; ``model`` holds more keys of model-config.yaml.
    """
    work = folder / "work"
    work.mkdir()
    baseline(columns).save(work / "baseline.safetensors")
    save_model(work / "model.pt")
    (work / "probe.py").write_text(PROBE)
    config = {"minWorkers": 2, "maxWorkers": 2, **model, "drift": dict(drift)}
    (work / "model-config.yaml").write_text(json.dumps(config))
    return build_archive(
        Options(
            "tabular",
            handler=str(work / "probe.py"),
            baseline=work / "baseline.safetensors",
            serialized_file=work / "model.pt",
            config_file=work / "model-config.yaml",
            export_path=folder,
        )
    )
