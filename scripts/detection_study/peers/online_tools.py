"""alibi-detect's online detectors, which get one row at a time. This module runs in alibi-detect's own environment.

The detectors take the expected number of rows between false alarms (ERT) and simulate thresholds for it. One alarm in
10 million rows cannot be simulated. So their error messages are kept, and the delays are measured with a smaller ERT.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from detection_study.marginals import MODEL, Categories, Floats, rows_of
from detection_study.setting import BUDGET_ROWS, MODEL_FEATURES, delay_at_looks
from detection_study.shifts import SHIFTS, Shift

ERT_ROWS = 1_000
REFERENCE_ROWS = 1_000
CVM_WINDOWS = [50, 200]
MMD_WINDOW = 100
HORIZON_ROWS = 3_000
CVM_REPETITIONS, MMD_REPETITIONS = 10, 3


def refusal(make: Callable[[], Any]) -> str:
    """The error message of the constructor; empty if there is no error."""
    try:
        make()
    except (ValueError, MemoryError, RuntimeError) as error:
        return f"{type(error).__name__}: {error}"
    return ""


def first_alarm(detector: Any, rows: Sequence[Floats]) -> int | None:
    for number, row in enumerate(rows, 1):
        if detector.predict(row)["data"]["is_drift"]:
            return number
    return None


def delays(detector: Any, shift: Shift, repetitions: int, columns: Sequence[int], warm_up: int) -> list[int | None]:
    """Rows from the onset to the first alarm after it, at looks, within `HORIZON_ROWS`."""
    found = []
    for repetition in range(repetitions):
        rng = np.random.default_rng([51, repetition, SHIFTS.index(shift)])
        detector.reset_state()
        for row in rows_of(MODEL, rng, warm_up)[:, columns]:
            detector.predict(row)
        after = shift.applied(rng, rows_of(MODEL, rng, HORIZON_ROWS))[:, columns]
        found.append(delay_at_looks(first_alarm(detector, list(after))))
    return found


def measure() -> dict[str, Any]:
    """Error messages at the study's rate; seconds to construct, and delays, both at `ERT_ROWS`."""
    from alibi_detect.cd import CVMDriftOnline, MMDDriftOnline

    warnings.simplefilter("ignore")
    rng = np.random.default_rng(52)
    reference = rows_of(MODEL, rng, REFERENCE_ROWS)
    numeric = [place for place, marginal in enumerate(MODEL.values()) if not isinstance(marginal, Categories)]
    one = reference[:, :1]
    result: dict[str, Any] = {
        "versions": {name: version(name) for name in ("alibi-detect", "numba", "numpy", "torch")},
        "ert_rows": ERT_ROWS,
        "horizon_rows": HORIZON_ROWS,
        "refusals": {
            "CVMDriftOnline": refusal(
                lambda: CVMDriftOnline(one, ert=BUDGET_ROWS * MODEL_FEATURES, window_sizes=CVM_WINDOWS, verbose=False)
            ),
            "MMDDriftOnline": refusal(
                lambda: MMDDriftOnline(
                    reference, ert=BUDGET_ROWS, window_size=MMD_WINDOW, backend="pytorch", verbose=False
                )
            ),
        },
    }
    print(result, flush=True)
    began = time.perf_counter()
    cvm = CVMDriftOnline(one, ert=ERT_ROWS, window_sizes=CVM_WINDOWS, verbose=False)
    result["seconds_to_construct"] = {"CVMDriftOnline": time.perf_counter() - began}
    print(result["seconds_to_construct"], flush=True)
    began = time.perf_counter()
    mmd = MMDDriftOnline(
        reference[:, numeric],
        ert=ERT_ROWS,
        window_size=MMD_WINDOW,
        backend="pytorch",
        n_bootstraps=1_500,
        verbose=False,
    )
    result["seconds_to_construct"]["MMDDriftOnline"] = time.perf_counter() - began
    print(result["seconds_to_construct"], flush=True)
    result["delays"] = {}
    for shift in SHIFTS:
        if isinstance(MODEL[shift.features[0]], Categories) or shift.name.startswith("missing"):
            continue
        found = {"MMDDriftOnline": delays(mmd, shift, MMD_REPETITIONS, numeric, 2 * MMD_WINDOW)}
        if len(shift.features) == 1:
            found["CVMDriftOnline"] = delays(cvm, shift, CVM_REPETITIONS, [0], 2 * max(CVM_WINDOWS))
        result["delays"][shift.name] = found
        print(shift.name, found, flush=True)
    return result


def main(arguments: Sequence[str]) -> None:
    Path(arguments[0]).write_text(json.dumps(measure()))


if __name__ == "__main__":
    main(sys.argv[1:])
