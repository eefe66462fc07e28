"""Writes digits.npz from the UCI digits as scikit-learn ships them; twice gives the same bytes.

Run in an environment of its own: pip install scikit-learn numpy; python make_digits.py
"""

import gzip
from importlib.resources import files
from pathlib import Path

import numpy as np

SOURCE = files("sklearn.datasets.data") / "digits.csv.gz"
TARGET = Path(__file__).with_name("digits.npz")


def main() -> None:
    """Write 1,797 images of 8 × 8 pixels from 0 to 16, and their labels."""
    text = gzip.decompress(SOURCE.read_bytes()).decode("ascii")
    table = np.loadtxt(text.splitlines(), delimiter=",").astype(np.int64)
    images, labels = table[:, :-1].astype(np.uint8), table[:, -1]
    # NumPy stamps every member with the first day of 1980; nothing is packed, so no zlib matters.
    np.savez(TARGET, images=images, labels=labels)


if __name__ == "__main__":
    main()
