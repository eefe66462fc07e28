"""Failure stories of one run, as golden text: an event, a line ----, the commands that follow.

The first line of a story is its course. Lines that begin with # tell the reader what happens. Where
an event names several workers (0,1), it happens to each of them in turn. A worker that answers has
spent half a second on each step, if it does not say otherwise.
"""

import re
from collections.abc import Callable
from itertools import groupby
from pathlib import Path

import pytest

from gradloom.service.jobs.spec import OnNonFinite
from gradloom.service.jobs.states import Reason
from gradloom.service.training import growth
from gradloom.service.training.coordinator import Coordinator
from gradloom.service.training.course import Course
from gradloom.service.training.events import (
    Begin,
    Cancelled,
    CheckpointDue,
    Command,
    Draining,
    End,
    Event,
    Expect,
    Form,
    KeepSnapshot,
    Located,
    Measured,
    NodesSuspect,
    NoRoom,
    NotFinite,
    Report,
    Resized,
    RoundBroken,
    RoundOverdue,
    Send,
    Silent,
    StartWorker,
    WorkerAnswered,
    WorkerFailed,
    WorkerReady,
)
from gradloom.service.training.policies import FailurePolicy, NonFinitePolicy
from gradloom.worker.exchange.exchange import Why
from gradloom.worker.messages import Evaluate, Formation, Snapshot, Train, Verify, Work

STORIES = sorted((Path(__file__).parent / "stories").glob("*.txt"))


def answer(worker: str, number: str, step: str, seconds: str = "0.5", slow: str = "1") -> Event:
    spent = float(seconds)
    compute = spent * float(slow) * 0.8
    return WorkerAnswered(int(worker), int(number), int(step), spent, compute)


def says(worker: str, number: str, step: str, digest: str) -> Event:
    """An answer with the hash of what others come to as well."""
    return WorkerAnswered(int(worker), int(number), int(step), 0.5, 0.4, digest=digest)


def broken(worker: str, number: str, step: str, culprit: str, why: str, time: str = "0") -> Event:
    message = f"worker {culprit} is {why}"
    return RoundBroken(
        int(worker), int(number), int(step), int(culprit), Why(why), message, float(time)
    )


def fail(worker: str, reason: str, time: str = "0", stood: str = "-1") -> Event:
    last = ("its last line",)
    return WorkerFailed(int(worker), Reason(reason), "its story", float(time), last, int(stood))


def silent(worker: str, number: str, seconds: str, stood: str = "-1") -> Event:
    return Silent(int(worker), int(number), float(seconds), int(stood))


EVENTS: dict[str, Callable[..., Event]] = {
    "begin": Begin,
    "ready": lambda worker, node="a": WorkerReady(
        int(worker), node, f"{node}:{worker}", 100 + int(worker)
    ),
    "answer": answer,
    "says": says,
    "grown": lambda worker, number, step, megabytes: WorkerAnswered(
        int(worker), int(number), int(step), 0.5, 0.4, resident=int(megabytes) * 1_000_000
    ),
    "broken": broken,
    "no_room": lambda worker, number: NoRoom(int(worker), int(number), "needs 34 MB, 8 are free"),
    "fail": fail,
    "silent": silent,
    "overdue": lambda number, time="0": RoundOverdue(int(number), float(time)),
    "nan": lambda number, step, skipped="1": NotFinite(
        int(number), int(step), int(skipped), f"The loss of step {step} is nan."
    ),
    "located": lambda worker, number: Located(int(worker), int(number), "It is in layer 0."),
    "suspect": lambda node, lives="0": NodesSuspect({node: int(lives)}),
    "resize": lambda least, workers: Resized(int(least), int(workers)),
    "due": CheckpointDue,
    "cancel": Cancelled,
    "drain": Draining,
}


def events_of(line: str) -> list[Event]:
    """The events in a line of a story: one, or one for each worker that it names."""
    name, *words = line.split()
    if not words or "," not in words[0]:
        return [EVENTS[name](*words)]
    return [EVENTS[name](worker, *words[1:]) for worker in words[0].split(",")]


def told(command: Command) -> str:
    """A command as a line of a story."""
    match command:
        case StartWorker(worker, after):
            return f"start worker {worker}" + (f" after {after:g} s" if after else "")
        case Form(formation):
            return told_formation(formation)
        case Expect(number, seconds):
            return f"expect round {number} within {seconds:.1f} s"
        case Send(worker, number, step, _, work, load, fence):
            how = " load" * load + f" fence={','.join(map(str, fence))}" * bool(fence)
            return f"send {worker} round={number} step={step} {told_work(work)}{how}"
        case Measured(split, step):
            return f"measured {split} step={step}"
        case KeepSnapshot(step, save):
            return f"keep snapshot step={step}" + " save" * save
        case Report(reason, worker, step, message, node):
            return f"report {reason} worker={worker} step={step} node={node or '-'}: {message}"
        case End(state, reason, message):
            return f"end {state or 'and begin again'} {reason} {message}".rstrip()
        case _:
            name = re.sub(r"(?<!^)(?=[A-Z])", " ", type(command).__name__).lower()
            values = [str(getattr(command, field)) for field in command.__slots__]
            return " ".join([name, *values])


def told_formation(formation: Formation) -> str:
    """Who computes which shards, cell by cell."""
    members = sorted(formation.members, key=lambda member: (member.cell, member.worker))
    cells = [
        f"cell {cell} = " + " ".join(f"{m.worker}[{m.first}..{m.last}]" for m in its)
        for cell, its in groupby(members, key=lambda member: member.cell)
    ]
    return f"form {formation.number}: {', '.join(cells)}, patience {formation.patience:.1f} s"


def told_work(work: Work) -> str:
    match work:
        case Train(steps):
            return f"train {steps}"
        case Evaluate(split, first, last):
            return f"evaluate {split} {first}..{last}"
        case Snapshot(content):
            return f"snapshot {content}"
        case Verify(shard):
            return f"verify shard {shard}"
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
        for event in events_of(line)
        for command in coordinator.handle(event)
    ]
    return "\n".join([asked, "----", *commands])


@pytest.fixture(autouse=True)
def rounds_of_growth(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two rounds tell a leak, so that its stories are short."""
    monkeypatch.setattr(growth, "ROUNDS", 2)


@pytest.mark.parametrize("path", STORIES, ids=lambda path: path.stem)
def test_story(path: Path, request: pytest.FixtureRequest) -> None:
    story = path.read_text()
    now = retold(story)
    if request.config.getoption("--rewrite"):
        path.write_text(now)
    assert now == path.read_text()


def test_there_are_stories() -> None:
    assert len(STORIES) >= 10
