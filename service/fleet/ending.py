"""How a worker's process ended, as a reason and a sentence."""

import signal
from dataclasses import dataclass

from gradloom.service.jobs.states import Reason

_LOG_LINES = 20
_LINE_LENGTH = 300


@dataclass(frozen=True, slots=True)
class Ending:
    """What the kernel tells of a process that has ended: exit code, or minus the signal's number.

    is_for_memory is whether it was ended because memory was short; used and allowed are bytes, 0
    where they are not known.
    """

    code: int
    is_for_memory: bool = False
    used: int = 0
    allowed: int = 0


def reason_of(ending: Ending, *, was_ready: bool) -> Reason:
    """Why a worker is gone that was not told to go."""
    if ending.is_for_memory:
        return Reason.OUT_OF_MEMORY
    ended_by_itself = ending.code >= 0
    return Reason.WORKER_START_FAILED if ended_by_itself and not was_ready else Reason.WORKER_LOST


def sentence_of(worker: int, node: str, pid: int, ending: Ending) -> str:
    """What happened to a worker, and what helps."""
    where = f" on {node}" if node else ""
    if not ending.is_for_memory:
        return f"worker {worker}{where} (pid {pid}) {_how(ending.code)}"
    return out_of_memory(worker, where.removeprefix(" on "), ending.used, ending.allowed)


def out_of_memory(worker: int, node: str, used: int = 0, allowed: int = 0) -> str:
    """That a worker was ended for its memory, how much that was, and what helps."""
    took = f"used {_gigabytes(used)}" if used else "used too much memory and was ended"
    room = f", {node or 'its node'} allows {_gigabytes(allowed)}" if allowed else ""
    return (
        f"worker {worker} {took}{room}: lower training.batch_size, raise training.shards, or use "
        "larger nodes"
    )


def last_lines(text: str) -> tuple[str, ...]:
    """The end of a log, as far as a person wants to read it."""
    return tuple(line[:_LINE_LENGTH] for line in text.strip().splitlines()[-_LOG_LINES:])


def _how(code: int) -> str:
    if code < 0:
        return f"died by signal {-code} ({signal.Signals(-code).name})"
    return f"ended with exit code {code}"


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB"
