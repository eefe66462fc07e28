"""Failure stories of one run, as golden text: an event, a line ----, the commands that follow.

The first line of a story is its course. Lines that begin with # tell the reader what happens.
"""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from gradloom.service.jobs.spec import OnNonFinite
from gradloom.service.jobs.states import Reason
from gradloom.service.training.coordinator import Coordinator, Course, divide
from gradloom.service.training.events import (
    Begin,
    Cancelled,
    CheckpointDue,
    Command,
    Draining,
    End,
    Event,
    KeepSnapshot,
    Located,
    Measured,
    NotFinite,
    Report,
    Send,
    WorkerAnswered,
    WorkerFailed,
    WorkerReady,
)
from gradloom.service.training.policies import FailurePolicy, NonFinitePolicy
from gradloom.worker.messages import Compute, Evaluate, Snapshot, Work

STORIES = sorted((Path(__file__).parent / "stories").glob("*.txt"))

EVENTS: dict[str, Callable[..., Event]] = {
    "begin": Begin,
    "ready": lambda worker: WorkerReady(int(worker)),
    "answer": lambda worker, number: WorkerAnswered(int(worker), int(number)),
    "fail": lambda worker, reason, time="0": WorkerFailed(
        int(worker), Reason(reason), "its story", float(time)
    ),
    "nan": lambda step, skipped="1": NotFinite(
        int(step), int(skipped), f"The loss of step {step} is nan."
    ),
    "located": lambda worker, number: Located(int(worker), int(number), "It is in layer 0."),
    "due": CheckpointDue,
    "cancel": Cancelled,
    "drain": Draining,
}


def told(command: Command) -> str:
    """A command as a line of a story."""
    match command:
        case Send(worker, number, step, work, load, advance):
            how = " load" * load + " advance" * advance
            return f"send {worker} round={number} step={step} {told_work(work)}{how}"
        case Measured(split, step):
            return f"measured {split} step={step}"
        case KeepSnapshot(step, save):
            return f"keep snapshot step={step}" + " save" * save
        case Report(reason, worker, step, _):
            return f"report {reason} worker={worker} step={step}"
        case End(state, reason, message):
            return f"end {state or 'and begin again'} {reason} {message}".rstrip()
        case _:
            name = re.sub(r"(?<!^)(?=[A-Z])", " ", type(command).__name__).lower()
            values = [str(getattr(command, field)) for field in command.__slots__]
            return " ".join([name, *values])


def told_work(work: Work) -> str:
    match work:
        case Compute(first, last):
            return f"compute {first}..{last}"
        case Evaluate(split, first, last):
            return f"evaluate {split} {first}..{last}"
        case Snapshot(content):
            return f"snapshot {content}"
        case _:
            return "locate"


def course_of(line: str) -> Course:
    words = dict(word.split("=") for word in line.split()[1:])
    policy = NonFinitePolicy(
        OnNonFinite(words.pop("on_non_finite", "fail")), int(words.pop("roll_backs", "0"))
    )
    return Course(**{name: int(value) for name, value in words.items()}, non_finite=policy)


def retold(story: str) -> str:
    """The story with the answers that the coordinator gives now."""
    blocks = story.strip().split("\n\n")
    coordinator = Coordinator(course_of(blocks[0].splitlines()[-1]), FailurePolicy(budget=10))
    return "\n\n".join([blocks[0], *(retold_block(coordinator, b) for b in blocks[1:])]) + "\n"


def retold_block(coordinator: Coordinator, block: str) -> str:
    asked = block.split("\n----")[0]
    commands = [
        told(command)
        for line in asked.splitlines()
        if not line.startswith("#")
        for command in coordinator.handle(EVENTS[line.split()[0]](*line.split()[1:]))
    ]
    return "\n".join([asked, "----", *commands])


@pytest.mark.parametrize("path", STORIES, ids=lambda path: path.stem)
def test_story(path: Path, request: pytest.FixtureRequest) -> None:
    story = path.read_text()
    now = retold(story)
    if request.config.getoption("--rewrite"):
        path.write_text(now)
    assert now == path.read_text()


def test_there_are_stories() -> None:
    assert len(STORIES) >= 10


@pytest.mark.parametrize("parts", range(1, 20))
def test_parts_are_divided_without_gap_and_as_even_as_can_be(parts: int) -> None:
    for workers in range(1, parts + 1):
        ranges = list(divide(parts, range(workers)).values())
        assert [first for first, _ in ranges[1:]] == [last for _, last in ranges[:-1]]
        assert (ranges[0][0], ranges[-1][1]) == (0, parts)
        sizes = {last - first for first, last in ranges}
        assert max(sizes) - min(sizes) <= 1


def test_more_workers_than_parts_leave_some_idle() -> None:
    assert divide(2, [4, 5, 6]) == {4: (0, 1), 5: (1, 2)}
