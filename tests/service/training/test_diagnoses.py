"""The doctor as a pure thing: what is told, when it is told again, and when it is not."""

from collections.abc import Iterable
from dataclasses import replace
from itertools import count

import pytest

from gradloom.service.jobs.job import Diagnosis, DiagnosisCode
from gradloom.service.training.diagnoses import PATIENCE, RULES, Doctor
from gradloom.service.training.progress import StepReport
from gradloom.worker.engine.health import Health, LayerHealth, ParameterHealth

LOSS = 2.0


def parameter(**other: float) -> ParameterHealth:
    sound = ParameterHealth("w", 100, weight_norm=1.0, gradient_norm=0.1, update_norm=1e-3)
    return replace(sound, **other)


def layer(path: str, *parameters: ParameterHealth, **other: float) -> LayerHealth:
    sound = LayerHealth(path, "dense", 640, 10, mean=0.0, rms=1.0, non_finite=0)
    return replace(sound, parameters=parameters or (parameter(),), **other)


def report(step: int, *layers: LayerHealth, loss: float = LOSS, whole: bool = True) -> StepReport:
    health = Health(layers, whole) if layers else None
    return StepReport(step, loss, 0.1, 1.0, {}, {}, health=health)


def told(doctor: Doctor, *reports: StepReport) -> list[tuple[int, DiagnosisCode]]:
    return [(each.step, each.code) for found in reports for each in doctor.committed(found)]


def steady(losses: Iterable[float]) -> list[StepReport]:
    return [report(step, loss=loss) for step, loss in zip(count(1), losses, strict=False)]


DEAD = layer("b", dead=1.0)
SOUND = layer("a"), layer("b", dead=0.2)


def test_a_sound_look_says_nothing() -> None:
    doctor = Doctor()
    assert told(doctor, *(report(step, *SOUND) for step in (1, 2, 5, 10))) == []


def test_two_looks_have_to_agree() -> None:
    looks = report(1, layer("a"), DEAD), report(2, *SOUND), report(5, layer("a"), DEAD)
    assert told(Doctor(), *looks) == []
    assert told(Doctor(), *looks, report(10, DEAD)) == [(10, DiagnosisCode.DEAD_UNITS)]


def test_they_have_to_agree_on_a_layer() -> None:
    assert told(Doctor(), report(1, replace(DEAD, path="c")), report(2, DEAD)) == []


def test_it_is_told_once() -> None:
    looks = [report(step, layer("a"), DEAD) for step in (1, 2, 5, 10, 20)]
    assert told(Doctor(), *looks) == [(2, DiagnosisCode.DEAD_UNITS)]


def test_it_is_told_again_when_it_returns() -> None:
    sick, sound = [DEAD], list(SOUND)
    course = (sick, sick, sound, sound, sick, sick)
    looks = [report(step, *layers) for step, layers in zip(count(1), course, strict=False)]
    assert [step for step, _ in told(Doctor(), *looks)] == [2, 6]


def test_one_sound_look_between_is_no_return() -> None:
    course = ([DEAD], [DEAD], SOUND, [DEAD], [DEAD])
    looks = [report(step, *layers) for step, layers in zip(count(1), course, strict=False)]
    assert [step for step, _ in told(Doctor(), *looks)] == [2]


def test_it_is_told_again_when_it_gets_much_worse() -> None:
    course = (0.75, 0.75, 0.8, 1.0, 1.0)
    looks = [report(step, layer("b", dead=dead)) for step, dead in zip(count(1), course)]
    assert [step for step, _ in told(Doctor(), *looks)] == [2, 4]


def test_it_is_told_again_when_it_spreads() -> None:
    two = (DEAD, replace(DEAD, path="c"))
    looks = report(1, DEAD), report(2, DEAD), report(5, *two), report(10, *two)
    assert [step for step, _ in told(Doctor(), *looks)] == [2, 10]


def test_what_was_told_before_a_restart_is_not_told_again() -> None:
    before = Diagnosis(DiagnosisCode.DEAD_UNITS, ("b",), "", "", 2)
    looks = report(6, layer("a"), DEAD), report(7, layer("a"), DEAD)
    assert told(Doctor(told=(before,)), *looks) == []


def test_vanishing_names_the_faint_layers_the_faintest_first() -> None:
    slopes = {"a": 1e-12, "b": 1e-9, "c": 1e-3, "d": 1.0}
    layers = [layer(path, parameter(gradient_norm=norm)) for path, norm in slopes.items()]
    doctor = Doctor()
    doctor.committed(report(1, *layers))
    (found,) = doctor.committed(report(2, *layers))
    assert (found.code, found.layers) == (DiagnosisCode.VANISHING, ("a", "b"))
    assert "1e-12 of it" in found.evidence


def test_no_gradient_at_all_is_not_a_vanishing_one() -> None:
    layers = layer("a", parameter(gradient_norm=0.0)), layer("b")
    assert told(Doctor(), report(1, *layers), report(2, *layers)) == []


def test_weights_that_grow_at_once_explode() -> None:
    grown = layer("a", parameter(weight_norm=50.0)), layer("b")
    doctor = Doctor()
    doctor.committed(report(1, layer("a"), layer("b")))
    (found,) = doctor.committed(report(2, *grown))
    assert (found.code, found.layers) == (DiagnosisCode.EXPLODING, ("a",))
    assert "50 times as large" in found.evidence


def test_weights_that_do_not_settle_explode() -> None:
    moving = layer("a", parameter(update_norm=0.4)), layer("b")
    looks = [report(step, *moving) for step in (1, 2, 5)]
    assert told(Doctor(), *looks) == [(5, DiagnosisCode.EXPLODING)]


def test_weights_that_began_at_0_may_move_by_all_they_are() -> None:
    first = layer("a", parameter(weight_norm=0.0, update_norm=0.1))
    then = [layer("a", parameter(weight_norm=0.1 * n, update_norm=0.1)) for n in (1, 4, 9)]
    looks = [report(step, each) for step, each in zip((1, 2, 5, 10), (first, *then), strict=True)]
    assert told(Doctor(), *looks) == []


def test_a_loss_that_rises_far_explodes() -> None:
    reports = [report(step, loss=100 * LOSS) for step in range(2, 20)]
    found = told(Doctor(), report(1, *SOUND), *reports, report(20, *SOUND, loss=100 * LOSS))
    assert found == [(20, DiagnosisCode.EXPLODING)]


def test_what_is_not_finite_is_named_where_it_begins() -> None:
    layers = layer("a"), layer("b", non_finite=3), layer("c", non_finite=640)
    (found,) = Doctor().committed(report(7, *layers, loss=float("nan"), whole=False))
    assert (found.code, found.layers) == (DiagnosisCode.NON_FINITE, ("b",))
    assert "3 of the 640 numbers" in found.evidence


def test_a_gradient_that_is_not_finite_began_at_the_last_layer_that_has_it() -> None:
    layers = [
        layer(path, parameter(non_finite=wrong)) for path, wrong in (("a", 9), ("b", 1), ("c", 0))
    ]
    (found,) = Doctor().committed(report(7, *layers, whole=False))
    assert found.layers == ("b",)


def test_a_loss_that_is_not_finite_by_itself_is_the_last_layers() -> None:
    (found,) = Doctor().committed(report(7, *SOUND, loss=float("inf"), whole=False))
    assert found.layers == ("b",)


def test_a_look_that_is_not_whole_says_nothing_else() -> None:
    looks = [report(step, DEAD, whole=False) for step in (1, 2, 3)]
    assert told(Doctor(), *looks) == []


def test_a_sigmoid_at_the_end_may_be_sure_of_itself() -> None:
    layers = layer("a", saturated=0.1), layer("b", saturated=0.9)
    assert told(Doctor(), report(1, *layers), report(2, *layers)) == []


def test_few_rows_leave_many_units_at_0_by_chance() -> None:
    few = layer("b", numbers=40, dead=0.8)
    assert told(Doctor(), report(1, few), report(2, few)) == []


def test_a_loss_that_stays_at_the_constant_answers_is_no_learning() -> None:
    doctor = Doctor(baseline=LOSS)
    found = told(doctor, *steady([LOSS] * 400))
    assert [code for _, code in found] == [DiagnosisCode.NOT_LEARNING]
    assert PATIENCE < found[0][0] < 200


def test_warm_up_is_waited_for() -> None:
    doctor = Doctor(warmup_steps=300, baseline=LOSS)
    assert told(doctor, *steady([LOSS] * 400)) == []


@pytest.mark.parametrize(
    "losses",
    [
        [0.9 * LOSS] * 300,
        [100 * LOSS * 0.99**step for step in range(300)],
        [LOSS * (1 + 0.99**step) for step in range(100)] + [0.9 * LOSS] * 200,
    ],
    ids=["below", "from far above", "slowly"],
)
def test_who_gets_below_it_learns(losses: list[float]) -> None:
    assert told(Doctor(baseline=LOSS), *steady(losses)) == []


def test_what_is_learnt_by_heart_is_told_by_other_rows() -> None:
    doctor = Doctor(baseline=LOSS)
    found = []
    for each in steady([LOSS * 0.999**step for step in range(190)]):
        found += told(doctor, each)
        if each.step % 20 == 0:
            doctor.measured("validation", each.step, LOSS * 1.01)
    assert [code for _, code in found] == [DiagnosisCode.NOT_LEARNING]


def test_who_overfits_has_learnt() -> None:
    doctor = Doctor(baseline=LOSS)
    found = []
    for each in steady([0.1] * 300):
        found += told(doctor, each)
        if each.step % 20 == 0:
            doctor.measured("validation", each.step, LOSS * (0.5 + each.step / 100))
    assert found == []


def test_every_code_has_a_rule() -> None:
    assert set(RULES) == set(DiagnosisCode)
