"""Published and computed equilibria, at their printed digits: the table of `reproduce risk_matrix_games`."""

import pytest

from experiments.papers.risk_matrix_games import CASES


@pytest.mark.parametrize("name", CASES)
def test_every_number_is_within_tolerance(name):
    rows = list(CASES[name][1]())
    assert len(rows) > 5
    assert not [row for row in rows if row.passed is False]
