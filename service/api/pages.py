"""Page tokens: a place in the list of jobs, signed, so that a forged one is told from ours."""

import binascii
import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import datetime

from gradloom.service.errors import InvalidRequest, SpecFault
from gradloom.service.jobs.store import Position

DEFAULT_SIZE = 50
LARGEST_SIZE = 1_000

_MAC_BYTES = 16
_LONGEST_TOKEN = 400


def page_size(asked: int) -> int:
    """How many jobs a page has: 50 where 0 is asked, 1,000 at most; InvalidRequest below 0."""
    if asked < 0:
        raise InvalidRequest(
            [SpecFault("page_size", f"page_size is {asked}: use 0 for the default.")]
        )
    return min(asked or DEFAULT_SIZE, LARGEST_SIZE)


class PageTokens:
    """Makes and reads tokens with a secret key; a token of another query is refused.

    A token grants nothing: it only says where to go on.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def token(self, position: Position, query: str) -> str:
        """The token that leads on from a position in the answer to a query."""
        place = f"{position.create_time.isoformat()} {position.name}".encode()
        return urlsafe_b64encode(self._mac(place, query) + place).decode().rstrip("=")

    def position(self, token: str, query: str) -> Position | None:
        """Where the token leads on from; None for an empty one, the first page."""
        if not token:
            return None
        mac, place = _parts(token)
        if not hmac.compare_digest(mac, self._mac(place, query)):
            raise _not_ours()
        time, name = place.decode().split(" ")
        return Position(datetime.fromisoformat(time), name)

    def _mac(self, place: bytes, query: str) -> bytes:
        signed = f"jobs {len(query)} {query} ".encode() + place
        return hmac.digest(self._secret, signed, "sha256")[:_MAC_BYTES]


def _parts(token: str) -> tuple[bytes, bytes]:
    try:
        content = urlsafe_b64decode(token[:_LONGEST_TOKEN] + "=" * (-len(token) % 4))
    except (binascii.Error, ValueError):
        raise _not_ours() from None
    return content[:_MAC_BYTES], content[_MAC_BYTES:]


def _not_ours() -> InvalidRequest:
    sentence = "The page token was not made by this server for this query: start again without it."
    return InvalidRequest([SpecFault("page_token", sentence)], reason="PAGE_TOKEN_MISMATCH")
