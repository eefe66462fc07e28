"""Where a step is not finite, as a sentence; what a worker should not have said is refused."""

from typing import Any

import pytest

from gradloom.service.training.answers import location
from gradloom.worker.messages import Answer, AnswerKind, BadAnswer

FOUND = {
    "shard": 3,
    "first_row": 5,
    "last_row": 6,
    "path": "model.layers[0].dense",
    "what": "output",
    "rows": [37],
    "row_count": 1,
}
PLACE = "First so: model.layers[0].dense, output, in shard 3 (rows 5 to 6 of the batch)"


def told(found: object) -> str:
    return location(Answer(AnswerKind.DONE, 1, {"location": found}))


@pytest.mark.parametrize(
    ("rows", "count", "sentence"),
    [
        ([37], 1, f"{PLACE}, row 37 of the data."),
        ([3, 37], 2, f"{PLACE}, rows 3, 37 of the data."),
        ([3, 37], 9, f"{PLACE}, rows 3, 37 and 7 more of the data."),
        ([], 0, f"{PLACE}."),
    ],
)
def test_a_location_is_a_sentence(rows: list[int], count: int, sentence: str) -> None:
    assert told(FOUND | {"rows": rows, "row_count": count}) == sentence


def test_where_no_shard_is_at_fault_it_is_their_sum() -> None:
    assert "only their sum or the update" in told(None)


BAD: list[Any] = [7, {}, FOUND | {"shard": "x"}, FOUND | {"rows": "37"}, FOUND | {"rows": [None]}]


@pytest.mark.parametrize("found", BAD, ids=str)
def test_a_location_that_cannot_be_read_is_a_bad_answer(found: object) -> None:
    with pytest.raises(BadAnswer):
        told(found)
