"""Checks all gradients of a job's model: layer by layer, of the loss, and of the whole.

Run as `python -m gradloom.worker.gradients` with a profile's environment. Standard input is the
question, pickled by the command that started this process; prints JSON Lines.
"""

import json
import math
import pickle
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass

from gradloom.worker.engine.arrays import size
from gradloom.worker.engine.check import WORDS
from gradloom.worker.engine.fusion import Fusions, fuse
from gradloom.worker.engine.gradient_check import TOLERANCE, GradientError, check_gradients
from gradloom.worker.engine.graph import Graph
from gradloom.worker.engine.kernels.losses import FAST_RULES
from gradloom.worker.engine.kernels.operations import FAST, FUSIONS
from gradloom.worker.engine.lone import lone_loss, lone_node
from gradloom.worker.engine.losses import RULES, Rules
from gradloom.worker.engine.operations import OPERATIONS, Operations
from gradloom.worker.engine.spec import Joint, Loss
from gradloom.worker.question import Question

# Data on which an array is tried before it is called wrong: with other data no kink is near.
_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Engine:
    """Tables of operations and losses, and the chains of operations that have a kernel."""

    name: str
    operations: Operations
    fusions: Fusions
    losses: Rules


# The twins in NumPy, and what jobs run.
ENGINES = (Engine("numpy", OPERATIONS, {}, RULES), Engine("compiled", FAST, FUSIONS, FAST_RULES))


@dataclass(frozen=True, slots=True)
class Finding:
    """One array's gradient: of an operation or the loss alone, or of the whole model.

    An operation may stand for a chain of layers; none is named for the whole model. The path is
    that of the layer in the spec, the array the name of a parameter in it, or "input", or "output"
    of the model, or "data". Of its elements some were tried.
    """

    engine: str
    operation: str
    alone: bool
    path: str
    array: str
    tried: int
    elements: int
    relative_error: float

    @property
    def ok(self) -> bool:
        """Whether the gradient is right."""
        return self.relative_error < TOLERANCE


@dataclass(frozen=True, slots=True)
class _Check:
    """A graph to check, and what each of its arrays is called in a finding: path and array.

    Its operation is the one that stands alone in it, if one does.
    """

    engine: Engine
    operation: str
    graph: Graph
    names: Mapping[str, tuple[str, str]]
    elements: Mapping[str, int]


def _told_nobody(_done: int, _of: int) -> None:
    """No progress."""


def findings(
    question: Question,
    engines: tuple[Engine, ...] = ENGINES,
    progress: Callable[[int, int], None] = _told_nobody,
) -> Iterator[Finding]:
    """All gradients of all engines; progress is told how many elements are tried, of how many."""
    checks = tuple(_checks(question, engines))
    costs = [_elements(check, question.most_elements) for check in checks]
    for place, check in enumerate(checks):
        before = sum(costs[:place])
        count = _Count(before, before + costs[place], sum(costs), progress)
        yield from _found(check, question, count)


class _Count:
    """Elements tried so far, in a check that ends with so many, whatever it tries again."""

    def __init__(
        self, done: int, end: int, total: int, progress: Callable[[int, int], None]
    ) -> None:
        self._done = done
        self._end = end
        self._total = total
        self._progress = progress

    def __call__(self) -> None:
        """One more."""
        self._done = min(self._done + 1, self._end)
        self._progress(self._done, self._total)


def _elements(check: _Check, most: int) -> int:
    return sum(min(elements, most) for elements in check.elements.values())


def _checks(question: Question, engines: tuple[Engine, ...]) -> Iterator[_Check]:
    """For each engine the layers alone and the whole; not again what one before computes alike."""
    rows = question.rows
    seen: set[tuple[object, ...]] = set()
    for engine in engines:
        graph = fuse(question.graph, engine.fusions)
        news = 0
        for index, node in enumerate(graph.nodes):
            known = (node.number, id(engine.operations.get(node.operation)))
            if node.inputs and known not in seen:
                seen.add(known)
                news += 1
                yield _lone(engine, node.operation, lone_node(graph, index), node.path, rows)
        rule = ("loss", *_rules_of(graph.loss, engine.losses))
        if rule not in seen:
            seen.add(rule)
            news += 1
            loss = WORDS[type(graph.loss)]
            yield _lone(engine, loss, lone_loss(graph), f"loss.{loss}", rows)
        if news:
            yield _whole(engine, graph, rows)


def _rules_of(loss: Loss, rules: Rules) -> Iterator[int]:
    """Which rules a loss is computed by: its own, or those of its parts."""
    parts = tuple(part.loss for part in loss.parts) if isinstance(loss, Joint) else (loss,)
    return (id(rules[type(part)]) for part in parts)


def _lone(engine: Engine, operation: str, graph: Graph, path: str, rows: int) -> _Check:
    elements = _sizes(graph, rows)
    names = {name: (path, _own_name(name)) for name in elements}
    return _Check(engine, operation, graph, names, elements)


def _whole(engine: Engine, graph: Graph, rows: int) -> _Check:
    names = {node.path: (node.path, "data") for node in graph.inputs}
    for node in graph.nodes:
        names |= {part.name: (node.path, _own_name(part.name)) for part in node.parameters}
    return _Check(engine, "", graph, names, _sizes(graph, rows))


def _own_name(name: str) -> str:
    return name.rpartition(".")[2]


def _sizes(graph: Graph, rows: int) -> dict[str, int]:
    """The elements of every array with a gradient."""
    inputs = {node.path: rows * size(node.shape) for node in graph.inputs}
    return inputs | {parameter.name: parameter.size for parameter in graph.parameters}


def _found(check: _Check, question: Question, count: Callable[[], None]) -> Iterator[Finding]:
    for error in _errors(check, question, count):
        path, array = check.names[error.name]
        yield Finding(
            engine=check.engine.name,
            operation=check.operation,
            alone=bool(check.operation),
            path=path,
            array=array,
            tried=error.elements,
            elements=check.elements[error.name],
            relative_error=error.relative_error,
        )


def _errors(
    check: _Check, question: Question, count: Callable[[], None]
) -> tuple[GradientError, ...]:
    """Of every array the smallest error of some attempts, which end where all is right."""
    best: tuple[GradientError, ...] = ()
    for attempt in range(_ATTEMPTS):
        found = check_gradients(
            check.graph,
            rows=question.rows,
            seed=question.seed + attempt,
            most_elements=question.most_elements,
            operations=check.engine.operations,
            losses=check.engine.losses,
            tried=count,
        )
        best = tuple(map(_better, best, found)) if best else found
        if all(error.relative_error < TOLERANCE for error in best):
            break
    return best


def _better(left: GradientError, right: GradientError) -> GradientError:
    """The one with the smaller error; NaN is larger than any."""
    is_less = right.relative_error < left.relative_error
    return right if is_less or math.isnan(left.relative_error) else left


def answer(
    question: Question,
    write: Callable[[Mapping[str, object]], None],
    clock: Callable[[], float],
    engines: tuple[Engine, ...] = ENGINES,
) -> None:
    """Writes a line for every hundredth of the work, for every finding, and one at the end."""
    began, shown = clock(), -1

    def progress(done: int, of: int) -> None:
        nonlocal shown
        if 100 * done // of > shown:
            shown = 100 * done // of
            write({"event": "progress", "done": done, "of": of})

    for finding in findings(question, engines, progress):
        write({"event": "finding", **_document(finding)})
    write({"event": "done", "tolerance": TOLERANCE, "seconds": round(clock() - began, 2)})


def _document(finding: Finding) -> dict[str, object]:
    """A finding for JSON, in which an error that is no number is null."""
    error = finding.relative_error if math.isfinite(finding.relative_error) else None
    return {**asdict(finding), "relative_error": error, "ok": finding.ok}


def main(engines: tuple[Engine, ...] = ENGINES) -> None:
    """Reads the question and writes the answer."""

    def write(line: Mapping[str, object]) -> None:
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()

    # Who is interrupted is whoever asked.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # The command's own bytes, over a pipe that only it holds the other end of.
    question: Question = pickle.load(sys.stdin.buffer)  # noqa: S301
    answer(question, write, time.perf_counter, engines)


if __name__ == "__main__":
    main()
