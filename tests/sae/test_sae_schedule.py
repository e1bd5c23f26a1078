from __future__ import annotations

import math

import pytest
from nldisco_sae.schedule import learning_rate_factor

SETTINGS = {"warmup": 0.1, "hold": 0.5, "final": 0.01}


def test_rate_rises_holds_and_falls_along_a_cosine() -> None:
    factors = [learning_rate_factor(step, 1001, **SETTINGS) for step in range(1001)]
    assert factors[:100] == pytest.approx([(step + 1) / 101 for step in range(100)])
    assert factors[100:501] == [1.0] * 401
    falling = [0.01 + 0.99 * (1 + math.cos(math.pi * (step - 500) / 500)) / 2 for step in range(501, 1001)]
    assert factors[501:] == pytest.approx(falling)
    assert factors[-1] == pytest.approx(0.01)


@pytest.mark.parametrize("total", [1, 2, 3, 7])
def test_short_trainings_have_a_positive_rate_at_every_step(total: int) -> None:
    for step in range(total):
        assert 0 < learning_rate_factor(step, total, **SETTINGS) <= 1


def test_no_warmup_and_no_decay_is_constant() -> None:
    assert {learning_rate_factor(step, 50, warmup=0.0, hold=1.0, final=0.01) for step in range(50)} == {1.0}
