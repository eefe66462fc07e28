"""The command that has a child process compare a model's gradients with central differences."""

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from gradloom.service.cli.exits import Exit
from gradloom.service.cli.extras import needing
from gradloom.service.cli.output import Output, prints
from gradloom.service.errors import InvalidSpec, ServiceBug
from gradloom.service.submission import read_submission
from gradloom.service.terminal import CountBar, table
from gradloom.service.wording import count, plural
from gradloom.worker.engine.profile import PROFILE_DEFAULT, environment

_PROGRAM = (sys.executable, "-P", "-m", "gradloom.worker.gradients")

_HEADS = ("layer", "array", "checked", "NumPy", "compiled", "")

# A line of JSON holds whatever its event says.
Line = Mapping[str, Any]
Progress = Callable[[int, int], None]


@click.command("check-gradients")
@click.argument("file", metavar="JOB.yaml")
@click.option(
    "--rows",
    type=click.IntRange(1, 64),
    default=3,
    show_default=True,
    help="Random rows the model is shown.",
)
@click.option(
    "--elements",
    type=click.IntRange(1, 100_000),
    default=16,
    show_default=True,
    help="At most so many elements of every array are tried.",
)
@click.option(
    "--seed", type=click.IntRange(0, 2**63 - 1), default=0, help="Chooses rows and elements."
)
@prints
def check_gradients_command(output: Output, file: str, rows: int, elements: int, seed: int) -> int:
    """\b
    Examples:
      gradloom check-gradients examples/digits.yaml
      gradloom check-gradients examples/digits.yaml --elements 200 --json | tail -1

    Compares every gradient of a job's model with central differences in float64: of each layer
    alone, of the loss, and of the whole model; as NumPy computes them and as the compiled kernels
    that jobs run do. A gradient is right where it is wrong by less than a millionth of its largest
    element. Ends with 1 where one is not, and names layer and parameter. Needs no service.
    """
    question = _question(file, rows, elements, seed)
    with _shown(output) as progress:
        lines = [line for line in _lines(question) if not _is_progress(line, progress)]
    found = _merged([line for line in lines if line["event"] == "finding"])
    _print(output, lines, found)
    return Exit.DONE if all(each.ok for each in found) else Exit.FAILED


def _question(file: str, rows: int, elements: int, seed: int) -> bytes:
    """What the child is asked, pickled. Raises InvalidSpec where the job is none."""
    with needing("local", "gradloom check-gradients"):
        from gradloom.service.jobs.validation import validate_message
        from gradloom.worker.data.files import Roots
        from gradloom.worker.question import Question
    submission = read_submission(file)
    try:
        checked = validate_message(submission.message, Roots((Path.cwd(), Path("/"))))
    except InvalidSpec as error:
        raise submission.refusal(error.faults) from None
    if submission.faults:
        raise submission.refusal(())
    return pickle.dumps(Question(checked.graph, rows, elements, seed))


def _lines(question: bytes) -> Iterator[Line]:
    """What the child reports, as it comes. Raises ServiceBug where it fails."""
    with subprocess.Popen(
        _PROGRAM,
        env=environment(PROFILE_DEFAULT, os.environ),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        # A child that has ended is told by its exit code.
        with suppress(BrokenPipeError), child.stdin:
            child.stdin.write(question)
        yield from map(json.loads, child.stdout)
    if child.returncode:
        raise ServiceBug(
            f"The check ended with exit code {child.returncode}: its last lines say why. Report "
            "this.",
            reason="GRADIENT_CHECK_FAILED",
        )


def _is_progress(line: Line, progress: Progress) -> bool:
    """Shows how far the check is, if that is what a line says."""
    if line["event"] != "progress":
        return False
    progress(line["done"], line["of"])
    return True


@contextmanager
def _shown(output: Output) -> Iterator[Progress]:
    """Where progress goes: a bar for people who look on, else a note every tenth."""
    if not output.is_live:
        yield _Tenths(output)
        return
    with CountBar(sys.stderr, "elements checked", is_colored=output.is_colored(sys.stderr)) as bar:
        yield bar.show


class _Tenths:
    """Progress as a note for every tenth of the work."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._last = 0

    def __call__(self, done: int, of: int) -> None:
        if 10 * done // of > self._last:
            self._last = 10 * done // of
            self._output.note(f"elements checked: {count(done)} of {count(of)}")


@dataclass(frozen=True, slots=True)
class _Array:
    """All findings about one array of a layer, the loss or the data."""

    path: str
    name: str
    findings: tuple[Line, ...]

    @property
    def ok(self) -> bool:
        """Whether all are right."""
        return all(finding["ok"] for finding in self.findings)

    @property
    def wrong_alone(self) -> tuple[Line, ...]:
        """The findings that say that this very layer is wrong."""
        return tuple(each for each in self.findings if each["alone"] and not each["ok"])

    @property
    def row(self) -> tuple[str, ...]:
        """Its line in the table."""
        first = self.findings[0]
        return (
            self.path.removeprefix("model."),
            self.name,
            f"{count(first['tried'])} of {count(first['elements'])}",
            self._worst("numpy"),
            self._worst("compiled"),
            "ok" if self.ok else "WRONG",
        )

    def _worst(self, engine: str) -> str:
        """The largest error of an engine, alone or in the model; the twin's where there is none."""
        mine = [each["relative_error"] for each in self.findings if each["engine"] == engine]
        if not mine:
            return "same"
        return "not finite" if None in mine else f"{max(mine):.1e}"


def _merged(findings: Sequence[Line]) -> list[_Array]:
    """Findings by array, in the order in which the first of each came."""
    places = dict.fromkeys((each["path"], each["array"]) for each in findings)
    return [
        _Array(
            path,
            name,
            tuple(each for each in findings if (each["path"], each["array"]) == (path, name)),
        )
        for path, name in places
    ]


def _print(output: Output, lines: Sequence[Line], found: Sequence[_Array]) -> None:
    if output.is_json:
        for line in lines:
            output.document(line if line["event"] == "finding" else {**line, **_outcome(found)})
        return
    if not output.is_quiet:
        output.data(table(_HEADS, [each.row for each in found], right=_HEADS[2:5]))
    output.data("\n".join(_verdict(found)))


def _outcome(found: Sequence[_Array]) -> dict[str, object]:
    causes, others = _causes(found)
    return {
        "ok": not causes and not others,
        "wrong": [{"path": each.path, "array": each.name} for each in causes],
        "wrong_behind": [{"path": each.path, "array": each.name} for each in others],
    }


def _causes(found: Sequence[_Array]) -> tuple[list[_Array], list[_Array]]:
    """Arrays whose own layer is wrong, and others that are wrong; all are causes if no layer is."""
    wrong = [each for each in found if not each.ok]
    causes = [each for each in wrong if each.wrong_alone]
    return (causes, [each for each in wrong if each not in causes]) if causes else (wrong, [])


def _verdict(found: Sequence[_Array]) -> Iterator[str]:
    causes, others = _causes(found)
    if not causes:
        yield f"All gradients are right: {plural(len(found), 'array')} checked."
    for each in causes:
        wrong = each.wrong_alone or each.findings
        engines = dict.fromkeys(
            f"{line['engine']} {line['operation']}".rstrip() for line in wrong if not line["ok"]
        )
        where = "" if each.wrong_alone else ", though every layer alone is right"
        yield (
            f"WRONG: {each.path}: the gradient towards its {each.name} "
            f"({' and '.join(engines)}){where}."
        )
    if others:
        yield f"Gradients that go through it are wrong too: {plural(len(others), 'array')}."
