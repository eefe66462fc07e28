"""Page tokens and page sizes."""

from base64 import urlsafe_b64encode
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradloom.service.api.pages import PageTokens, page_size
from gradloom.service.errors import InvalidRequest
from gradloom.service.jobs.store import Position

TOKENS = PageTokens(b"secret")
POSITION = Position(datetime(2026, 1, 1, 12, 0, 0, 123456, tzinfo=UTC), "jobs/digits-k7m2q9xa")


def test_a_token_leads_back_to_its_position() -> None:
    assert TOKENS.position(TOKENS.token(POSITION, "name"), "name") == POSITION


def test_no_token_is_the_first_page() -> None:
    assert TOKENS.position("", "name") is None


def test_a_token_goes_into_a_url_as_it_is() -> None:
    token = TOKENS.token(POSITION, "name")
    assert set(token) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")


@pytest.mark.parametrize(
    "token",
    [
        "garbage",
        "a",
        "ü",
        "=" * 40,
        "A" * 10_000,
        PageTokens(b"other key").token(POSITION, "name"),
        TOKENS.token(POSITION, "other mask"),
        urlsafe_b64encode(bytes(16) + b"2026-01-01T12:00:00+00:00 jobs/a").decode(),
    ],
)
def test_b078_a_token_that_is_not_ours_is_refused(token: str) -> None:
    with pytest.raises(InvalidRequest, match="not made by this server") as raised:
        TOKENS.position(token, "name")
    assert raised.value.reason == "PAGE_TOKEN_MISMATCH"


@given(st.text(min_size=1))
def test_b078_no_text_is_taken_for_a_token(token: str) -> None:
    with pytest.raises(InvalidRequest):
        TOKENS.position(token, "name")


@pytest.mark.parametrize(("asked", "given"), [(0, 50), (1, 1), (1000, 1000), (10**9, 1000)])
def test_b077_a_page_has_a_size_within_limits(asked: int, given: int) -> None:
    assert page_size(asked) == given


def test_b077_a_negative_size_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="page_size is -1: use 0 for the default"):
        page_size(-1)
