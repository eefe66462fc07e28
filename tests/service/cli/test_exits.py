"""Exit codes: one for every error and every end."""

import pytest

from gradloom.service import errors
from gradloom.service.cli.exits import MEANINGS, Exit, epilog, exit_of_error, exit_of_state
from gradloom.service.jobs.states import State

ALL_ERRORS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type)
    and issubclass(kind, errors.GradloomError)
    and kind is not errors.CannotServe
]


@pytest.mark.parametrize("kind", ALL_ERRORS)
def test_every_error_has_an_exit_code(kind: type[errors.GradloomError]) -> None:
    assert exit_of_error(kind.__new__(kind)) is not Exit.DONE


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.InvalidSpec([errors.SpecFault("$", "empty")]), 2),
        (errors.MissingExtra("ray", "clusters"), 2),
        (errors.NotFound("job", "digits-1"), 3),
        (errors.WrongState("jobs/a", state="FAILED", needs=["RUNNING"]), 3),
        (errors.NotAllowed("no", reason="ROLE_REQUIRED"), 4),
        (errors.TimedOut("late", reason="DEADLINE_PASSED"), 5),
        (errors.CannotServe("no", reason="STORE_NEWER", exit_code=4), 4),
        (errors.ServiceBug("oops", reason="INTERNAL"), 70),
    ],
)
def test_an_error_gives_its_documented_code(error: errors.GradloomError, code: int) -> None:
    assert exit_of_error(error) == code


@pytest.mark.parametrize(
    ("state", "code"),
    [(State.SUCCEEDED, 0), (State.FAILED, 1), (State.CANCELLED, 6), (State.RUNNING, 0)],
)
def test_a_job_gives_the_code_of_its_outcome(state: State, code: int) -> None:
    assert exit_of_state(state) == code


def test_the_help_lists_every_code() -> None:
    assert set(MEANINGS) == set(Exit)
    assert all(str(code.value) in epilog() for code in Exit)
