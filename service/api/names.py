"""Names of jobs: jobs/{id}."""

import re
from collections.abc import Callable

from gradloom.service.errors import InvalidRequest, SpecFault
from gradloom.service.sentences import quoted

_NAME = re.compile(r"jobs/[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
_DRAWN = 8
_LONGEST_ID = 63


def checked_name(name: str, field: str = "name") -> str:
    """The name, if it is one of a job; InvalidRequest, for this field, otherwise."""
    if _NAME.fullmatch(name):
        return name
    sentence = f"{quoted(name)} is no name of a job: write jobs/ID, such as jobs/digits-k7m2q9xa."
    raise InvalidRequest([SpecFault(field, sentence)])


def new_id(title: str, choose: Callable[[str], str]) -> str:
    """An id that begins with the title; choose draws one letter of those it is given."""
    drawn = "".join(choose(_LETTERS) for _ in range(_DRAWN))
    return f"{title[: _LONGEST_ID - _DRAWN - 1].rstrip('-')}-{drawn}"
