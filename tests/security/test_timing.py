"""The statistics with which `tests.security.timing` judges times; the times themselves are nothing for a test."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.security.timing import compared, rank_sum_p


def test_sc_05_equal_times_tell_nothing_and_a_real_difference_does() -> None:
    drawn = np.random.default_rng(1)
    one, other = drawn.normal(5, 1, 1_000), drawn.normal(5, 1, 1_000)
    assert not compared(one, other).tells
    assert compared(one + 0.5, other).tells
    assert not compared(one + 0.01, other).tells


def test_sc_05_a_difference_that_is_certain_and_below_the_jitter_is_no_channel() -> None:
    one = np.linspace(5, 6, 1_000)
    assert compared(one + 0.03, one).p > 0.0
    assert not compared(one + 0.04, one).tells


def test_the_rank_sum_is_the_number_of_pairs_in_which_one_is_above_the_other() -> None:
    drawn = np.random.default_rng(2)
    one, other = drawn.normal(0.3, 1, 60), drawn.normal(0, 1, 40)
    above = sum(first > second for first in one for second in other)
    z = (above - 60 * 40 / 2) / math.sqrt(60 * 40 * (60 + 40 + 1) / 12)
    assert rank_sum_p(one, other) == pytest.approx(math.erfc(abs(z) / math.sqrt(2)))
    assert rank_sum_p(np.ones(30), np.ones(30)) == 1.0
