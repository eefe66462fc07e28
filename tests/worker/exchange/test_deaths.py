"""F01, F02, F17: a member dies or freezes at any point of a step; the others go on."""

import signal
from pathlib import Path
from time import monotonic

import pytest

from gradloom.worker.exchange.exchange import Layout, Why
from tests.worker.exchange.member import POINTS
from tests.worker.exchange.processes import Answer, Run

LAYOUT = Layout(2 * 8192 + 11, 2, 5)
# Cells, and the points of a step that are tried there.
SHAPES = {
    "a cell": ((0, 0, 0), POINTS),
    "cells of one": ((0, 1, 2), ("before the sum", "before it commits")),
    "cells of two": ((0, 0, 1, 1), POINTS[1:5]),
}

# How soon the others have to notice; the machine that tests may be busy.
SOON = 2.0


def stopped_at(run: Run, victim: int, point: str) -> None:
    """All are in a step, and the victim is at a point of it."""
    for worker, process in run.processes.items():
        process.tell("make", steps=1, stop_at=point if worker == victim else "")
    assert run.processes[victim].hear() == {"at": point}


def survivors(run: Run, victim: int) -> dict[int, Answer]:
    """What they say; the victim is out of the run."""
    run.processes.pop(victim).end()
    return run.heard()


@pytest.mark.parametrize("victim", [0, 2], ids=["leader", "other"])
@pytest.mark.parametrize(("cells", "points"), SHAPES.values(), ids=SHAPES)
def test_killed_at_any_point_it_is_named_and_not_a_bit_is_lost(
    cells: tuple[int, ...], points: tuple[str, ...], victim: int, tmp_path: Path
) -> None:
    with Run(cells, LAYOUT, tmp_path) as run:
        assert {worker for worker, a in run.form().items() if a["fresh"]} == {
            cells.index(cell) for cell in set(cells)
        }
        for point in points:
            run.steps(1)
            stopped_at(run, victim, point)
            began = monotonic()
            answers = survivors(run, victim)
            assert monotonic() - began < SOON
            for answer in answers.values():
                assert answer["broken"]["culprit"] == victim, point
                assert answer["broken"]["why"] == Why.LOST
                assert answer["step"] == run.step
            assert not any(answer["fresh"] for answer in run.form().values())
            run.steps(1)
            run.replace(victim)
            is_alone = list(cells).count(cells[victim]) == 1
            fresh = [worker for worker, answer in run.form().items() if answer["fresh"]]
            assert fresh == [victim] * is_alone
        run.steps(1)
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("point", ["while it updates", "before it agrees"])
@pytest.mark.parametrize("victim", [0, 1, 3], ids=["leader", "led", "led elsewhere"])
@pytest.mark.parametrize("cells", [(0, 0, 0, 0), (0, 0, 1, 1)], ids=["one cell", "two cells"])
def test_a_frozen_member_is_named_by_all_after_their_patience(
    cells: tuple[int, ...], victim: int, point: str, tmp_path: Path
) -> None:
    with Run(cells, LAYOUT, tmp_path, patience=1.0) as run:
        run.form()
        run.steps(1)
        stopped_at(run, victim, point)
        run.processes[victim].kill(signal.SIGSTOP)
        process, began = run.processes.pop(victim), monotonic()
        for answer in run.heard().values():
            assert answer["broken"]["culprit"] == victim
            assert answer["broken"]["why"] == Why.FROZEN
        assert 0.5 < monotonic() - began < 2.5 + SOON
        process.kill(signal.SIGCONT)
        process.end()
        assert not any(answer["fresh"] for answer in run.form().values())
        run.steps(1)
