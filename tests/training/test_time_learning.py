"""Time profiles: counts by their definition, and correlations and tails of streams whose theory is known."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from torchserve_drift.baseline.baseline import Baseline
from torchserve_drift.baseline.channels import names_of, own_categories
from torchserve_drift.baseline.time_profile import GROUPS, HOURS, LENGTHS, TESTED_LENGTHS
from torchserve_drift.errors import BaselineError
from torchserve_drift.training.time_learning import encoded, learn_time_profile, with_time_profiles

DAY = 86400.0
START = 1_700_000_000.0 // DAY * DAY


def even_times(rows, days):
    """Times in rising order, one row at each, that nobody would take for rounded ones."""
    return START + np.sort(np.random.default_rng(5).random(rows)) * days * DAY


def profile(values, times, **options):
    baseline = Baseline.from_columns({"x": values}, **options)
    (feature,) = with_time_profiles(baseline, {"x": values}, times).features
    return feature.time


def at(length, profile, channel=0):
    """The correlation in windows of ``length``, the mean over the groups."""
    return profile.correlation[TESTED_LENGTHS.index(length), :, channel].mean()


def hour(times):
    return (times // 3600 % 168).astype(int)


class TestCounts:
    def test_numeric_counts_are_those_of_each_hour_and_bin(self):
        random = np.random.default_rng(0)
        times = even_times(5_000, 21)
        values = np.round(random.normal(size=5_000), 1)
        values[::7], values[3] = np.nan, np.inf
        baseline = with_time_profiles(Baseline.from_columns({"x": values}), {"x": values}, times)
        (feature,) = baseline.features
        expected = Counter(
            (h, int((feature.edges < value).sum())) for h, value in zip(hour(times), values) if np.isfinite(value)
        )
        found = feature.time.counts
        assert {(h, b): n for (h, b), n in np.ndenumerate(found) if n} == expected
        assert found.sum() == feature.count
        assert (found.sum(axis=0) == np.diff(feature.edge_counts, prepend=0)).all()
        assert feature.time.missing.tolist() == np.bincount(hour(times)[np.isnan(values)], minlength=HOURS).tolist()

    def test_categories_without_a_channel_are_counted_together(self):
        random = np.random.default_rng(0)
        times = even_times(20_000, 15)
        values = [f"c{i}" for i in np.minimum(random.geometric(0.3, 20_000), 60)]
        baseline = with_time_profiles(Baseline.from_columns({"x": values}), {"x": values}, times)
        (feature,) = baseline.features
        own = own_categories(feature)
        assert 5 < own < len(feature.categories)
        table = np.zeros((HOURS, own + 1), int)
        for h, value in zip(hour(times), values):
            table[h, min(feature.categories.index(value), own)] += 1
        assert (feature.time.counts == table).all()

    def test_the_order_of_the_rows_and_rows_without_a_time_do_not_matter(self):
        random = np.random.default_rng(1)
        times, values = even_times(5_000, 15), random.normal(size=5_000)
        order = random.permutation(5_000)
        baseline = Baseline.from_columns({"x": values})
        one = with_time_profiles(baseline, {"x": values}, times).features[0].time
        other = with_time_profiles(
            baseline, {"x": np.append(values[order], 9e9)}, np.append(times[order], np.nan)
        ).features[0].time  # fmt: skip
        for name, found in vars(one).items():
            np.testing.assert_array_equal(found, getattr(other, name))

    def test_values_that_half_of_training_lacks_are_unfamiliar(self):
        times = even_times(20_000, 28)
        late = times >= times[0] // 150 * 150 + 14 * DAY
        numbers = np.where(late, 1.0, 0.0) + np.random.default_rng(0).random(20_000) / 2
        assert profile(numbers, times).unfamiliar.sum() > 19_900
        texts = np.where(late & (np.arange(20_000) % 10 == 0), "new", "old")
        found = profile(texts, times).unfamiliar
        assert found.tolist() == np.bincount(hour(times)[texts == "new"], minlength=HOURS).tolist()


class TestShapes:
    @pytest.mark.parametrize("kind", ["numeric", "categorical"])
    def test_every_array_has_its_shape_and_range(self, kind):
        random = np.random.default_rng(2)
        times = even_times(30_000, 20)
        values = random.normal(size=30_000) if kind == "numeric" else random.choice(list("abc"), 30_000)
        baseline = with_time_profiles(Baseline.from_columns({"x": values}), {"x": values}, times)
        (feature,) = baseline.features
        time, channels = feature.time, len(names_of(feature))
        assert time.groups.shape == time.missing.shape == time.unfamiliar.shape == (HOURS,)
        assert time.correlation.shape == (len(TESTED_LENGTHS), GROUPS, channels)
        assert time.steps.shape == time.freedom.shape == (len(LENGTHS), channels)
        assert time.tail.shape == (len(TESTED_LENGTHS), channels)
        assert time.clustering.shape == (channels,)
        assert set(time.groups.tolist()) <= set(range(GROUPS))
        assert (time.correlation >= 0).all()
        assert (np.diff(time.correlation, axis=0) <= 0).all()
        assert (time.steps >= 0).all()
        assert (time.freedom >= 1).all()
        assert ((time.tail > 0) & (time.tail <= 1)).all()
        assert ((time.clustering >= 0) & (time.clustering <= 1)).all()

    def test_a_feature_without_values_has_an_empty_profile(self):
        times = even_times(1_000, 15)
        for values in ([None] * 1_000, np.full(1_000, np.nan), np.full(1_000, np.inf)):
            found = profile(values, times)
            assert found.counts.size == 0
            assert np.isfinite(found.correlation).all()
        found = profile([None] * 1_000, times, categorical=["x"])
        assert found.counts.tolist() == [[0]] * HOURS
        assert found.missing.sum() == 1_000

    def test_a_constant_has_no_correlation(self):
        found = profile(np.full(5_000, 3.0), even_times(5_000, 15))
        assert (found.correlation == 0).all()
        assert (found.tail == 1).all()


class TestCorrelation:
    def test_independent_rows_have_hardly_any_and_tails_as_they_claim(self):
        times = even_times(200_000, 60)
        found = profile(np.random.default_rng(4).normal(size=200_000), times)
        for length in (150.0, 3600.0, DAY):
            rows = 200_000 * length / (60 * DAY)
            # half of training says what to expect, and is known to 1 in 72 days' rows itself
            assert at(length, found) < 0.6 / rows
        assert found.tail.min() > 0.6
        assert np.median(found.tail) > 0.9

    @pytest.mark.parametrize("rho", [0.5, 0.9])
    def test_an_autoregression_has_the_correlation_of_theory(self, rho):
        """Rows a minute apart: of windows of n, the mean of the correlations of all pairs of different rows."""
        random, rows = np.random.default_rng(6), 90 * 1440
        noise, values = random.normal(size=rows) * np.sqrt(1 - rho * rho), np.zeros(rows)
        for i in range(1, rows):
            values[i] = rho * values[i - 1] + noise[i]
        # scattered by a second, so that times are not taken for rounded ones
        found = profile(values, START + np.arange(rows) * 60.0 + random.random(rows))
        for length, n in ((1200.0, 20), (3600.0, 60), (10800.0, 180)):
            lag = np.abs(np.subtract.outer(np.arange(n), np.arange(n)))
            # 1 / n + correlation is the variance of the mean; scores of bins keep 98 % of a normal variable's
            theory = (rho**lag).mean() - 1 / n
            assert at(length, found) == pytest.approx(theory, rel=0.15)

    def test_hours_and_weekdays_are_in_the_profile_not_in_the_correlation(self):
        times = even_times(400_000, 56)
        random = np.random.default_rng(7)
        season = 3 * np.sin(times / DAY * 2 * np.pi) + np.where(times // DAY % 7 < 2, 2.0, 0.0)
        found = profile(season + random.normal(size=len(times)), times)
        assert at(DAY, found) < 0.01
        assert at(3600.0, found) < 0.02
        shifted = profile(np.where(times // DAY % 3 < 1, 1.0, 0.0) + random.normal(size=len(times)), times)
        assert at(DAY, shifted) > 0.05, "a cycle of three days is in no profile of a week"

    def test_a_week_is_not_expected_from_itself(self):
        """Each week has a level of its own. Held against a mean that holds it, it would deviate less."""
        times = even_times(100_000, 14)
        level = np.where(times < START + 7 * DAY, -0.5, 0.5)
        found = profile(level + np.random.default_rng(8).normal(size=len(times)), times)
        # the other half is 1 away, of a standard deviation within hours of about sqrt(1.25)
        assert at(DAY, found) == pytest.approx(1 / 1.25, rel=0.25)

    def test_shorter_lengths_than_training_shows_are_no_less_alike(self):
        """Three rows an hour: no window of an hour has ten of them."""
        times = even_times(3 * 24 * 120, 120)
        level = np.random.default_rng(9).normal(size=241)[(times // (DAY / 2)).astype(int) % 241]
        found = profile(level + np.random.default_rng(10).normal(size=len(times)) / 3, times)
        assert at(43200.0, found) > 0.3
        assert at(150.0, found) >= 1.0

    def test_ten_alike_rows_are_one_for_the_distribution(self):
        """Each value comes ten times within a minute, one minute after another."""
        random, minutes = np.random.default_rng(18), 56 * 1440
        times = np.sort(
            START + (np.arange(minutes) * 60.0)[:, None] + 59 * random.random((minutes, 10)), axis=1
        ).ravel()
        found = profile(np.repeat(random.normal(size=minutes), 10), times)
        # 600 rows of an hour, worth 60 and those that half of training holds against them, 4 weeks' hours and the prior
        theory = (1 / 60 - 1 / 600) + 1 / (4 * 60)
        assert at(3600.0, found, channel=4) == pytest.approx(theory, rel=0.15)

    def test_edges_that_no_row_with_a_time_is_below(self):
        random, times = np.random.default_rng(19), even_times(5_000, 21)
        values = random.normal(size=10_000)
        values[5_000:] = np.abs(values[5_000:])
        baseline = Baseline.from_columns({"x": values})
        known = np.append(np.full(5_000, np.nan), times)
        (feature,) = with_time_profiles(baseline, {"x": values}, known).features
        assert (feature.time.counts.sum(axis=0) == 0).any()
        assert at(3600.0, feature.time, channel=4) < 0.05

    def test_rows_that_come_at_once_teach_nothing_of_longer_windows(self):
        """All rows come between three and four at night: a window of 12 hours has rows of one hour at most."""
        random, nights = np.random.default_rng(17), 56
        times = np.sort(START + (np.arange(nights) * DAY)[:, None] + (3 + random.random((nights, 500))) * 3600).ravel()
        freedom = profile(random.normal(size=len(times)), times).freedom[:, 0]
        known = {length: found > 1 for length, found in zip(LENGTHS, freedom)}
        assert known[600.0]
        assert known[3600.0]
        assert not known[43200.0]
        assert not known[DAY]
        assert known[7 * DAY]

    def test_unsteady_hours_are_a_group_of_their_own(self):
        """Each night at three, a batch of its own kind."""
        times = even_times(400_000, 56)
        batch = (times // 3600 % 24) == 3
        level = np.random.default_rng(11).normal(size=60)[((times - START) // DAY).astype(int)]
        found = profile(np.where(batch, level, 0.0) + np.random.default_rng(12).normal(size=len(times)), times)
        nights = np.arange(HOURS) % 24 == 3
        assert (
            found.groups[nights].min() == GROUPS - 1 or found.groups[nights].mean() > found.groups[~nights].mean() + 1
        )
        short = TESTED_LENGTHS.index(1200.0)
        assert found.correlation[short, GROUPS - 1, 0] > 10 * found.correlation[short, 0, 0]


class TestRequests:
    def test_rows_of_one_time_that_are_alike_are_clustered(self):
        random = np.random.default_rng(13)
        times = np.repeat(even_times(20_000, 28), 5)
        values = np.repeat(random.normal(size=20_000), 5) * np.sqrt(0.6) + random.normal(size=100_000) * np.sqrt(0.4)
        found = profile(values, times)
        assert found.clustering[0] == found.clustering[4] == pytest.approx(0.6, abs=0.03)
        assert at(3600.0, found) < 0.01, "what requests explain is not the hours'"

    def test_rows_of_one_time_that_differ_are_not(self):
        values = np.random.default_rng(14).normal(size=100_000)
        found = profile(values, np.repeat(even_times(20_000, 28), 5))
        assert found.clustering.max() < 0.02

    def test_rounded_times_say_nothing_of_requests(self):
        """All rows of an hour have its time: they are no request, and nothing is known of parts of an hour."""
        random, rows = np.random.default_rng(15), 28 * 24 * 30
        times = np.repeat(START + np.arange(28 * 24) * 3600.0, 30)
        level = np.repeat(random.normal(size=28 * 24), 30)
        found = profile(level + random.normal(size=rows), times)
        assert (found.clustering == 0).all()
        # half of the variance is the hour's, of which a window holds 2/3 on average; 60 rows and a prior of 50 say what
        # to expect, with the level of two other weeks in them
        assert at(3600.0, found) == pytest.approx(1 / 2 * 2 / 3 * (1 + (60 / 110) ** 2 / 2), rel=0.15)
        assert at(150.0, found) >= at(3600.0, found)


class TestTails:
    def test_wild_hours_make_p_values_rare(self):
        random, times = np.random.default_rng(16), even_times(100_000, 56)
        wild = (random.random(57 * 24) < 0.01)[((times - START) // 3600).astype(int)]
        found = profile(np.where(wild, 3.0, 0.0) + random.normal(size=len(times)), times)
        calm = profile(random.normal(size=len(times)), times)
        hours = TESTED_LENGTHS.index(3600.0)
        assert found.tail[hours, 0] < 0.6
        assert calm.tail[hours, 0] > 0.9


class TestTimes:
    @pytest.mark.parametrize(
        ("times", "reason"),
        [
            (START + np.arange(100) * 3600.0, "training rows must span 14 days or more, got 4.1"),
            (START + np.arange(100) * DAY, "times must tell hours apart, got days only"),
            (np.full(50, np.nan), "training rows must span 14 days or more, got 0.0"),
        ],
    )
    def test_times_that_teach_nothing_are_refused(self, times, reason):
        values = np.arange(len(times), dtype=float)
        baseline = Baseline.from_columns({"x": values})
        with pytest.raises(BaselineError) as raised:
            with_time_profiles(baseline, {"x": values}, times)
        assert str(raised.value) == f"a baseline can have no time profiles: {reason}"

    def test_stray_times_are_left_out(self):
        times, values = even_times(20_000, 21), np.random.default_rng(0).normal(size=20_000)
        stray = times.copy()
        stray[5], stray[6] = 0.0, 4e9
        baseline = Baseline.from_columns({"x": values})
        found = with_time_profiles(baseline, {"x": values}, stray).features[0].time
        assert found.counts.sum() == 19_998
        assert found.freedom[0, 0] > 100

    def test_the_bare_function_agrees(self):
        times, values = even_times(5_000, 21), np.random.default_rng(0).choice(["a", "b", None], 5_000)
        baseline = Baseline.from_columns({"x": values})
        (feature,) = with_time_profiles(baseline, {"x": values}, times).features
        alone = learn_time_profile(replace(feature, time=None), times, encoded(feature, values))
        for name, found in vars(alone).items():
            np.testing.assert_array_equal(found, getattr(feature.time, name))
