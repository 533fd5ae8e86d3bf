"""The table of metrics: name, type, labels, help text, and how the samples are read from a snapshot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from torchserve_drift.port.metrics import readers
from torchserve_drift.port.metrics.readers import Reader

PREFIX = "torchserve_drift_"
MODEL_LABELS = ("model_name", "model_version")
"""The first labels of every metric."""


class Family(NamedTuple):
    """One metric. ``labels`` follow `MODEL_LABELS`, ``documentation`` is the help text, ``rows`` reads the samples."""

    type: str
    labels: tuple[str, ...]
    documentation: str
    rows: Reader


METRICS: Mapping[str, Family] = {
    "p_value": Family(
        "gauge",
        ("feature", "window", "check"),
        "Probability of a difference at least as large if there were no drift; absent while the window has too few "
        "rows.",
        readers.from_checks("p_value", judged_only=True),
    ),
    "effect": Family(
        "gauge",
        ("feature", "window", "check"),
        "Size of the difference, without sign; compared with the minimum effect.",
        readers.from_checks("effect", judged_only=True),
    ),
    "statistic": Family(
        "gauge",
        ("feature", "window", "check"),
        "Difference between window and baseline, as the check measures it.",
        readers.from_checks("statistic"),
    ),
    "check_failed": Family(
        "gauge",
        ("feature", "window", "check"),
        "1 if the check failed, else 0.",
        readers.from_checks("failed"),
    ),
    "feature_drifted": Family(
        "gauge",
        ("feature", "window"),
        "1 if the feature has drifted under the policy, else 0; absent while the window has too few rows.",
        readers.from_feature_results("drifted"),
    ),
    "design_effect": Family(
        "gauge",
        ("feature", "window"),
        "Number of rows that carry as much information as one independent row; above 1 if rows of a request are alike.",
        readers.from_feature_results("design_effect", optional=True),
    ),
    "feature_importance": Family(
        "gauge",
        ("feature",),
        "Weight of the feature in the score; the weights of a model's features sum to 1.",
        readers.importances,
    ),
    "score": Family(
        "gauge",
        ("window",),
        "Sum of the importances of the drifted features; absent while the window has too few rows.",
        readers.from_windows("score", judged_only=True),
    ),
    "window_rows": Family("gauge", ("window",), "Rows in the window.", readers.from_windows("rows")),
    "window_sample_rows": Family(
        "gauge", ("window",), "Rows in the window's sample.", readers.from_windows("sample_rows")
    ),
    "rows_total": Family("counter", (), "Rows observed.", readers.single(lambda snapshot: snapshot["rows_total"])),
    "rows_rejected_total": Family(
        "counter",
        ("reason",),
        "Rows that could not be read as features.",
        readers.from_named_counts(lambda snapshot: snapshot["rows_rejected"]),
    ),
    "values_rejected_total": Family(
        "counter",
        ("feature", "reason"),
        "Values that could not be read as a value of their feature.",
        readers.rejected_values,
    ),
    "values_unknown_total": Family(
        "counter",
        (),
        "Values whose name is not a feature of the baseline.",
        readers.single(lambda snapshot: snapshot["values_unknown"]),
    ),
    "feature_value": Family(
        "histogram",
        ("feature",),
        "Exact counts of a numeric feature's values; the bounds are quantiles of the baseline.",
        readers.value_histograms,
    ),
    "category_total": Family(
        "counter",
        ("feature", "category"),
        "Exact counts of a categorical feature's values.",
        readers.from_categories(lambda feature: (*feature["counts"], feature["other"], feature["unseen"])),
    ),
    "baseline_cdf": Family(
        "gauge",
        ("feature", "le"),
        "Share of the baseline's values at or below the upper bound, for the bounds of feature_value.",
        readers.baseline_shares,
    ),
    "baseline_frequency": Family(
        "gauge",
        ("feature", "category"),
        "Share of the baseline's values in the category, for the categories of category_total.",
        readers.from_categories(
            lambda feature: (*feature["baseline_frequency"], feature["other_baseline_frequency"], 0.0)
        ),
    ),
    "errors_total": Family(
        "counter",
        ("stage",),
        "Errors inside the plugin; predictions are not affected.",
        readers.from_named_counts(lambda snapshot: snapshot["errors"]),
    ),
    "observe_seconds": Family(
        "histogram", (), "Seconds spent recording a batch on the request path.", readers.observe_histogram
    ),
    "evaluation_seconds": Family(
        "gauge",
        (),
        "Seconds the last evaluation took.",
        readers.single(lambda snapshot: snapshot["evaluation_seconds"]),
    ),
    "last_evaluation_timestamp_seconds": Family(
        "gauge",
        (),
        "Unix time of the last evaluation, 0 before the first.",
        readers.single(lambda snapshot: snapshot["last_evaluation_timestamp_seconds"]),
    ),
    "baseline_info": Family(
        "gauge",
        ("sha256", "created", "rows", "features", "time_variation"),
        "Always 1; the labels identify the baseline, and say whether variation over time is learned or unknown.",
        readers.baseline_facts,
    ),
}
"""Name without `PREFIX` to family. A histogram has ``_bucket`` and, where a sum is known, ``_sum`` and ``_count``."""
