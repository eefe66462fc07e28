"""Writes eight plays as windows of characters for shakespeare_gpt.yaml; needs NumPy alone.

python examples/make_shakespeare.py FOLDER, the folder with the texts (see README.md).
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

PLAYS = (
    "hamlet",
    "macbeth",
    "othello",
    "lear",
    "romeo_and_juliet",
    "julius_caesar",
    "midsummer_nights_dream",
    "tempest",
)
CONTEXT = 64
# Training windows overlap, so that a character is met at several places of a window.
STEP = 16
HELD_OUT = 0.1

Codes = npt.NDArray[np.uint8]


def split(texts: Sequence[str]) -> tuple[str, str]:
    """The beginnings of all texts, and the tenths at their ends, each joined to one text."""
    cuts = [round(len(text) * (1 - HELD_OUT)) for text in texts]
    training = (text[:cut] for text, cut in zip(texts, cuts, strict=True))
    held_out = (text[cut:] for text, cut in zip(texts, cuts, strict=True))
    return "".join(training), "".join(held_out)


def encode(text: str, alphabet: str) -> Codes:
    """Each character's place in the alphabet."""
    places = {character: place for place, character in enumerate(alphabet)}
    return np.array([places[character] for character in text], np.uint8)


def windows(codes: Codes, step: int) -> tuple[Codes, Codes]:
    """Windows that begin every so many characters, and the same windows one character later."""
    starts = np.arange(0, len(codes) - CONTEXT, step)
    places = starts[:, None] + np.arange(CONTEXT)
    return codes[places], codes[places + 1]


def main() -> None:
    """Reads the plays and writes the three files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where hamlet_gut.txt and the others stand")
    parser.add_argument("--output", type=Path, default=Path("out/data"))
    options = parser.parse_args()
    paths = [options.folder / f"{play}_gut.txt" for play in PLAYS]
    parts = split([path.read_bytes().decode("ascii").replace("\r\n", "\n") for path in paths])
    alphabet = "".join(sorted(set("".join(parts))))
    training, held_out = (encode(part, alphabet) for part in parts)
    options.output.mkdir(parents=True, exist_ok=True)
    _write(options.output / "shakespeare.npz", windows(training, STEP))
    _write(options.output / "shakespeare_held_out.npz", windows(held_out, CONTEXT))
    text = {"training": training, "held_out": held_out, "alphabet": np.array(list(alphabet))}
    np.savez(options.output / "shakespeare_text.npz", **text)


def _write(path: Path, rows: tuple[Codes, Codes]) -> None:
    np.savez(path, text=rows[0], next=rows[1])


if __name__ == "__main__":
    main()
