"""Workers of a group under test, wherever they run."""

from pathlib import Path

from gradloom.service.fleet.group import Ready, WorkerEvent, WorkerGroup
from gradloom.worker.messages import Task


def next_event(group: WorkerGroup) -> WorkerEvent:
    """The one thing that happens next."""
    while not (events := group.poll(1.0)):
        pass
    (event,) = events
    return event


def ready(group: WorkerGroup, task: Task, worker: int = 0, state: bytes | None = None) -> int:
    """Starts a worker; its process id."""
    group.start(worker, task, state)
    event = next_event(group)
    assert isinstance(event, Ready)
    return int(str(event.answer.facts["pid"]))


def is_running(pid: int) -> bool:
    """Whether the process is there, and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
