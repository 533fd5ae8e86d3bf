"""Streams without drift whose features have a category of one row in a million, which is missing in many training sets.

The other streams of the study have no category that is so rare. So a rule that raises an alarm at the first row of an
unseen category has no false alarm in them. Here two rules are measured: ours, and that of alibi-detect with the
threshold for the same rate.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from detection_study.baselines import trained
from detection_study.bounds import poisson_upper
from detection_study.marginals import Categories, rows_of
from detection_study.peers.windows import DEFAULT_WINDOW, TOOLS, CategoricalJudge
from detection_study.setting import BUDGET_ROWS, LOOK_ROWS, MODEL_FEATURES
from detection_study.tails import episodes
from detection_study.watch import Watch

RAREST = 1e-6
OFTEN = 5
MODEL = {
    f"c{i}": Categories("rare", np.array([(1 - RAREST) / OFTEN] * OFTEN + [RAREST])) for i in range(MODEL_FEATURES)
}
"""Features with five frequent categories, like one in the study's model, and one rare category."""


def stream(number: int, *, rows: int, training_rows: int, seed: int, threshold: float) -> dict[str, int]:
    """False alarms of both rules in one stream; each rule has its own training set. ``threshold`` is for -ln p."""
    rng = np.random.default_rng([seed, number])
    watch = Watch(trained(MODEL, rng, training_rows), default_min_effects=False, seed=number)
    ours = theirs = 0
    values = rows_of(MODEL, rng, rows)
    for start in range(0, rows, 50 * LOOK_ROWS):
        ours += sum(len(new) for _, new in watch.looks(values[start : start + 50 * LOOK_ROWS]))
    for place, marginal in enumerate(MODEL.values()):
        judge = CategoricalJudge(marginal.rows(rng, training_rows), OFTEN + 1)
        theirs += episodes(judge.scores(values[:, place], DEFAULT_WINDOW)[TOOLS[2]], threshold)
    return {"ours": ours, "theirs": theirs, "rows": rows}


def summary(streams: Iterable[Mapping[str, int]]) -> dict[str, float]:
    """Alarms of both, and the rates per `BUDGET_ROWS`, ours also as its upper 95 % bound."""
    found = list(streams)
    rows, ours, theirs = (sum(one[key] for one in found) for key in ("rows", "ours", "theirs"))
    scale = BUDGET_ROWS / rows
    return {
        "streams": len(found),
        "rows": rows,
        "ours": ours,
        "ours_upper": poisson_upper(ours) * scale,
        "theirs": theirs,
        "theirs_rate": theirs * scale,
    }
