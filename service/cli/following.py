"""Following a job's events on a screen, in a pipe or as JSON Lines."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Thread

from gradloom.service.cli.interrupts import told_of_interrupts, unbroken
from gradloom.service.cli.output import Output
from gradloom.service.client import Client
from gradloom.service.documents import event_document
from gradloom.service.jobs.job import Job
from gradloom.service.terminal import Display, PlainLines, ProgressBar
from gradloom.service.watching import Event


class JsonLines:
    """Every event as a line of JSON on stdout."""

    def __init__(self, output: Output, job: Job) -> None:
        self._output = output
        self._job = job

    def show(self, event: Event) -> None:
        """Prints the event."""
        self._output.document(event_document(self._job.id, event))


class Several:
    """Several displays of the same events."""

    def __init__(self, *displays: Display) -> None:
        self._displays = displays

    def show(self, event: Event) -> None:
        """Shows the event on each."""
        for display in self._displays:
            display.show(event)


@contextmanager
def displayed(output: Output, job: Job, write: Callable[[str], None]) -> Iterator[Display]:
    """What suits who is looking: JSON Lines, a live bar, or plain lines through `write`."""
    lines = [JsonLines(output, job)] if output.is_json else []
    if output.is_live:
        with ProgressBar(sys.stderr, is_colored=output.is_colored(sys.stderr)) as bar:
            yield Several(bar, *lines)
    else:
        plain = [] if output.is_json or output.is_quiet else [PlainLines(write)]
        yield Several(*plain, *lines)


@dataclass(frozen=True, slots=True)
class _Ended:
    """The stream is over, perhaps by an error."""

    error: BaseException | None = None


@dataclass(frozen=True, slots=True)
class _Interrupted:
    """Somebody pressed Ctrl-C."""


_Happening = Event | _Ended | _Interrupted


def follow(
    client: Client, job: Job, display: Display, on_interrupt: Callable[[], None] | None = None
) -> Job:
    """Shows a job's events to its end, and gives the job as it then is.

    Ctrl-C calls on_interrupt and goes on; without one it raises KeyboardInterrupt.
    """
    happenings: SimpleQueue[_Happening] = SimpleQueue()
    Thread(target=_listen, args=(client, job, happenings.put), daemon=True).start()
    with told_of_interrupts(lambda: happenings.put(_Interrupted())):
        _show(happenings, display, on_interrupt)
    return unbroken(lambda: client.get(job))


def _listen(client: Client, job: Job, tell: Callable[[_Happening], None]) -> None:
    try:
        for event in client.watch(job):
            tell(event)
    except BaseException as error:
        tell(_Ended(error))
    else:
        tell(_Ended())


def _show(
    happenings: "SimpleQueue[_Happening]",
    display: Display,
    on_interrupt: Callable[[], None] | None,
) -> None:
    while True:
        match happenings.get():
            case _Ended(error):
                if error is not None:
                    raise error
                return
            case _Interrupted():
                if on_interrupt is None:
                    raise KeyboardInterrupt
                on_interrupt()
            case event:
                display.show(event)
