"""Names of jobs."""

import random

import pytest

from gradloom.service.api.names import checked_name, new_id
from gradloom.service.errors import InvalidRequest


@pytest.mark.parametrize("name", ["jobs/digits-k7m2q9xa", "jobs/a", "jobs/7", "jobs/" + "a" * 63])
def test_a_name_of_a_job_is_taken(name: str) -> None:
    assert checked_name(name) == name


@pytest.mark.parametrize(
    "name", ["", "jobs", "jobs/", "a", "jobs/-a", "jobs/a-", "jobs/" + "a" * 64, "jobs/a\n"]
)
def test_b075_another_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequest, match="is no name of a job"):
        checked_name(name)


def test_b110_a_name_is_shown_back_short_and_escaped() -> None:
    with pytest.raises(InvalidRequest) as raised:
        checked_name("\u202e" + "x" * 1000)
    assert len(raised.value.message) < 300
    assert raised.value.message.isprintable()


@pytest.mark.parametrize("title", ["digits", "a", "a" * 63, "a" * 53 + "-" + "b" * 9])
def test_a_new_id_begins_with_the_title_and_is_a_name(title: str) -> None:
    made = new_id(title, random.Random(1).choice)
    assert checked_name(f"jobs/{made}")
    assert title.startswith(made[:-9])


def test_ids_differ_by_what_is_drawn() -> None:
    choose = random.Random(1).choice
    assert len({new_id("digits", choose) for _ in range(100)}) == 100
