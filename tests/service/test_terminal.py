"""How a job's events look in a terminal."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest

from gradloom.service.jobs.job import DiagnosisCode, Metric
from gradloom.service.jobs.states import Reason
from gradloom.service.terminal import (
    PlainLines,
    ProgressBar,
    Readout,
    event_line,
    seconds_left,
    table,
)
from gradloom.service.watching import DiagnosisEvent, IncidentEvent, ProgressEvent

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def event(step: int, *, epoch: int = 1, after: float = 0.0, **other: object) -> ProgressEvent:
    made = ProgressEvent(
        step=step,
        steps=690,
        epoch=epoch,
        epochs=30,
        samples=step * 64,
        samples_per_second=48_200.0,
        loss=0.081,
        learning_rate=0.001,
        gradient_norm=1.0,
        revision=step,
        time=NOON + timedelta(seconds=after),
    )
    return replace(made, **other)


def accuracy(value: float) -> tuple[Metric, ...]:
    return (Metric("accuracy", "validation", value, 1, 1), Metric("loss", "validation", 0.1, 1, 1))


def plain(*events: ProgressEvent) -> list[str]:
    lines: list[str] = []
    display = PlainLines(lines.append)
    for each in events:
        display.show(each)
    return lines


def test_a_line_says_step_loss_and_speed() -> None:
    words = Readout().words(event(276))
    assert words == ("step 276/690", "loss 0.081", "48,200 samples/s")


def test_a_metric_stays_until_the_next_one() -> None:
    readout = Readout()
    readout.words(event(1, metrics=accuracy(0.961)))
    assert "val acc 0.961" in readout.words(event(2))


def test_an_epoch_gets_one_line_in_ten_seconds() -> None:
    assert len(plain(event(1), event(2, after=1), event(3, after=9.9))) == 1


def test_a_slow_epoch_gets_a_line_every_ten_seconds() -> None:
    assert len(plain(event(1), event(2, after=10), event(3, after=20))) == 3


def test_a_new_epoch_gets_its_line_at_once() -> None:
    assert len(plain(event(1), event(24, epoch=2, after=0.1))) == 2


def test_the_last_step_gets_a_line() -> None:
    assert "step 690/690" in plain(event(688, epoch=30), event(690, epoch=30))[-1]


def test_an_incident_says_what_happened() -> None:
    incident = IncidentEvent(Reason.WORKER_LOST, "worker 1 was killed", revision=4, time=NOON)
    assert event_line(incident).endswith("WORKER_LOST worker 1 was killed")


def test_a_diagnosis_says_where_what_and_what_to_try() -> None:
    paths = tuple(f"model.layers[{number}].dense" for number in range(5))
    found = DiagnosisEvent(
        code=DiagnosisCode.VANISHING,
        layers=paths,
        evidence="It is small.",
        advice="Make it larger.",
        step=1200,
        revision=3,
        time=NOON,
    )
    where = "layers[0].dense, layers[1].dense, layers[2].dense, 2 more"
    expected = f"VANISHING  step 1,200, {where}: It is small. Make it larger."
    assert event_line(found).endswith(expected)
    assert event_line(replace(found, layers=())).endswith(
        "step 1,200: It is small. Make it larger."
    )


@pytest.mark.parametrize("columns", [80, 200])
def test_the_bar_fits_any_terminal(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    screen = StringIO()
    with ProgressBar(screen, is_colored=False) as bar:
        bar.show(event(276, epoch=12, metrics=accuracy(0.961)))
    for part in ("epoch 12/30", "━", "40 %", "step 276/690", "acc 0.961", "48,200", "0:00"):
        assert part in screen.getvalue()


def test_a_change_of_state_stands_above_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    screen = StringIO()
    with ProgressBar(screen, is_colored=False) as bar:
        bar.show(IncidentEvent(Reason.WORKER_LOST, "worker [1] died", revision=4, time=NOON))
    assert "WORKER_LOST worker [1] died" in screen.getvalue()


def test_the_rest_is_told_from_rows_and_speed() -> None:
    half = event(345)
    assert seconds_left(half) == 345 * 64 / 48_200


def test_the_rest_is_not_told_where_nothing_is_known() -> None:
    assert seconds_left(event(0)) == 0.0


def test_a_table_aligns_its_columns() -> None:
    text = table(("ID", "LOSS"), [("a", "0.412"), ("bcd", "–")], right=("LOSS",))
    assert text.splitlines() == ["ID    LOSS", "a    0.412", "bcd      –"]
