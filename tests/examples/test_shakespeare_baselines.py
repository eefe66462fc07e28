"""N-grams: probabilities that add up, and texts that they know or do not know."""

import numpy as np
import pytest

from examples.shakespeare_baselines import (
    add_one,
    baselines,
    counts,
    mixture,
    nats,
    probabilities,
    report,
    weights,
)

TEXT = np.frombuffer(b"\0\1\0\2\0\1\0\1", np.uint8)
NOISE = np.random.Generator(np.random.Philox(3)).integers(0, 4, 4000).astype(np.uint8)


def test_counts_are_of_neighbours_in_order():
    assert counts(TEXT, 1, 3).tolist() == [4, 3, 1]
    assert counts(TEXT, 2, 3).tolist() == [[0, 3, 1], [2, 0, 0], [1, 0, 0]]


def test_probabilities_add_up_to_one_even_after_what_never_occurred():
    assert add_one(counts(TEXT, 3, 3)).sum(axis=-1) == pytest.approx(np.ones((3, 3)))


def test_all_orders_predict_the_same_characters():
    found = [probabilities(add_one(counts(TEXT, order, 3)), TEXT) for order in (1, 2, 3)]
    assert [len(each) for each in found] == [len(TEXT) - 2] * 3
    assert found[0][0] == pytest.approx(5 / 11), "the third character is the first that counts"


def test_weights_go_to_the_column_that_knows_best():
    shares = np.array([[0.25, 0.9], [0.25, 0.9], [0.25, 0.9]])
    assert weights(shares) == pytest.approx([0, 1], abs=1e-6)


def test_mixed_shares_are_probabilities():
    mixed = weights(mixture(NOISE, 4, NOISE, 3))
    assert mixed.sum() == pytest.approx(1)


def test_noise_cannot_be_foreseen():
    for one, mixed in baselines(NOISE[:3000], NOISE[3000:], 4).values():
        assert one == pytest.approx(np.log(4), abs=0.05)
        assert mixed == pytest.approx(np.log(4), abs=0.05)


def test_longer_contexts_know_more_of_a_pattern():
    pattern = np.tile(TEXT[:4], 500)
    found = baselines(pattern[:1800], pattern[1800:], 3)
    assert found["unigram"][1] > found["bigram"][1] > found["trigram"][1] > 0


def test_nats_of_certainty_are_none():
    assert nats(np.ones(3)) == 0


def test_a_model_stands_below_the_baselines():
    lines = report({"unigram": (3.0, 2.9)}, 1.5)
    assert lines[-1].split() == ["the", "model", "1.500"]
    assert lines[-2].split() == ["unigram", "3.000", "2.900"]
