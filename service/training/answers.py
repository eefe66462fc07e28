"""What workers' answers say, read with care: numbers out of JSON, sums in the tree's order."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gradloom.service.training.events import RoundBroken, WorkerAnswered
from gradloom.service.training.progress import StepReport
from gradloom.worker.engine.health import Health, LayerHealth, ParameterHealth
from gradloom.worker.exchange.exchange import Why
from gradloom.worker.exchange.tree import Node, reduce
from gradloom.worker.messages import Answer, BadAnswer

Statistics = tuple[float, ...]
Fields = Mapping[str, object]

# Of what a worker says in its own words.
MESSAGE_LENGTH = 500
_VERSION_LENGTH = 50
_DIGEST_LENGTH = 64


def step_reports(answer: Answer, after: int) -> tuple[StepReport, ...]:
    """The reports of the steps that the worker made in the round, of those after a step."""
    if "commits" not in answer.facts:
        return ()
    commits = _records(answer.facts, "commits")
    return tuple(_step_report(commit) for commit in commits if integer(commit, "step") > after)


def _step_report(commit: Fields) -> StepReport:
    return StepReport(
        step=integer(commit, "step"),
        loss=number(commit, "loss"),
        learning_rate=number(commit, "learning_rate"),
        gradient_norm=number(commit, "gradient_norm"),
        seconds={},
        metrics=_numbers(commit, "metrics"),
        skipped=integer(commit, "skipped"),
        health=_health(commit),
    )


def versions(answer: Answer) -> dict[str, str]:
    """What a worker says is installed where it is; one of long ago says nothing."""
    told = answer.facts.get("versions")
    named = told.items() if isinstance(told, dict) else ()
    return {str(name): str(version)[:_VERSION_LENGTH] for name, version in named}


def done(worker: int, answer: Answer, time: float = 0.0) -> WorkerAnswered:
    """A worker did its part of a round; what it says of training is there where it trained."""
    facts = answer.facts
    return WorkerAnswered(
        worker,
        answer.round,
        integer(facts, "step"),
        sum(seconds(answer).values()),
        _perhaps(facts, "compute_seconds") or 0.0,
        _perhaps(facts, "longest_step") or 0.0,
        str(facts.get("digest", ""))[:_DIGEST_LENGTH],
        integer(facts, "resident") if "resident" in facts else 0,
        time,
    )


def broken(worker: int, answer: Answer, time: float) -> RoundBroken:
    """A worker could not go on because of another one."""
    facts = answer.facts
    try:
        why = Why(str(facts.get("why")))
    except ValueError as error:
        raise BadAnswer(f"a worker's answer blames another for {facts.get('why')!r}") from error
    return RoundBroken(
        worker,
        answer.round,
        integer(facts, "step"),
        integer(facts, "culprit"),
        why,
        str(facts.get("message"))[:MESSAGE_LENGTH],
        time,
    )


@dataclass(frozen=True, slots=True)
class Sign:
    """What a beat says: the round and the step stood at in it, and whether data is waited for."""

    round: int
    step: int
    reads: bool


def sign(beat: Answer) -> Sign:
    """What a worker says that has not answered yet. Raises BadAnswer."""
    step = integer(beat.facts, "step") if "step" in beat.facts else -1
    return Sign(beat.round, step, bool(beat.facts.get("reads")))


def baseline(answer: Answer) -> float | None:
    """The loss of the best constant answer, as a worker that is ready says; None if none."""
    return _perhaps(answer.facts, "baseline")


def _health(commit: Fields) -> Health | None:
    fields = commit.get("health")
    if fields is None:
        return None
    if not isinstance(fields, dict):
        raise BadAnswer("a worker's answer has a health that is no record")
    layers = tuple(_layer(each) for each in _records(fields, "layers"))
    return Health(layers, bool(fields.get("is_whole")))


def _layer(fields: Fields) -> LayerHealth:
    return LayerHealth(
        path=str(fields.get("path")),
        operation=str(fields.get("operation")),
        numbers=integer(fields, "numbers"),
        units=integer(fields, "units"),
        mean=number(fields, "mean"),
        rms=number(fields, "rms"),
        non_finite=integer(fields, "non_finite"),
        dead=_perhaps(fields, "dead"),
        saturated=_perhaps(fields, "saturated"),
        twins=_perhaps(fields, "twins"),
        parameters=tuple(_parameter(each) for each in _records(fields, "parameters")),
    )


def _parameter(fields: Fields) -> ParameterHealth:
    return ParameterHealth(
        name=str(fields.get("name")),
        size=integer(fields, "size"),
        weight_norm=number(fields, "weight_norm"),
        gradient_norm=number(fields, "gradient_norm"),
        update_norm=number(fields, "update_norm"),
        non_finite=integer(fields, "non_finite"),
    )


def location(answer: Answer) -> str:
    """Where a step that is not finite was first so, as a sentence. Raises BadAnswer."""
    found = answer.facts.get("location")
    if found is None:
        return "Every shard alone is finite: only their sum or the update is not."
    if not isinstance(found, dict):
        raise BadAnswer("a worker's answer has no location")
    shard, first, last, count = (integer(found, name) for name in _WHERE)
    rows = found.get("rows")
    if not isinstance(rows, list) or not all(isinstance(row, int) for row in rows):
        raise BadAnswer("a worker's answer has no rows")
    layer = f"{found.get('path')}, {found.get('what')}"
    place = f"shard {shard} (rows {first} to {last} of the batch)"
    return f"First so: {layer}, in {place}{_named(rows, count)}."


_WHERE = ("shard", "first_row", "last_row", "row_count")


def _named(rows: list[int], count: int) -> str:
    """The rows of the data, and how many there are that are not named."""
    if not rows:
        return ""
    names = ", ".join(map(str, rows))
    more = f" and {count - len(rows)} more" if count > len(rows) else ""
    return f", row{'' if count == 1 else 's'} {names}{more} of the data"


def seconds(answer: Answer) -> dict[str, float]:
    """Seconds by phase that a worker spent on its part of a round."""
    return _numbers(answer.facts, "seconds")


def total(answers: Iterable[Answer], leaves: int) -> Statistics:
    """The sum over all leaves of the statistics in the answers, in the tree's order."""
    nodes: dict[Node, Statistics] = {}
    for answer in answers:
        nodes.update(_statistics(answer))
    return reduce(nodes, leaves, _add)


def integer(fields: Mapping[str, object], name: str) -> int:
    """A whole number of an answer. Raises BadAnswer where there is none."""
    value = number(fields, name)
    if not value.is_integer():
        raise BadAnswer(f"a worker's answer has no whole number {name!r}")
    return int(value)


def number(fields: Mapping[str, object], name: str) -> float:
    """A number of an answer. Raises BadAnswer where there is none."""
    value = fields.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadAnswer(f"a worker's answer has no number {name!r}")
    return float(value)


def _numbers(fields: Mapping[str, object], name: str) -> dict[str, float]:
    values = fields.get(name)
    if not isinstance(values, dict):
        raise BadAnswer(f"a worker's answer has no {name}")
    return {str(key): number(values, key) for key in values}


def _perhaps(fields: Fields, name: str) -> float | None:
    """A number of an answer that may be null."""
    return None if fields.get(name) is None else number(fields, name)


def _records(fields: Fields, name: str) -> list[Fields]:
    values = fields.get(name)
    if not isinstance(values, list) or not all(isinstance(each, dict) for each in values):
        raise BadAnswer(f"a worker's answer has no list {name!r}")
    return values


def _statistics(answer: Answer) -> dict[Node, Statistics]:
    entries = answer.facts.get("statistics")
    if not isinstance(entries, list):
        raise BadAnswer("a worker's answer has no statistics")
    try:
        return {
            Node(int(level), int(place)): tuple(float(value) for value in values)
            for level, place, values in entries
        }
    except (TypeError, ValueError) as error:
        raise BadAnswer(f"a worker's statistics cannot be read: {error}") from error


def _add(left: Statistics, right: Statistics) -> Statistics:
    return tuple(a + b for a, b in zip(left, right, strict=True))
