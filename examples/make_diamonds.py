"""Writes diamonds.npz and diamonds_test.npz for diamonds.yaml from plotnine's diamonds.csv.

python examples/make_diamonds.py FILE; needs NumPy alone (see README.md for the file).
"""

import argparse
import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

# Words in order, from the worst to the best.
GRADES: Mapping[str, tuple[str, ...]] = {
    "cut": ("Fair", "Good", "Very Good", "Premium", "Ideal"),
    "color": ("J", "I", "H", "G", "F", "E", "D"),
    "clarity": ("I1", "SI2", "SI1", "VS2", "VS1", "VVS2", "VVS1", "IF"),
}
COLUMNS = ("carat", "cut", "color", "clarity", "depth", "table", "x", "y", "z")
TEST_SHARE = 0.2

Floats = npt.NDArray[np.float64]


def number(column: str, word: str) -> float:
    """A cell as a number: a grade's place from 0."""
    return float(GRADES[column].index(word)) if column in GRADES else float(word)


def read(path: Path) -> tuple[Floats, Floats]:
    """The columns of every diamond, and the natural logarithm of its price in dollars."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    stones = np.array([[number(column, row[column]) for column in COLUMNS] for row in rows])
    return stones, np.log([float(row["price"]) for row in rows])


def main() -> None:
    """Reads the table, divides its rows by chance, writes both files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, help="diamonds.csv")
    parser.add_argument("--output", type=Path, default=Path("out/data"))
    options = parser.parse_args()
    stones, prices = read(options.file)
    order = np.random.Generator(np.random.Philox(7)).permutation(len(prices))
    test, training = np.split(order, [round(len(order) * TEST_SHARE)])
    options.output.mkdir(parents=True, exist_ok=True)
    np.savez(options.output / "diamonds.npz", stones=stones[training], log_price=prices[training])
    np.savez(options.output / "diamonds_test.npz", stones=stones[test], log_price=prices[test])


if __name__ == "__main__":
    main()
