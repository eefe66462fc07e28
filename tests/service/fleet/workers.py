"""Workers of a group under test, wherever they run."""

import time
from collections.abc import Callable
from pathlib import Path

from gradloom.service.fleet.group import Alive, Answered, Gone, Ready, WorkerEvent, WorkerGroup
from gradloom.worker.messages import Content, Formation, Order, Snapshot, Task, Work

PATIENCE_SECONDS = 60.0
NOBODY = Formation(1, (), b"", "", 1.0)
STATE = Snapshot(Content.STATE)


def asked(worker: int, number: int, work: Work = STATE) -> Order:
    """An order for work that takes no other worker."""
    return Order(worker, number, 0, NOBODY, work)


def next_event(group: WorkerGroup) -> WorkerEvent:
    """The one thing that happens next; that a worker lives and is at work is none."""
    (event,) = next_events(group, lambda event: not isinstance(event, Alive))
    return event


def next_events(
    group: WorkerGroup, is_awaited: Callable[[WorkerEvent], bool]
) -> tuple[WorkerEvent, ...]:
    """What happens next of the kind that is waited for."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (events := tuple(event for event in group.poll(1.0) if is_awaited(event))):
        assert time.monotonic() < deadline, "nothing happened"
    return events


def ready(group: WorkerGroup, task: Task, worker: int = 0, state: bytes | None = None) -> int:
    """Starts a worker; its process id."""
    group.start(worker, task, state)
    event = next_event(group)
    assert isinstance(event, Ready), event
    return int(str(event.answer.facts["pid"]))


def answered(group: WorkerGroup) -> Answered:
    """The answer that comes next."""
    event = next_event(group)
    assert isinstance(event, Answered), event
    return event


def gone(group: WorkerGroup) -> Gone:
    """The death that is told next."""
    event = next_event(group)
    assert isinstance(event, Gone), event
    return event


def is_running(pid: int) -> bool:
    """Whether the process is there, and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
