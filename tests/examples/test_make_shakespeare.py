"""Windows of characters: what is trained on, and what is held out."""

import numpy as np

from examples.make_shakespeare import CONTEXT, encode, split, windows


def test_the_end_of_every_text_is_held_out():
    assert split(["a" * 9 + "b", "c" * 18 + "dd"]) == ("a" * 9 + "c" * 18, "bdd")


def test_a_character_is_its_place_in_the_alphabet():
    assert encode("cab", "abc").tolist() == [2, 0, 1]


def test_every_window_is_followed_by_itself_one_character_later():
    text, following = windows(np.arange(200, dtype=np.uint8), 16)
    assert text.shape == following.shape == (9, CONTEXT)
    assert (following == text + 1).all()
    assert text[:, 0].tolist() == list(range(0, 136, 16))


def test_windows_that_do_not_overlap_predict_every_character_once():
    _, following = windows(np.arange(193, dtype=np.uint8), CONTEXT)
    assert following.reshape(-1).tolist() == list(range(1, 193))
