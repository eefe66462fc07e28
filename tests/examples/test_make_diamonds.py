"""Diamonds as numbers."""

from pathlib import Path

import numpy as np
import pytest

from examples.make_diamonds import number, read

TABLE = """"carat","cut","color","clarity","depth","table","price","x","y","z"
0.23,"Ideal","E","SI2",61.5,55,326,3.95,3.98,2.43
"""


def test_a_grade_is_its_place_from_the_worst():
    assert number("cut", "Fair") == 0
    assert number("clarity", "IF") == 7
    assert number("carat", "0.23") == 0.23


def test_a_row_is_its_columns_without_the_price(tmp_path: Path):
    path = tmp_path / "diamonds.csv"
    path.write_text(TABLE)
    stones, prices = read(path)
    assert stones.tolist() == [[0.23, 4, 5, 1, 61.5, 55, 3.95, 3.98, 2.43]]
    assert np.exp(prices) == pytest.approx([326])
