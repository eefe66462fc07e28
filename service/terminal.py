"""How a job's events look in a terminal: plain lines, or a bar drawn in place; and tables."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as RichProgress

from gradloom.service.jobs.job import Diagnosis, Job, Metric, Progress
from gradloom.service.jobs.spec import Resources
from gradloom.service.jobs.states import Reason
from gradloom.service.watching import (
    DiagnosisEvent,
    Event,
    IncidentEvent,
    ProgressEvent,
    ResourcesEvent,
)
from gradloom.service.wording import clock, count, countdown, measure, percent

# Between two plain lines of one epoch.
PLAIN_INTERVAL = timedelta(seconds=10)

# A terminal of fewer columns gets a shorter bar and fewer words.
WIDE = 110
BAR_WIDTH = 24
NARROW_BAR_WIDTH = 8

# Layers of a diagnosis that are named; of others only how many there are.
SHOWN_LAYERS = 3

_SHORT_NAMES = {"accuracy": "acc"}


class Display(Protocol):
    """Where events go."""

    def show(self, event: Event) -> None:
        """Shows one event."""
        ...


class Readout:
    """The newest numbers of a job as words; keeps metrics between the events that carry them."""

    def __init__(self) -> None:
        self._validation: dict[str, Metric] = {}

    def words(self, progress: Progress) -> tuple[str, ...]:
        """Step, loss, validation metric and speed."""
        self._remember(progress)
        return (
            f"step {count(progress.step)}/{count(progress.steps)}",
            f"loss {measure(progress.loss)}",
            *(f"val {word}" for word in self._metric_words()),
            f"{count(progress.samples_per_second)} samples/s",
        )

    def short_words(self, progress: Progress) -> tuple[str, ...]:
        """The same for where there is little room."""
        self._remember(progress)
        return (
            f"step {progress.step}/{progress.steps}",
            f"loss {measure(progress.loss)}",
            *self._metric_words(),
            f"{count(progress.samples_per_second)}/s",
        )

    def _remember(self, progress: Progress) -> None:
        self._validation |= {
            metric.name: metric for metric in progress.metrics if metric.split == "validation"
        }

    def _metric_words(self) -> tuple[str, ...]:
        """The metric people care for; the loss only where there is no other."""
        names = sorted(self._validation, key=lambda name: (name == "loss", name))[:1]
        return tuple(
            f"{_SHORT_NAMES.get(name, name)} {measure(self._validation[name].value)}"
            for name in names
        )


class PlainLines:
    """One line for what matters: states, incidents, and progress each epoch or every 10 s."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._readout = Readout()
        self._epoch = 0
        self._shown: datetime | None = None

    def show(self, event: Event) -> None:
        """Writes the event's line, if it has one."""
        match event:
            case ProgressEvent():
                self._show_progress(event)
            case Job() | IncidentEvent() | DiagnosisEvent() | ResourcesEvent():
                self._write(event_line(event))

    def _show_progress(self, event: ProgressEvent) -> None:
        words = self._readout.words(event)
        if not self._is_due(event):
            return
        self._epoch, self._shown = event.epoch, event.time
        line = f"epoch {event.epoch}/{event.epochs}  {'  '.join(words)}"
        self._write(f"{clock(event.time)} {line}")

    def _is_due(self, event: ProgressEvent) -> bool:
        return (
            self._shown is None
            or event.epoch != self._epoch
            or event.step == event.steps
            or event.time - self._shown >= PLAIN_INTERVAL
        )


class ProgressBar:
    """A bar drawn in place, with states and incidents as lines above it; use it in a with."""

    def __init__(self, stream: TextIO, *, is_colored: bool) -> None:
        console = Console(
            file=stream, force_terminal=True, no_color=not is_colored, highlight=False
        )
        self._is_wide = console.width >= WIDE
        self._bar = RichProgress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(bar_width=BAR_WIDTH if self._is_wide else NARROW_BAR_WIDTH),
            TextColumn("{task.fields[words]}"),
            console=console,
        )
        self._task = self._bar.add_task("", visible=False, epoch="", words="")
        self._readout = Readout()

    def __enter__(self) -> "ProgressBar":
        self._bar.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._bar.stop()

    def show(self, event: Event) -> None:
        """Moves the bar, or writes a line above it."""
        match event:
            case ProgressEvent():
                self._move(event)
            case Job() | IncidentEvent() | DiagnosisEvent() | ResourcesEvent():
                self._bar.console.print(event_line(event), markup=False)

    def _move(self, event: ProgressEvent) -> None:
        self._bar.update(
            self._task,
            visible=True,
            total=event.steps,
            completed=event.step,
            epoch=f"{event.epoch}/{event.epochs}",
            words=self._words(event),
        )

    def _words(self, event: ProgressEvent) -> str:
        readout = self._readout
        words = readout.words(event) if self._is_wide else readout.short_words(event)
        share, left = percent(event.step, event.steps), countdown(seconds_left(event))
        return ("  " if self._is_wide else " ").join((share, *words, left))


class CountBar:
    """A bar of so many of so many things, drawn in place; use it in a with."""

    def __init__(self, stream: TextIO, words: str, *, is_colored: bool) -> None:
        console = Console(
            file=stream, force_terminal=True, no_color=not is_colored, highlight=False
        )
        self._bar = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=BAR_WIDTH),
            TextColumn("{task.completed:,}/{task.total:,}"),
            console=console,
            transient=True,
        )
        self._task = self._bar.add_task(words, total=1)

    def __enter__(self) -> "CountBar":
        self._bar.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._bar.stop()

    def show(self, done: int, of: int) -> None:
        """Moves the bar."""
        self._bar.update(self._task, total=of, completed=done)


def event_line(event: Job | IncidentEvent | DiagnosisEvent | ResourcesEvent) -> str:
    """A change of state or of resources, an incident or a diagnosis: time, word, sentence."""
    if isinstance(event, Job):
        sentence = event.message or words_of(event.reason)
        return f"{clock(event.update_time)} {event.state:<10} {sentence}"
    if isinstance(event, DiagnosisEvent):
        return f"{clock(event.time)} {diagnosis_words(event)}"
    if isinstance(event, ResourcesEvent):
        return f"{clock(event.time)} {'WORKERS':<10} {workers_words(event)}"
    return f"{clock(event.time)} {event.reason:<10} {event.message}"


def diagnosis_words(diagnosis: Diagnosis) -> str:
    """A diagnosis on one line: code, step, layers, what was seen and what to try."""
    layers = diagnosis.layers
    paths = [path.removeprefix("model.") for path in layers[:SHOWN_LAYERS]]
    others = len(layers) - len(paths)
    where = ", ".join([*paths, *([f"{others} more"] if others else [])])
    place = f"step {count(diagnosis.step)}{f', {where}' if where else ''}"
    return f"{diagnosis.code:<10} {place}: {diagnosis.evidence} {diagnosis.advice}"


def workers_words(resources: Resources) -> str:
    """The workers a job may have: wanted 4, 2 to 8."""
    fewest, most = resources.fewest, resources.most
    return f"wanted {resources.workers}" + ("" if fewest == most else f", {fewest} to {most}")


def words_of(reason: Reason) -> str:
    """A reason in small letters: waiting for capacity."""
    return reason.lower().replace("_", " ")


def seconds_left(progress: Progress) -> float:
    """Seconds to the last step at the present speed; 0 where it is not known."""
    if not progress.step or not progress.samples_per_second:
        return 0.0
    rows_a_step = progress.samples / progress.step
    return (progress.steps - progress.step) * rows_a_step / progress.samples_per_second


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[str] = ()) -> str:
    """Columns two spaces apart; those named in `right` are flush right."""
    lines = [heads, *rows]
    widths = [max(len(line[index]) for line in lines) for index in range(len(heads))]
    sides = [">" if head in right else "<" for head in heads]
    return "\n".join(
        "  ".join(
            f"{cell:{side}{width}}" for cell, side, width in zip(line, sides, widths, strict=True)
        ).rstrip()
        for line in lines
    )
